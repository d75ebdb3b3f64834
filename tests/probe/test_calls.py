"""Layers are listened to for one run, and are then as they were."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_sparse.probe.calls import recording, run_recorded

pytestmark = pytest.mark.jax


def net():
    return keras.Sequential([keras.Input((3,)), layers.Dense(4, name="a"), layers.Dense(2)])


def ones(samples=2):
    return np.ones((samples, 3), "float32")


def test_each_call_is_told_with_inputs_and_outputs():
    shared = layers.Dense(3)
    inputs = keras.Input((3,))
    model = keras.Model(inputs, shared(shared(inputs)))
    told = []
    run_recorded(model, [shared, shared], ones(), lambda *call: told.append(call))
    assert [layer for layer, _, _ in told] == [shared, shared]
    np.testing.assert_array_equal(told[0][2], told[1][1])


def test_layers_are_restored_after_an_error():
    model = net()

    def fail(*_):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        run_recorded(model, model.layers, ones(), fail)
    assert all("call" not in vars(layer) for layer in model.layers)
    model(ones())


def test_layers_that_are_called_by_keywords_are_heard():
    inner = layers.Dense(2)

    class Outer(layers.Layer):
        def call(self, inputs):
            return inner(inputs=inputs)

    model = keras.Sequential([keras.Input((3,)), Outer()])
    x, heard = np.ones((1, 3), "float32"), []
    run_recorded(model, [inner], x, lambda layer, inputs, outputs: heard.append(inputs))
    np.testing.assert_array_equal(heard[0], x)


def test_a_layer_s_own_call_comes_back():
    model = net()
    layer = model.layers[0]
    layer.call = own = layer.call
    with recording([layer], lambda *_: None):
        assert layer.call is not own
    assert layer.call is own


@pytest.mark.filterwarnings("ignore:Layer InputLayer:UserWarning")
def test_quantized_layers_are_heard():
    model = net()
    model.quantize("int8")
    told = []
    run_recorded(model, model.layers, ones(), lambda layer, *_: told.append(layer.name))
    assert told == [layer.name for layer in model.layers]
    assert all("quantized_call" not in vars(layer) for layer in model.layers)


def test_a_stateful_layer_remembers_nothing():
    model = keras.Sequential(
        [keras.Input(batch_shape=(1, 5, 3)), layers.GRU(2, stateful=True, unroll=True)]
    )
    before = [np.array(v.value) for v in model.non_trainable_variables]
    run_recorded(model, model.layers, np.ones((1, 5, 3), "float32"), lambda *_: None)
    after = [np.array(v.value) for v in model.non_trainable_variables]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(new, old)
