"""The wrapper that keeps the quantizer in the file."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_sparse as ks
from tests.training import assert_same, compiled, fit


def wrapped(bits=4):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            ks.LowPrecision(layers.SeparableConv2D(4, 3, name="conv"), bits),
            layers.Flatten(),
            ks.LowPrecision(layers.Dense(12, activation="relu", name="hidden"), bits, 6),
            layers.Dense(4, name="logits"),
        ]
    )


def test_it_trains_and_is_saved(images, tmp_path):
    model = compiled(wrapped())
    losses = fit(model, images, epochs=8).history["loss"]
    assert losses[-1] < 0.7 * losses[0]
    model.save(tmp_path / "low.keras")
    read = keras.models.load_model(tmp_path / "low.keras")
    np.testing.assert_allclose(
        read.predict(images[0], verbose=0), model.predict(images[0], verbose=0), atol=1e-6
    )
    own = model.layers[0].get_config()
    assert {key: read.layers[0].get_config()[key] for key in own if key != "layer"} == {
        key: value for key, value in own.items() if key != "layer"
    }


def test_the_bits_are_a_variable(images):
    model = compiled(wrapped())
    fit(model, images, epochs=1)
    plain = ks.strip_precision(model)
    expected = plain.predict(images[0], verbose=0)
    apart = []
    for bits in (2, 5, 16):
        for layer in model.layers:
            if isinstance(layer, ks.LowPrecision):
                layer.set_bits(bits)
        apart.append(np.abs(model.predict(images[0], verbose=0) - expected).mean())
    assert apart[0] > apart[1] > apart[2]


def test_stripping_gives_a_plain_model(images):
    model = compiled(wrapped())
    plain = ks.strip_precision(model)
    assert [type(layer).__name__ for layer in plain.layers] == [
        "SeparableConv2D",
        "Flatten",
        "Dense",
        "Dense",
    ]
    assert_same(plain, model)
    assert model.layers[0].strip() is model.layers[0].layer


def test_the_layer_itself_stays_plain():
    inner = layers.Dense(3)
    outer = ks.LowPrecision(inner, 2)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    low = ops.convert_to_numpy(outer(x))
    plain = ops.convert_to_numpy(inner(x))
    assert np.abs(low - plain).max() > 1e-3
    assert "call" not in vars(inner)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="a dense layer or convolution"):
        ks.LowPrecision(layers.ReLU())
    with pytest.raises(ValueError, match="bits"):
        ks.LowPrecision(layers.Dense(2), 0)
    with pytest.raises(ValueError, match="not built"):
        ks.LowPrecision(layers.Dense(2)).set_bits(3)
