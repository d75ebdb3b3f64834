"""Batches that wait before the layers looked at see what a whole run sees."""

import collections

import keras
import numpy as np
import pytest
from keras import layers

from keras_sparse.probe.calls import recording, run_recorded
from keras_sparse.probe.graph_walk import walks
from tests.training import conv_net

pytestmark = pytest.mark.jax


def residual():
    inputs = x = keras.Input((8, 8, 3))
    for i in range(3):
        y = layers.Conv2D(4, 3, padding="same", name=f"conv{i}")(x)
        y = layers.BatchNormalization(name=f"bn{i}")(y)
        x = layers.ReLU()(y if i == 0 else layers.Add()([x, y]))
    x = layers.Dropout(0.5)(keras.ops.mean(x, axis=(1, 2)))
    return keras.Model(inputs, layers.Dense(3, name="head")(x))


def nested():
    inner = keras.Sequential([keras.Input((6,)), layers.Dense(6), layers.ReLU(), layers.Dense(6)])
    left, right = keras.Input((6,), name="left"), keras.Input((6,), name="right")
    joined = layers.Concatenate()([inner(left), inner(right)])
    return keras.Model([left, right], layers.Dense(2)(joined))


def masked():
    tokens = keras.Input((7,), dtype="int32")
    x = layers.Embedding(9, 8, mask_zero=True)(tokens)
    x = layers.MultiHeadAttention(2, 4, dropout=0.3)(x, x)
    x = layers.LSTM(5)(x)
    return keras.Model(tokens, layers.Dense(2)(x))


def batch(model, n=4):
    random, given = np.random.default_rng(0), []
    for tensor in model.inputs:
        shape = (n, *tensor.shape[1:])
        if tensor.dtype == "int32":
            given.append(random.integers(0, 9, shape).astype("int32"))
        else:
            given.append(random.normal(size=shape).astype("float32"))
    return given if len(given) > 1 else given[0]


def with_weights(model):
    found = [each for each in model._flatten_layers() if each.weights]
    # A cell runs in a loop, of which some backends show no values.
    kinds = (keras.Model, layers.LSTMCell)
    return [each for each in found if not isinstance(each, kinds)]


def told(look):
    """The outputs of each call by the `id` of its layer, all their numbers in a row."""
    seen = collections.defaultdict(list)

    def note(layer, _, outputs):
        parts = [np.ravel(keras.ops.convert_to_numpy(each)) for each in keras.tree.flatten(outputs)]
        seen[id(layer)].append(np.concatenate(parts))

    look(note)
    return seen


MODELS = {"convolutions": conv_net, "residual": residual, "nested": nested, "masked": masked}


@pytest.mark.parametrize("most", [0, 1e9])
@pytest.mark.parametrize("name", MODELS)
def test_a_walk_sees_what_a_whole_run_sees(name, most):
    model = MODELS[name]()
    x = batch(model)
    chosen = with_weights(model)
    whole = told(lambda note: run_recorded(model, chosen, x, note))
    (walk,) = walks(model, [x], most)
    assert whole
    looked_at = sorted(chosen, key=lambda each: list(whole).index(id(each)))
    for layer in looked_at:
        for _ in range(2):
            seen = told(lambda note, layer=layer: walk.look([layer], note))[id(layer)]
            assert len(seen) == len(whole[id(layer)])
            for one, other in zip(seen, whole[id(layer)], strict=True):
                np.testing.assert_array_equal(one, other)


def test_a_change_is_seen_by_what_comes_after():
    model = residual()
    x = batch(model)
    (walk,) = walks(model, [x])
    first, second = model.get_layer("conv0"), model.get_layer("conv1")
    walk.look([first], lambda *_: None)
    first.kernel.assign(0 * first.kernel)
    seen = told(lambda note: walk.look([second], note))
    whole = told(lambda note: run_recorded(model, [second], x, note))
    np.testing.assert_array_equal(seen[id(second)][0], whole[id(second)][0])


@pytest.mark.parametrize(("most", "runs"), [(1e9, 2), (0, 4)])
def test_a_layer_runs_twice_where_what_waits_may_be_kept(most, runs):
    model = residual()
    (walk,) = walks(model, [batch(model)], most)
    counted = []
    with recording([model.get_layer("conv0")], lambda *_: counted.append(1)):
        for name in ("conv0", "conv1", "conv2", "head"):
            walk.look([model.get_layer(name)], lambda *_: None)
    assert len(counted) == runs


def test_what_has_been_passed_is_not_looked_at_again():
    model = residual()
    (walk,) = walks(model, [batch(model)])
    walk.look([model.get_layer("conv2")], lambda *_: None)
    with pytest.raises(ValueError, match="passed the first call of conv0"):
        walk.look([model.get_layer("conv0")], lambda *_: None)


def test_inputs_by_their_names():
    model = nested()
    left, right = batch(model)
    last = model.layers[-1]
    (walk,) = walks(model, [{"right": right, "left": left}])
    seen = told(lambda note: walk.look([last], note))
    wanted = model.predict([left, right], verbose=0)
    np.testing.assert_allclose(seen[id(last)][0], wanted.ravel(), rtol=1e-6)


def test_a_way_that_cannot_be_told():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(2)

        def call(self, x):
            return self.dense(x)

    own = Own()
    x = np.zeros((2, 3), "float32")
    own(x)
    assert walks(own, [x, x]) == [None, None]
    assert walks(residual(), [np.zeros((8, 8, 3), "float32")]) == [None]
    assert walks(nested(), [{"left": x}]) == [None]
