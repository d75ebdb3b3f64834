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


@pytest.mark.parametrize("tied", [True, False])
def test_a_table_counts_where_it_makes_the_logits(tied):
    table = layers.ReversibleEmbedding(20, 3, tie_weights=tied, name="table")
    inputs = keras.Input((5,), dtype="int32")
    looked_up = keras.Model(inputs, table(inputs))
    assert ks.report(looked_up).dense_flops == 0
    both = keras.Model(inputs, table(table(inputs), reverse=True))
    assert ks.report(both).dense_flops == 2 * 5 * 20 * 3


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


def test_what_a_runtime_does_with_the_zeros(capsys):
    model = ks.models.mobilenet(0.25, (32, 32, 3), blocks=[(64, 1), (64, 2)])
    rows = {row.path: row for row in ks.report(model, runtime="xnnpack-arm").rows}
    assert rows["block1_pointwise/kernel"].saves_time
    assert rows["block1_pointwise/kernel"].rule is None
    assert rows["stem/kernel"].saves_time is False
    assert rows["logits/bias"].saves_time is None
    found = ks.report(model, runtime="xnnpack-x86")
    assert not {row.path: row for row in found.rows}["block1_pointwise/kernel"].saves_time
    json.dumps(found.to_dict())
    found.print(Console(width=200))
    assert "zeros on xnnpack-x86" in capsys.readouterr().out
    assert ks.report(model).runtime is None
    with pytest.raises(ValueError, match="runtime"):
        ks.report(model, runtime="phone")


def test_flops_ignore_what_is_not_multiplied():
    assert inference_flops([0, 3], [10, 2]) == 12


def transfer():
    keras.utils.set_random_seed(0)
    base = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, padding="same", name="one"),
            layers.BatchNormalization(name="norm"),
            layers.Conv2D(4, 3, padding="same", name="two"),
        ],
        name="base",
    )
    inputs = keras.Input((8, 8, 3))
    pooled = layers.GlobalAveragePooling2D()(base(inputs))
    return base, keras.Model(inputs, layers.Dense(2, name="head")(pooled))


def test_frozen_layers_compute():
    base, model = transfer()
    dense = 2 * 64 * (27 * 4 + 36 * 4) + 2 * 8
    before = ks.report(model)
    assert before.dense_flops == dense
    base.trainable = False
    frozen = ks.report(model)
    assert frozen.dense_flops == dense
    assert [row.path for row in frozen.rows] == [row.path for row in before.rows]
    kernel = base.layers[0].kernel
    kernel.assign(np.where(np.arange(27 * 4).reshape(kernel.shape) % 2, 0, kernel))
    assert ks.report(model).flops == dense - 2 * 64 * 27 * 2


@pytest.mark.jax
def test_logged_ratios_count_frozen_layers():
    base, model = transfer()
    base.trainable = False
    kernel = base.layers[0].kernel
    kernel.assign(np.where(np.arange(27 * 4).reshape(kernel.shape) % 2, 0, kernel))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = np.zeros((8, 8, 8, 3), "float32"), np.zeros(8)
    logs = model.fit(x, y, epochs=1, verbose=0, callbacks=[ks.StaticMask(0.5)]).history
    report = ks.report(model)
    ratio = report.flops / report.dense_flops
    assert logs["inference_flops_ratio"][-1] == pytest.approx(ratio)
    # Forward and backward through everything, and a weight gradient of the head alone.
    train = (2 * report.flops + 2 * 4) / (2 * report.dense_flops + 2 * 8)
    assert logs["train_flops_ratio"][-1] == pytest.approx(train)


def test_ratios_of_nothing_are_not_a_number():
    a, b = keras.Input((), dtype="int32"), keras.Input((), dtype="int32")
    tables = [layers.Embedding(5, 4, name="user")(a), layers.Embedding(6, 4, name="item")(b)]
    model = keras.Model([a, b], layers.Dot(1)(tables))
    own = keras.optimizers.SGD()
    model.compile(own, "mse")
    ids = np.arange(5)
    method = ks.GMP(0.5, include=["user", "item"])
    logs = model.fit([ids, ids], np.ones(5), epochs=3, verbose=0, callbacks=[method]).history
    assert np.isnan(logs["inference_flops_ratio"]).all()
    assert np.isnan(logs["train_flops_ratio"]).all()
    assert logs["sparsity"][-1] == pytest.approx(0.5, abs=0.02)
    assert model.optimizer is own
    report = ks.report(model)
    assert (report.prunable, report.sparsity, report.flops) == ((), 0.0, 0.0)


@pytest.mark.parametrize(
    ("shape", "layer", "uses"),
    [
        ((10,), layers.Dense(6), (1, 1)),
        ((7, 10), layers.Dense(6), (7, 7)),
        ((9, 9, 4), layers.Conv2D(6, 3), (49, 49)),
        # The factors of (4, 2, 3) are (4, 2, 2) and (2, 3): B is used by each of two heads.
        ((6, 4), layers.EinsumDense("abc,cde->abde", (None, 2, 3)), (6, 12)),
    ],
)
def test_lora_counts_beside_the_kernel(shape, layer, uses):
    model = keras.Sequential([keras.Input(shape), layer])
    before = ks.report(model).dense_flops
    layer.enable_lora(2)
    a, b = layer.lora_kernel_a, layer.lora_kernel_b
    factors = 2 * (uses[0] * np.prod(a.shape) + uses[1] * np.prod(b.shape))
    report = ks.report(model)
    assert report.dense_flops == before + factors
    assert report.size == model.count_params()
    reasons = {row.path.split("/")[-1]: row.reason for row in report.rows}
    assert reasons["kernel"] == "frozen by LoRA"
    with pytest.raises(ValueError, match=r"Nothing in this model can be pruned(.|\n)*LoRA"):
        ks.prune(model, 0.5)


@pytest.mark.filterwarnings("ignore:Layer InputLayer:UserWarning")
@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
@pytest.mark.parametrize(
    ("shape", "make"),
    [
        ((10,), lambda: layers.Dense(7, name="fc")),
        ((6, 4), lambda: layers.EinsumDense("abc,cde->abde", (None, 3, 5), name="fc")),
    ],
)
def test_quantized_kernels_count_as_those_they_stand_for(mode, shape, make):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input(shape), make()])
    kernel = model.layers[0].kernel
    # Weights of one size survive rounding to any number of bits.
    signs = np.sign(np.random.default_rng(0).normal(size=kernel.shape))
    kernel.assign(signs)
    ks.prune(model, 0.6)
    before = ks.report(model).rows[0]
    model.quantize(mode)
    after = next(row for row in ks.report(model).rows if row.path.endswith("fc/kernel"))
    assert after.reason == (None if mode == "float8" else f"quantized ({mode})")
    assert after.shape == before.shape
    assert (after.size, after.nonzeros) == (before.size, before.nonzeros)
    assert (after.flops, after.dense_flops) == (before.flops, before.dense_flops)


def test_a_kernel_without_weights():
    model = keras.Sequential([keras.Input((0,)), layers.Dense(4, name="none"), layers.Dense(2)])
    report = ks.report(model)
    row = next(row for row in report.rows if row.path == "none/kernel")
    assert (row.reason, row.sparsity, row.dense_flops) == ("empty: it has no weights", 0.0, 0.0)
    assert report.dense_flops == 2 * 8
    assert ks.prune(model, 0.5).sparsity == 0.5
