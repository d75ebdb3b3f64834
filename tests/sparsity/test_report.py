"""FLOPs against numbers worked by hand, and the report's reasons."""

import json

import keras
import numpy as np
import pytest
from keras import layers
from rich.console import Console

import keras_sparse as ks
from keras_sparse.probe.flops import inference_flops, training_flops, weight_uses
from tests.training import conv_net


def test_acdc_6_7_worked_example():
    model = keras.Sequential([keras.Input((32, 32, 3)), layers.Conv2D(16, 3, padding="same")])
    report = ks.report(model)
    assert report.dense_flops == 884736
    report = ks.prune(model, 0.8)
    assert report.prunable[0].nonzeros == 86
    assert report.flops == 176128
    uses = weight_uses(model)[:1]
    assert training_flops(uses, [86], [86]) == 528384
    assert training_flops(uses, [432], [432]) == 3 * 884736
    dense = training_flops(uses, [0.95 * 432], [432])
    assert dense == pytest.approx(2.9 * 884736)


@pytest.mark.parametrize(
    ("inputs", "layer", "flops"),
    [
        ((10,), layers.Dense(4), 2 * 40),
        ((7, 10), layers.Dense(4), 2 * 7 * 40),
        ((9, 9, 3), layers.Conv2D(5, 3, strides=2), 2 * 16 * 3 * 3 * 3 * 5),
        ((9, 9, 4), layers.Conv2D(6, 3, groups=2), 2 * 49 * 3 * 3 * 2 * 6),
        ((9, 9, 4), layers.DepthwiseConv2D(3, depth_multiplier=2), 2 * 49 * 9 * 8),
        ((9, 9, 4), layers.SeparableConv2D(5, 3), 2 * 49 * (9 * 4 + 4 * 5)),
        ((5, 5, 4), layers.Conv2DTranspose(3, 2, strides=2), 2 * 25 * 2 * 2 * 4 * 3),
        ((12, 4), layers.Conv1D(3, 5), 2 * 8 * 5 * 4 * 3),
        ((6, 8), layers.EinsumDense("abc,cde->abde", (None, 2, 3)), 2 * 6 * 8 * 2 * 3),
        ((6, 8), layers.LSTM(5), 2 * 6 * (8 + 5) * 20),
        ((6, 8), layers.Bidirectional(layers.LSTM(5)), 2 * 2 * 6 * (8 + 5) * 20),
        ((6, 4, 4, 2), layers.ConvLSTM2D(3, 3, padding="same"), 2 * 6 * 16 * 9 * (2 + 3) * 12),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, layers.Layer) else None,
)
def test_flops_by_hand(inputs, layer, flops):
    model = keras.Sequential([keras.Input(inputs), layer])
    assert ks.report(model).dense_flops == flops
    assert "call" not in vars(layer)


def test_an_open_input_size():
    model = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(4, 3)])
    report = ks.report(model)
    assert report.flops is None
    assert "input_shape=" in report.flops_reason
    assert ks.report(model, input_shape=(5, 5, 3)).dense_flops == 2 * 9 * 27 * 4


def test_a_subclassed_model_and_several_inputs():
    class Two(keras.Model):
        def __init__(self):
            super().__init__()
            self.one = layers.Dense(4)

        def call(self, inputs):
            return self.one(inputs)

    model = Two()
    model(np.zeros((2, 6), "float32"))
    assert ks.report(model, input_shape=(6,)).dense_flops == 2 * 24

    a, b = keras.Input((3,), name="a"), keras.Input((5,), name="b")
    both = keras.Model({"a": a, "b": b}, layers.Add()([layers.Dense(2)(a), layers.Dense(2)(b)]))
    assert ks.report(both).dense_flops == 2 * (6 + 10)


def test_every_weight_has_a_row_and_a_reason(capsys):
    model = conv_net()
    ks.prune(model, 0.5, exclude="logits")
    report = ks.report(model, exclude="logits")
    assert sum(row.size for row in report.rows) == model.count_params() - 12
    reasons = {row.path: row.reason for row in report.rows}
    assert reasons["logits/kernel"] == "excluded"
    assert reasons["norm/gamma"] == "normalization parameter"
    assert reasons["hidden/bias"] == "bias or scale"
    assert reasons["conv/kernel"] is None
    assert report.sparsity == pytest.approx(0.5, abs=0.001)
    json.dumps(report.to_dict())
    report.print(Console(width=120))
    shown = capsys.readouterr().out
    for text in ("conv/kernel", "excluded", "50.0", "of the prunable weights are zero"):
        assert text in shown


def test_flops_ignore_what_is_not_multiplied():
    assert inference_flops([0, 3], [10, 2]) == 12
