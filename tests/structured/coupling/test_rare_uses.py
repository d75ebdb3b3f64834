"""What is seldom done with layers, and was done wrongly: each model is shrunk and compared."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_sparse as ks
from keras_sparse.structured.coupling.groups import channel_groups
from keras_sparse.structured.targets import Measure
from tests.structured.coupling.test_coupling import sizes
from tests.structured.nets import check, conv, head, image, outputs, randomized

SEQUENCE = (5, 4)


def reasons(groups):
    return {name: group.reason for name, group in groups.items() if group.reason}


@pytest.mark.parametrize("value", [0.0, 3.0, -1e9])
def test_numbers_that_are_padded_with_are_no_channels(value):
    i = image()
    x = conv(8, "a")(conv(8, "z")(i))
    x = ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=value)
    assert sizes(check(head(conv(4, "b")(layers.MaxPooling2D()(x)), i))) == {"z": 8, "a": 8, "b": 4}


def test_channels_padded_with_a_number_stay():
    i = image()
    x = conv(8, "a")(conv(8, "z")(i))
    model = head(conv(4, "b")(ops.pad(x, ((0, 0),) * 3 + ((1, 1),), constant_values=3.0)), i)
    assert sizes(check(model)) == {"z": 8, "a": 8, "b": 4}
    smaller = ks.structured.shrink(model, {"z": [0, 1, 3, 4, 5, 6, 7]})
    assert smaller.get_layer("b").kernel.shape[2] == 10
    z = model.get_layer("z")
    kernel, bias = z.get_weights()
    kernel[..., 2], bias[2] = 0, 0
    z.set_weights([kernel, bias])
    x = np.random.default_rng(0).random((2, 8, 8, 3), "float32")
    np.testing.assert_allclose(outputs(smaller, x)[0], outputs(model, x)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("merge", ["concat", "sum"])
def test_both_directions_begin_with_states_of_their_own(merge):
    i = keras.Input(SEQUENCE)
    states = [layers.Dense(6, name=f"h{k}")(i[:, k]) for k in range(4)]
    recurrent = layers.Bidirectional(layers.LSTM(6), merge_mode=merge, name="l")
    groups = check(head(recurrent(i, initial_state=states), i))
    assert sizes(groups) == {"h0": 6}
    assert set(groups["h0"].made_by) == {"h0", "h1", "h2", "h3", "l"}


def test_states_that_are_numbers_keep_their_units():
    i = keras.Input(SEQUENCE)
    ones = ops.ones((1, 6))
    x = layers.LSTM(6, name="l")(layers.Dense(5, name="a")(i), initial_state=[ones, ones])
    groups = check(head(x, i))
    assert sizes(groups) == {"a": 5}
    assert groups["l"].reason == "l begins with a state that is given as numbers"


def test_both_directions_of_cells_stay_and_the_rest_goes():
    i = keras.Input(SEQUENCE)
    x = layers.Bidirectional(layers.RNN(layers.LSTMCell(4)), name="l")(i)
    assert sizes(check(head(layers.Dense(8, name="z")(x), i))) == {"z": 8}


def test_a_number_for_each_channel():
    i = image()
    x = layers.Rescaling([1.0, 2.0, 3.0, 4.0], offset=[0.0, 1.0, 0.0, -1.0])(conv(4, "a")(i))
    assert sizes(check(head(conv(3, "b")(x), i))) == {"a": 4, "b": 3}


@pytest.mark.parametrize("layer", [layers.Dropout, layers.AlphaDropout])
def test_noise_that_is_shared_by_steps_is_trained_with(layer):
    i = keras.Input(SEQUENCE)
    x = layer(0.3, noise_shape=(None, 1, 8))(layers.Dense(8, name="a")(i))
    model = head(x, i)
    assert sizes(check(model)) == {"a": 8}
    smaller = ks.structured.shrink(model, {"a": [0, 1, 2, 3, 4]})
    smaller.compile("sgd", "mse")
    smaller.fit(np.zeros((2, *SEQUENCE)), np.zeros((2, 3)), verbose=0)


SCATTERED = {
    "strided": lambda x: x[..., ::2],
    "roll": lambda x: ops.roll(x, 2, axis=-1),
    "roll_flat": lambda x: ops.roll(x, 2),
    "reflect": lambda x: ops.pad(x, ((0, 0),) * 3 + ((2, 2),), mode="reflect"),
    "repeat": lambda x: ops.repeat(x, [1, 2] * 6, axis=-1),
    "take": lambda x: ops.reshape(ops.take(x, np.array([[0, 1], [2, 3]]), axis=-1), (-1, 8, 8, 4)),
}


@pytest.mark.parametrize("kind", SCATTERED)
def test_what_is_scattered_stays_and_says_so(kind):
    i = image()
    groups = check(head(conv(6, "c")(SCATTERED[kind](conv(12, "a")(i))), i))
    assert sizes(groups)["c"] == 6
    assert "moves it to where it cannot go alone" in groups["a"].reason


MOVED = {
    "whole": (lambda x: x[:, ::2], 12),
    "backwards": (lambda x: x[..., ::-1], 12),
    "part": (lambda x: x[..., 2:9], 12),
    "repeat": (lambda x: ops.repeat(x, 2, axis=-1), 12),
    "take": (lambda x: ops.take(x, np.array([3, 1, 0, 4]), axis=-1), 12),
    "reflect": (lambda x: ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect"), 12),
    "roll": (lambda x: ops.roll(x, 2, axis=1), 12),
}


@pytest.mark.parametrize("kind", MOVED)
def test_what_is_moved_together_goes(kind):
    i = image()
    move, size = MOVED[kind]
    groups = check(head(conv(6, "c")(move(conv(12, "a")(i))), i))
    assert sum(group.size for name, group in groups.items() if name.startswith("a")) == size
    assert not reasons({name: g for name, g in groups.items() if name != "logits"})


@pytest.mark.parametrize("axis", [-1, 1])
def test_what_is_stacked_and_reduced_goes_together(axis):
    i = image()
    x = ops.mean(ops.stack([conv(8, "p")(i), conv(8, "q")(i)], axis=axis), axis=axis)
    assert sizes(check(head(conv(4, "c")(x), i))) == {"p": 8, "c": 4}


def test_what_is_interleaved_goes_in_pairs():
    i = image()
    x = ops.reshape(ops.stack([conv(8, "p")(i), conv(8, "q")(i)], axis=-1), (-1, 8, 8, 16))
    assert sizes(check(head(conv(4, "c")(x), i))) == {"p": 8, "c": 4}


def test_given_embeddings_shrink():
    table = keras.initializers.Constant(np.random.default_rng(0).random((10, 8)))
    i = keras.Input((5,), dtype="int32")
    x = layers.Embedding(10, 8, embeddings_initializer=table, name="glove")(i)
    assert sizes(check(head(layers.LSTM(6, name="l")(x), i))) == {"glove": 8, "l": 6}


def test_what_is_normalized_along_another_axis():
    i = keras.Input(SEQUENCE)
    x = layers.LayerNormalization(axis=1)(layers.Dense(8, name="a")(i))
    assert sizes(check(head(x, i))) == {"a": 8}


def test_the_mean_over_one_axis_of_a_product():
    i = keras.Input(SEQUENCE)
    a, b = (layers.Dense(6, name=name, activation="sigmoid")(i) for name in "ab")
    x = ops.mean(ops.einsum("bni,bnj->bnij", a, b), axis=2)
    assert sizes(check(head(x, i))) == {"a": 6, "b": 6}


def test_maxima_with_an_initial_value():
    i = keras.Input(SEQUENCE)
    x = layers.Dense(8, name="a")(i)
    x = x - ops.max(x, axis=-1, keepdims=True, initial=5.0)
    assert sizes(check(head(x, i))) == {"a": 8}


@pytest.mark.parametrize("layer", [layers.Attention, layers.AdditiveAttention])
def test_attention_with_its_inputs_by_name(layer):
    i = keras.Input(SEQUENCE)
    query, value = layers.Dense(8, name="q")(i), layers.Dense(8, name="v")(i)
    assert sizes(check(head(layer()(inputs=[query, value]), i)))["q"] == 8


def test_a_softmax_over_everything_mixes():
    i = keras.Input(SEQUENCE)
    groups = check(head(ops.softmax(layers.Dense(8, name="a")(i), axis=None), i))
    assert "mixes its positions" in groups["a"].reason


def test_a_batch_size_in_the_model():
    i = keras.Input(batch_shape=(3, 8, 8, 3))
    x = layers.Dense(6, name="b")(ops.reshape(conv(8, "a")(i), (3, 64, 8)))
    model = head(x, i)
    open_ = keras.Input((8, 8, 3))
    y = layers.Dense(6)(ops.reshape(layers.Conv2D(8, 3, padding="same")(open_), (-1, 64, 8)))
    assert ks.structured.report(model).flops == ks.structured.report(head(y, open_)).flops
    smaller = ks.structured.prune(model, flops=0.5)
    assert ks.structured.report(smaller).flops <= 0.5 * ks.structured.report(model).flops


def test_slopes_that_channels_share_are_counted():
    i = keras.Input(SEQUENCE)
    model = head(layers.PReLU(shared_axes=[2], name="p")(layers.Dense(8, name="a")(i)), i)
    groups, keep = channel_groups(model), {"a": [0, 1]}
    smaller = ks.structured.shrink(model, keep)
    expected = ks.structured.report(smaller).flops
    assert Measure("flops", model, groups)(groups.checked(keep)) == expected


class Block(layers.Layer):
    def build(self, shape):
        self.dense = layers.Dense(6)
        self.dense.build(shape)

    def call(self, x):
        return self.dense(x)


def test_what_cannot_be_seen_through_is_named_wherever_it_stands():
    model = keras.Sequential([keras.Input((4,)), Block(name="block"), layers.Dense(3, name="o")])
    assert "register_coupling" in ks.structured.report(model).opaque["block"]
    with pytest.raises(ValueError, match=r"(?s)Nothing of this.*block \(Block\) is a layer that"):
        ks.structured.prune(model, params=0.5)
    i = keras.Input(SEQUENCE)
    model = head(ops.normalize(layers.Dense(8, name="a")(i), axis=-1), i)
    (reason,) = (g.reason for g in ks.structured.report(model).groups if g.name == "a")
    assert "is an operation that is not known; call it in a layer of your own" in reason


def test_a_quantized_model_says_so():
    model = keras.Sequential([keras.Input((8,)), layers.Dense(6, name="a"), layers.Dense(3)])
    model.quantize("int8")
    with pytest.raises(ValueError, match=r"prune the model before model\.quantize"):
        ks.structured.prune(model, params=0.5)


def test_what_has_no_scale_is_named_so_that_it_can_be_excluded():
    i = keras.Input(SEQUENCE)
    x = layers.MultiHeadAttention(2, 4, name="m")(i, i)
    x = layers.BatchNormalization()(layers.Dense(8, name="a")(x))
    model = randomized(head(x, i))
    with pytest.raises(ValueError, match=r"missing behind m: give these as exclude"):
        ks.structured.prune(model, params=0.9, criterion="bn_scale")
    smaller = ks.structured.prune(model, params=0.9, criterion="bn_scale", exclude=["m"])
    assert smaller.count_params() <= 0.9 * model.count_params()
