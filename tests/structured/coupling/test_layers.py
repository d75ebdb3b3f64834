"""Layers and operations in less common uses, each shrunk and compared with the masked model."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from tests.structured.coupling.test_coupling import sizes
from tests.structured.nets import check, conv, head, image


def logits(x, inputs):
    return keras.Model(inputs, layers.Dense(2, name="logits")(x))


def test_convolutions_in_one_dimension():
    i = keras.Input((10, 3))
    x = layers.Conv1D(6, 3, padding="causal", name="a")(i)
    x = layers.SeparableConv1D(5, 3, name="s")(x)
    x = layers.Conv1DTranspose(4, 3, name="t")(layers.DepthwiseConv1D(3, name="d")(x))
    x = layers.ZeroPadding1D(name="pad")(layers.UpSampling1D(name="up")(x))
    assert sizes(check(head(x, i))) == {"a": 6, "s": 5, "t": 4}


def test_convolutions_in_three_dimensions():
    i = keras.Input((4, 6, 6, 2))
    x = layers.Conv3DTranspose(4, 2, name="t")(layers.Conv3D(6, 2, name="a")(i))
    x = layers.GlobalAveragePooling3D(name="pool")(x)
    assert sizes(check(logits(x, i))) == {"a": 6, "t": 4}


def test_prelu():
    i = image()
    x = layers.PReLU(shared_axes=[1, 2], name="p")(conv(8, "a")(i))
    x = layers.PReLU(name="q")(conv(6, "b")(x))
    assert sizes(check(head(x, i))) == {"a": 8, "b": 6}


def test_convolutional_recurrence():
    i = keras.Input((3, 6, 6, 2))
    x = layers.ConvLSTM2D(6, 3, padding="same", return_sequences=True, name="a")(i)
    x = layers.ConvLSTM2D(4, 3, name="b")(x)
    assert sizes(check(head(x, i))) == {"a": 6, "b": 4}


def test_a_convolution_at_each_step_and_a_cell():
    i = keras.Input((3, 8, 8, 3))
    x = layers.TimeDistributed(layers.Conv2D(6, 3), name="each")(i)
    x = layers.TimeDistributed(layers.GlobalAveragePooling2D(), name="pool")(x)
    x = layers.RNN(layers.GRUCell(4), name="r")(x)
    assert sizes(check(logits(x, i))) == {"each": 6, "r": 4}


def test_both_directions_merged_in_each_way():
    i = keras.Input((5, 4))
    x = layers.Bidirectional(layers.GRU(4, return_sequences=True), merge_mode="sum", name="a")(i)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True), name="b")(x)
    x, h, _, k, _ = layers.Bidirectional(layers.LSTM(3, return_state=True), name="c")(x)
    x = layers.Concatenate(name="cat")([x, h, k])
    assert sizes(check(logits(x, i))) == {"a": 4, "b": 4, "c": 3}


def test_attention_layers_without_weights():
    i = keras.Input((5, 6))
    q, k, v = (layers.Dense(8, activation="sigmoid", name=n)(i) for n in "qkv")
    x = layers.Attention(name="attention")([q, v, k])
    y = layers.AdditiveAttention(name="additive")([q, v])
    groups = check(head(layers.Concatenate(name="cat")([x, y]), i))
    assert sum(sizes(groups).values()) == 8


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("rows", [(), (5,)])
def test_products_of_two_tensors(normalize, rows):
    i = keras.Input((*rows, 6))
    q, k = (layers.Dense(8, activation="sigmoid", name=n)(i) for n in "qk")
    x = layers.Dot(axes=len(rows) + 1, normalize=normalize, name="dot")([q, k])
    groups = check(head(x, i))
    assert sum(sizes(groups).values()) == 8


def test_packed_queries_keys_and_values():
    i = keras.Input((5, 6))
    x = layers.Reshape((5, 3, 2, 4), name="split")(layers.Dense(24, name="qkv")(i))
    x = ops.transpose(x, (2, 0, 3, 1, 4))
    q, k, v = x[0], x[1], x[2]
    scores = ops.softmax(ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))) * 0.5)
    x = ops.reshape(ops.transpose(ops.matmul(scores, v), (0, 2, 1, 3)), (-1, 5, 8))
    assert sizes(check(head(layers.Dense(6, name="out")(x), i))) == {"qkv": 4, "out": 6}


def test_split_queries_keys_and_values():
    i = keras.Input((5, 6))
    parts = ops.split(layers.Dense(24, name="qkv")(i), 3, axis=-1)
    parts = [ops.transpose(ops.reshape(x, (-1, 5, 2, 4)), (0, 2, 1, 3)) for x in parts]
    scores = ops.softmax(ops.einsum("bhqd,bhkd->bhqk", *parts[:2]))
    x = ops.einsum("bhqk,bhkd->bhqd", scores, parts[2])
    x = ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, 5, 8))
    assert sizes(check(head(layers.Dense(6, name="out")(x), i))) == {"qkv": 8, "out": 6}


def test_a_class_token():
    i = keras.Input((5, 6))
    x = layers.Dense(8, name="embed")(i)
    x = layers.Add(name="add")([x, layers.MultiHeadAttention(2, 4, name="m")(x, x)])
    groups = check(logits(layers.LayerNormalization(name="norm")(x)[:, 0], i))
    assert sizes(groups) == {"embed": 8, "m/heads": 2, "m/head_dim": 4}


@pytest.mark.parametrize(
    "moved",
    [
        lambda x: ops.flip(x, axis=-1),
        lambda x: ops.repeat(x, 2, axis=-1),
        lambda x: ops.tile(x, (1, 1, 1, 2)),
        lambda x: ops.roll(x, (2, 3), axis=(1, 2)),
        lambda x: ops.take(x, np.array([5, 1, 1, 0, 7]), axis=-1),
        lambda x: ops.concatenate([x[..., -3:], x[..., ::-1], x[..., 1:-1:3]], axis=-1),
        lambda x: ops.moveaxis(ops.moveaxis(x, -1, 1), 1, -1),
    ],
)
def test_channels_that_move(moved):
    i = image()
    x = layers.BatchNormalization(name="norm")(moved(conv(8, "a")(i)))
    assert sizes(check(head(conv(4, "b")(x), i))) == {"a": 8, "b": 4}


def test_products_of_every_pair():
    i = keras.Input((6,))
    a, b = layers.Dense(8, name="a")(i), layers.Dense(4, name="b")(i)
    x = ops.expand_dims(a, 2) * ops.expand_dims(b, 1)
    assert sizes(check(logits(layers.Flatten(name="flat")(x), i))) == {"a": 8, "b": 4}


def test_batch_normalization_on_another_axis():
    i = image()
    x = layers.Permute((3, 1, 2), name="there")(conv(8, "a")(i))
    x = layers.BatchNormalization(axis=1, name="norm")(x)
    assert sizes(check(head(layers.Permute((2, 3, 1), name="back")(x), i))) == {"a": 8}


def test_lambdas():
    i = image()
    x = layers.Lambda(lambda t: t * 2 + 1, output_shape=(8, 8, 8), name="twice")(conv(8, "a")(i))
    x = layers.Lambda(lambda t: t[..., :4], name="part")(conv(6, "b")(x))
    groups = check(head(x, i))
    assert sizes(groups) == {"a": 8}
    assert "part (Lambda) runs code that may count on its size" in groups["b"].reason


def test_an_attention_map_over_positions():
    """As in CBAM: mean and maximum over channels make a gate of all of them."""
    i = image()
    x = conv(8, "a")(i)
    gate = layers.Conv2D(1, 3, padding="same", activation="sigmoid", name="gate")(
        layers.Concatenate(name="cat")([ops.mean(x, -1, keepdims=True), ops.max(x, -1, True)])
    )
    groups = check(head(conv(6, "b")(x * gate), i))
    assert sizes(groups) == {"a": 8, "b": 6}
    assert groups["gate"].reason == "it has a single unit"


@pytest.mark.parametrize("kind", ["sum", "mean", "max", "min", "amax", "amin", "var", "std"])
@pytest.mark.parametrize("axis", [-1, (1, 3)])
def test_reductions_over_channels(kind, axis):
    i = image()
    # A sigmoid is not zero where its input is.
    x = conv(8, "a", activation="sigmoid")(i)
    x = x - getattr(ops, kind)(x, axis=axis, keepdims=True)
    y = getattr(ops, kind)(x, axis=axis)
    x = layers.Concatenate(name="cat")([layers.Flatten(name=n)(t) for n, t in (("f", x), ("g", y))])
    assert sizes(check(logits(x, i))) == {"a": 8}


def test_a_normalization_by_hand():
    i = keras.Input((5, 4))
    x = layers.Dense(8, name="a")(i)
    x = x - ops.mean(x, axis=-1, keepdims=True)
    x = x / ops.sqrt(ops.mean(ops.square(x), axis=-1, keepdims=True) + 1e-3)
    assert sizes(check(head(x, i))) == {"a": 8}


def test_reductions_that_depend_on_the_place_are_not_over_fewer_channels():
    i = keras.Input((6,))
    x = layers.Dense(8, name="a")(i)
    best = ops.cast(ops.argmax(x, axis=-1, keepdims=True), "float32")
    groups = check(logits(layers.Concatenate(name="cat")([best, layers.Dense(4, name="b")(i)]), i))
    assert sizes(groups) == {"b": 4}
    assert "mixes its positions" in groups["a"].reason


@pytest.mark.parametrize("states", [False, True])
def test_stacked_cells(states):
    i = keras.Input((5, 4))
    x = layers.Dense(6, name="d")(i)
    cells = [layers.LSTMCell(4), layers.GRUCell(5), layers.SimpleRNNCell(3)]
    x = layers.RNN(cells, return_state=states, name="r")(x)
    x = layers.Concatenate(name="cat")(keras.tree.flatten(x)) if states else x
    groups = check(logits(x, i))
    assert sizes(groups) == {"d": 6, "r/cell_0": 4, "r/cell_1": 5, "r/cell_2": 3}


@keras.saving.register_keras_serializable()
class Cell(layers.SimpleRNNCell):
    def call(self, inputs, states, training=False):
        return super().call(inputs, states, training=training)


def test_cells_of_ones_own_are_named():
    i = keras.Input((5, 4))
    x = layers.Dense(6, name="d")(i)
    groups = check(logits(layers.RNN([Cell(4), Cell(3)], name="r")(x), i))
    assert sizes(groups) == {}
    assert "r (RNN)" in groups["d"].reason


@pytest.mark.parametrize(
    "layer", [layers.Conv2D(6, 3, use_bias=False), layers.Conv2DTranspose(6, 3), layers.Dense(6)]
)
def test_spectral_normalization(layer):
    i = image()
    x = layers.SpectralNormalization(type(layer).from_config(layer.get_config()), name="s")(
        conv(8, "a", activation="sigmoid")(i)
    )
    assert sizes(check(head(x, i))) == {"a": 8, "s": 6}


def test_normalization_at_each_step():
    i = keras.Input((5, 4))
    x = layers.Dense(8, name="a", activation="sigmoid")(i)
    x = layers.TimeDistributed(layers.LayerNormalization(), name="norm")(x)
    assert sizes(check(head(x, i))) == {"a": 8}


@pytest.mark.parametrize("tied", [False, True])
def test_embeddings_that_are_used_both_ways(tied):
    i = keras.Input((5,), dtype="int32")
    embedding = layers.ReversibleEmbedding(10, 8, tie_weights=tied, name="embed")
    x = embedding(i)
    x = layers.Add(name="add")([x, layers.Dense(8, name="b")(layers.Dense(6, name="a")(x))])
    groups = check(keras.Model(i, embedding(x, reverse=True)))
    assert sizes(groups) == {"embed": 8, "a": 6}


def test_a_decoder_of_half_the_size_joined_with_the_encoder():
    i = image(None, None, 3)
    a = conv(6, "a")(i)
    b = conv(8, "b")(layers.MaxPooling2D(name="down")(a))
    up = layers.Conv2DTranspose(6, 2, strides=2, name="up")(b)
    x = conv(5, "c")(layers.Concatenate(name="cat")([a, up]))
    assert sizes(check(head(x, i))) == {"a": 6, "b": 8, "up": 6, "c": 5}


def test_a_layer_that_is_also_called_on_an_input():
    i = keras.Input((6,))
    shared = layers.Dense(6, name="shared")
    x = layers.Add(name="add")([shared(i), shared(layers.Dense(6, name="a")(i))])
    groups = check(logits(x, i))
    assert sizes(groups) == {"shared": 6}
    assert "shared" in groups["a"].reason


@pytest.mark.parametrize(("value", "units"), [(0.0, {"a": 6, "b": 4}), (-1.0, {"b": 4})])
def test_masking_looks_at_all_features(value, units):
    i = keras.Input((5, 4))
    x = layers.Masking(value, name="mask")(layers.Dense(6, activation="relu", name="a")(i))
    groups = check(logits(layers.LSTM(4, name="b")(x), i))
    assert sizes(groups) == units


def test_a_model_at_each_step_says_what_to_do():
    i = keras.Input((5, 4))
    inner = keras.Sequential([keras.Input((6,)), layers.Dense(8, name="x"), layers.Dense(3)])
    x = layers.TimeDistributed(inner, name="each")(layers.Dense(6, name="a")(i))
    groups = check(head(x, i))
    assert sizes(groups) == {}
    assert "each (TimeDistributed) steps through a model" in groups["a"].reason


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda layer: layer.enable_lora(2), "prune the model before enable_lora"),
        (lambda layer: layer.quantize("int8"), "prune the model before model.quantize"),
    ],
)
def test_layers_that_were_changed_say_what_to_do(change, told):
    i = keras.Input((6,))
    middle = layers.Dense(5, name="b")
    model = logits(layers.Dense(4, name="c")(middle(layers.Dense(8, name="a")(i))), i)
    change(middle)
    groups = check(model)
    assert told in groups["a"].reason
    assert sizes(groups) == {"c": 4}
