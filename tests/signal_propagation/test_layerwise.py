import keras
import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.messages.warning import SparsityWarning
from keras_sparse.signal_propagation.stages import stages

layers = keras.layers


def mlp(activation=None, width=12, depth=4):
    hidden = [layers.Dense(width, activation) for _ in range(depth)]
    return keras.Sequential([keras.Input((20,)), *hidden, layers.Dense(5)])


def test_all_kinds_of_kernels_become_orthogonal():
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    x = layers.BatchNormalization(gamma_initializer="random_normal")(x)
    x = layers.Conv2D(4, 1)(x)
    x = layers.Reshape((36, 4))(x)
    x = layers.LSTM(3)(x)
    model = keras.Model(inputs, layers.Dense(5, bias_initializer="ones", name="logits")(x))
    norms = np.asarray(model.layers[2].gamma)
    ks.init_ldi(model, seed=0)
    for layer in model.layers[-2:]:
        for weight in layer.weights:
            array = np.asarray(weight)
            if array.ndim == 2:
                values = np.linalg.svd(array, compute_uv=False)
                np.testing.assert_allclose(values, 1, atol=1e-5)
    assert not np.asarray(model.get_layer("logits").bias).any()
    np.testing.assert_array_equal(model.layers[2].gamma, norms)
    first = np.asarray(model.layers[1].kernel)
    ks.init_ldi(model, seed=0)
    np.testing.assert_array_equal(model.layers[1].kernel, first)
    ks.init_ldi(model, seed=1)
    assert np.abs(np.asarray(model.layers[1].kernel) - first).max() > 0.01


def test_gains_are_those_of_the_activation_that_follows():
    inputs = keras.Input((20,))
    x = layers.Dense(12, name="normed")(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Dense(12, "tanh", name="bent")(x)
    model = keras.Model(inputs, layers.Dense(5, name="logits")(x))
    ks.init_ldi(model, "critical", seed=0)
    gains = [np.linalg.norm(np.asarray(v), 2) for v in model.trainable_variables if v.ndim == 2]
    np.testing.assert_allclose(gains, [2**0.5, 1.46741, 1], atol=1e-4)
    assert np.std(np.asarray(model.get_layer("bent").bias)) > 0.1
    assert [len(stage.tail) for stage in stages(model)] == [2, 0, 0]


def test_an_activation_without_a_gain_is_named_with_its_layer():
    model = mlp("sigmoid")
    with pytest.raises(ValueError, match=r"Layer 'dense.*' is followed by 'sigmoid'.*'unit'"):
        ks.init_ldi(model, "critical")
    ks.init_ldi(model)


def test_depthwise_kernels_stay():
    model = keras.Sequential([keras.Input((6, 6, 2)), layers.DepthwiseConv2D(3, name="depth")])
    model.add(layers.Conv2D(4, 3, name="conv"))
    before = np.asarray(model.get_layer("depth").kernel)
    with pytest.warns(SparsityWarning, match="stay as they are: depth/kernel"):
        ks.init_ldi(model, seed=0)
    np.testing.assert_array_equal(model.get_layer("depth").kernel, before)
