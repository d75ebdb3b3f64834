"""The rewriting for XNNPACK's padding: equal outputs, and nothing left that stands in the way."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from keras_sparse import deploy

LITE0 = Path(__file__).resolve().parents[3] / "shared/data/pretrained/efficientnet_lite0.keras"


def disturbed(model):
    """Weights of all kinds far from what they are initially."""
    draw = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(weight + draw.uniform(0.1, 0.4, weight.shape))
    return model


def trapped(size=32, kernel=3, bias=False, activation=None, pad="same", normalized=True):
    """A network in which every stride is padded on one side."""
    inputs = keras.Input((size, size, 3))
    settings = {"strides": 2, "use_bias": bias, "activation": activation}
    x = layers.Conv2D(8, 3, padding="same", name="stem", **settings)(inputs)
    x = layers.BatchNormalization()(x) if normalized else x
    x = layers.Conv2D(12, 1, activation="relu")(layers.ReLU()(x))
    if pad != "same":
        x = layers.ZeroPadding2D(pad)(x)
    padding = "same" if pad == "same" else "valid"
    x = layers.DepthwiseConv2D(kernel, padding=padding, name="depthwise", **settings)(x)
    x = layers.BatchNormalization()(x) if normalized else x
    x = layers.Conv2D(8, 1)(x)
    return keras.Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))


def assert_equal_outputs(model, other):
    shape = (3, *model.input_shape[1:])
    x = np.random.default_rng(1).normal(size=shape).astype("float32")
    expected = model.predict(x, verbose=0)
    assert np.ptp(expected) > 0
    scale = np.abs(expected).max()
    np.testing.assert_allclose(other.predict(x, verbose=0), expected, atol=2e-5 * scale)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", [32, 36])
@pytest.mark.parametrize(
    "more",
    [{}, {"bias": True}, {"activation": "relu", "normalized": False}, {"normalized": False}],
    ids=["plain", "bias", "activation", "no normalization"],
)
def test_outputs_are_equal_and_the_rules_are_kept(size, kernel, more):
    model = disturbed(trapped(size, kernel, **more))
    before = [w.numpy() for w in model.weights]
    assert not deploy.eligibility(model).all_fast()
    rewritten = deploy.make_eligible(model)
    assert_equal_outputs(model, rewritten)
    assert deploy.eligibility(rewritten).all_fast()
    for value, weight in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(value, weight.numpy())


def test_padding_of_a_layer_before_is_taken_in():
    model = disturbed(trapped(pad=((0, 1), (0, 1))))
    rewritten = deploy.make_eligible(model)
    assert_equal_outputs(model, rewritten)
    assert deploy.eligibility(rewritten).all_fast()


def test_a_model_that_fits_is_copied():
    model = disturbed(trapped())
    once = deploy.make_eligible(model)
    twice = deploy.make_eligible(once)
    assert [w.shape for w in twice.weights] == [w.shape for w in once.weights]
    for one, other in zip(once.weights, twice.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_sequential_models_and_the_file_are_eligible(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(8, 3, 2, padding="same"),
            layers.ReLU(),
            layers.Conv2D(8, 1),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4),
        ]
    )
    rewritten = deploy.make_eligible(disturbed(model))
    assert_equal_outputs(model, rewritten)
    kernel = rewritten.layers[-3].kernel
    kernel.assign(np.where(np.arange(64).reshape(1, 1, 8, 8) % 8, 0, 1))
    deploy.to_litert(rewritten, tmp_path / "m.tflite")
    rows = deploy.eligibility(tmp_path / "m.tflite").rows
    assert [row.fast for row in rows if row.kind == "1x1 convolution"] == [True]


def test_what_cannot_be_rewritten_is_refused():
    inputs = keras.Input((None, None, 3))
    open_ = keras.Model(inputs, layers.Conv2D(4, 3, 2, padding="same")(inputs))
    with pytest.raises(ValueError, match="fixed Input shape"):
        deploy.make_eligible(open_)
    inputs = keras.Input((16, 16, 3))
    shared = layers.Conv2D(3, 3, 2, padding="same")
    with pytest.raises(ValueError, match="is called 2 times"):
        deploy.make_eligible(keras.Model(inputs, shared(shared(inputs))))


@pytest.mark.slow
@pytest.mark.skipif(not LITE0.exists(), reason="the pretrained network is not at hand")
def test_efficientnet_lite0_is_made_eligible():
    model = keras.saving.load_model(LITE0, compile=False)
    assert [row.layer for row in deploy.eligibility(model).fast] == ["fc"]
    rewritten = deploy.make_eligible(model)
    assert deploy.eligibility(rewritten).all_fast()
    assert_equal_outputs(model, rewritten)
