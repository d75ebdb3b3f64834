"""Each way in which channels belong together: the shrunk model equals the masked one."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from tests.structured.nets import check, conv, head, image

# The graph is found alike on both backends: on JAX one test of each kind of operation.
on_jax_too = pytest.mark.jax


def sizes(groups):
    """Sizes of the groups out of which units can be removed, by name."""
    return {name: group.size for name, group in groups.items() if group.reason is None}


@on_jax_too
def test_residual_add():
    i = image()
    x = conv(8, "a", activation="relu")(i)
    y = conv(8, "b")(conv(6, "c", activation="relu")(x))
    groups = check(head(layers.Add(name="add")([x, y]), i))
    assert sizes(groups) == {"a": 8, "c": 6}
    assert groups["a"].made_by == ("a", "b")
    assert groups["logits"].reason == "it is an output of the model"


def test_concatenation_and_dense_net():
    i = image()
    x = conv(6, "a")(i)
    for k in range(3):
        y = layers.ReLU(name=f"relu{k}")(layers.BatchNormalization(name=f"norm{k}")(x))
        x = layers.Concatenate(name=f"cat{k}")([x, conv(4, f"b{k}")(y)])
    groups = check(head(x, i))
    assert sizes(groups) == {"a": 6, "b0": 4, "b1": 4, "b2": 4}


@on_jax_too
@pytest.mark.parametrize("multiplier", [1, 2])
def test_depthwise_and_separable(multiplier):
    i = image()
    x = conv(6, "a")(i)
    x = layers.DepthwiseConv2D(3, depth_multiplier=multiplier, activation="sigmoid", name="d")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.SeparableConv2D(10, 3, depth_multiplier=multiplier, name="s")(x)
    assert sizes(check(head(x, i))) == {"a": 6, "s": 10}


@on_jax_too
@pytest.mark.parametrize(("groups", "units"), [(2, {"a": 4, "g": 6}), (8, {"a": 8})])
def test_grouped_convolution(groups, units):
    i = image()
    x = conv(8, "a", activation="sigmoid")(i)
    x = conv(12 if groups == 2 else 16, "g", groups=groups)(x)
    assert sizes(check(head(x, i))) == units


@pytest.mark.parametrize(
    "norm",
    [
        layers.BatchNormalization(name="norm"),
        layers.LayerNormalization(name="norm"),
        layers.LayerNormalization(axis=[1, 2, 3], name="norm"),
        layers.RMSNormalization(name="norm"),
        layers.UnitNormalization(name="norm"),
        layers.GroupNormalization(groups=2, name="norm"),
        layers.GroupNormalization(groups=4, name="norm"),
        layers.GroupNormalization(groups=-1, name="norm"),
        layers.GroupNormalization(groups=1, name="norm"),
    ],
)
def test_normalization(norm):
    i = image(4, 4, 3)
    norm = type(norm).from_config(norm.get_config())
    x = norm(conv(8, "a", activation="sigmoid")(i))
    assert check(head(x, i))["a"].reason is None


@on_jax_too
@pytest.mark.parametrize("order", ["last", "first"])
def test_flatten_keeps_the_order_of_rows(order):
    i = image(4, 4, 3)
    x = conv(6, "a")(i)
    if order == "first":
        x = layers.Permute((3, 1, 2), name="permute")(x)
    x = layers.Dense(10, activation="relu", name="b")(layers.Flatten(name="flat")(x))
    assert sizes(check(keras.Model(i, layers.Dense(3, name="logits")(x)))) == {"a": 6, "b": 10}


def test_reshape_of_a_dense_layer_to_an_image():
    i = keras.Input((5,))
    x = layers.Reshape((4, 4, 6), name="reshape")(layers.Dense(96, name="a")(i))
    x = layers.Conv2DTranspose(8, 3, strides=2, name="up")(x)
    assert sizes(check(head(x, i))) == {"a": 6, "up": 8}


def test_pooling_padding_cropping_and_up_sampling():
    i = image()
    x = layers.MaxPooling2D(name="max")(conv(6, "a")(i))
    x = layers.ZeroPadding2D(2, name="pad")(layers.UpSampling2D(name="up")(x))
    x = layers.Cropping2D(1, name="crop")(layers.AveragePooling2D(2, name="mean")(x))
    assert sizes(check(head(conv(4, "b")(x), i))) == {"a": 6, "b": 4}


@on_jax_too
@pytest.mark.parametrize("options", [{}, {"use_bias": False}, {"use_gate": True}])
def test_attention_heads(options):
    i = keras.Input((5, 6))
    x = layers.Dense(8, name="embed")(i)
    attention = layers.MultiHeadAttention(4, 6, name="mha", **options)
    x = layers.Add(name="add")([x, attention(x, x)])
    groups = check(head(layers.LayerNormalization(name="norm")(x), i))
    assert sizes(groups) == {"embed": 8, "mha/heads": 4, "mha/head_dim": 6}


@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="JAX takes no values of another dimension"
)
def test_dimensions_of_values():
    i = keras.Input((5, 6))
    x = layers.MultiHeadAttention(4, 6, value_dim=4, name="mha")(i, i)
    units = {"mha/heads": 4, "mha/key_dim": 6, "mha/value_dim": 4, "mha/output": 6}
    assert sizes(check(head(x, i))) == units


def test_attention_between_different_tensors():
    a, b = keras.Input((5, 6), name="a"), keras.Input((7, 4), name="b")
    x, y = layers.Dense(8, name="x")(a), layers.Dense(6, name="y")(b)
    z = layers.MultiHeadAttention(2, 4, output_shape=10, name="mha")(x, y)
    groups = check(head(z, [a, b]))
    assert {"x", "y", "mha/output"} <= sizes(groups).keys()


@pytest.mark.parametrize("gate", [False, True])
def test_grouped_query_attention_removes_whole_groups(gate):
    i = keras.Input((5, 6))
    x = layers.Dense(8, name="embed")(i)
    x = layers.GroupQueryAttention(6, 8, 4, use_gate=gate, name="gqa")(x, x)
    groups = check(head(x, i))
    assert sizes(groups) == {"embed": 8, "gqa/groups": 4, "gqa/head_dim": 6}


@on_jax_too
def test_einsum_dense():
    i = keras.Input((5, 6))
    x = layers.EinsumDense("abc,cd->abd", (None, 12), bias_axes="d", name="up")(i)
    x = layers.Activation("gelu", name="act")(x)
    x = layers.EinsumDense("...x,xy->...y", 8, bias_axes="y", name="down")(x)
    x = layers.EinsumDense("abc,cde->abde", (None, 4, 3), bias_axes="de", name="split")(x)
    x = layers.EinsumDense("abde,def->abf", (None, 7), name="join")(x)
    units = {"up": 12, "down": 8, "split/d": 4, "split/e": 3, "join": 7}
    assert sizes(check(head(x, i))) == units


def test_own_attention_of_einsums_and_products():
    i = keras.Input((5, 6))
    q, k, v = (layers.Dense(12, activation="sigmoid", name=n)(i) for n in "qkv")
    q, k, v = (layers.Reshape((5, 3, 4), name=f"split_{x.name}")(x) for x in (q, k, v))
    scores = ops.softmax(ops.einsum("bqhd,bkhd->bhqk", q, k))
    x = ops.matmul(scores, ops.transpose(v, (0, 2, 1, 3)))
    x = layers.Reshape((5, 12), name="join")(ops.transpose(x, (0, 2, 1, 3)))
    assert sizes(check(head(x, i))) == {"k": 4, "v": 4}


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_recurrent_units(kind):
    i = keras.Input((5, 4))
    x = getattr(layers, kind)(6, return_sequences=True, name="a")(i)
    y = layers.Bidirectional(getattr(layers, kind)(4, name="inner"), name="b")(x)
    assert sizes(check(keras.Model(i, layers.Dense(2, name="logits")(y)))) == {"a": 6, "b": 4}


def test_states_and_time_distributed():
    i = keras.Input((5, 4))
    x = layers.TimeDistributed(layers.Dense(6, name="inner"), name="each")(i)
    x, h, c = layers.LSTM(6, return_state=True, return_sequences=True, name="encoder")(x)
    x = layers.LSTM(6, name="decoder")(x, initial_state=[h, c])
    assert sizes(check(keras.Model(i, layers.Dense(2)(x)))) == {"each": 6, "encoder": 6}


@on_jax_too
def test_embedding_with_mask():
    i = keras.Input((5,), dtype="int32")
    x = layers.Embedding(10, 6, mask_zero=True, name="embed")(i)
    x = layers.LSTM(4, name="a")(x)
    assert sizes(check(keras.Model(i, layers.Dense(2)(x)))) == {"embed": 6, "a": 4}


@on_jax_too
def test_channel_shuffle():
    i = image()
    x = conv(18, "a", groups=3)(conv(9, "in")(i))
    x = ops.reshape(x, (-1, 8, 8, 3, 6))
    x = ops.reshape(ops.transpose(x, (0, 1, 2, 4, 3)), (-1, 8, 8, 18))
    x = conv(6, "b", groups=3)(x)
    # Each group of `b` sees two of the six channels of every group of `a`.
    assert sizes(check(head(x, i))) == {"in": 3, "a": 2, "b": 2}


@pytest.mark.parametrize("way", ["reshape", "depth_to_space"])
def test_pixel_shuffle(way):
    i = image(4, 4, 3)
    x = conv(24, "a")(i)
    if way == "reshape":
        x = ops.transpose(ops.reshape(x, (-1, 4, 4, 2, 2, 6)), (0, 1, 3, 2, 4, 5))
        x = ops.reshape(x, (-1, 8, 8, 6))
    elif hasattr(ops.nn, "depth_to_space"):
        x = ops.nn.depth_to_space(x, 2)
    else:
        pytest.skip("this Keras has no depth_to_space")
    assert sizes(check(head(conv(5, "b")(x), i))) == {"a": 6, "b": 5}


def test_space_to_depth_by_reshapes():
    i = image()
    x = ops.reshape(conv(6, "a")(i), (-1, 4, 2, 4, 2, 6))
    x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, 4, 4, 24))
    assert sizes(check(head(conv(5, "b")(x), i))) == {"a": 6, "b": 5}


def test_the_same_tensor_concatenated_twice():
    i = image()
    x = conv(6, "a")(i)
    x = layers.Concatenate(name="twice")([x, x])
    x = layers.BatchNormalization(name="norm")(x)
    assert sizes(check(head(conv(4, "b")(x), i))) == {"a": 6, "b": 4}


def test_one_consumer_of_two_slices():
    i = image()
    x = conv(8, "a")(i)
    shared = conv(4, "b")
    groups = check(head(layers.Add(name="add")([shared(x[..., :4]), shared(x[..., 4:])]), i))
    assert sizes(groups) == {"a": 4, "b": 4}


@on_jax_too
def test_split_index_and_uneven_slices():
    i = image()
    a, b, c = ops.split(conv(12, "a")(i), [2, 7], axis=-1)
    x = layers.Concatenate(name="cat")([conv(4, "b")(a), conv(4, "c")(b), c])
    groups = check(head(layers.BatchNormalization(name="norm")(x), i))
    assert sizes(groups) == {"a": 12, "b": 4, "c": 4}


def test_a_slice_with_a_step_and_a_single_index():
    i = image()
    x = conv(8, "a")(i)
    y = conv(4, "b")(x[..., ::2])
    gate = ops.expand_dims(x[..., 3], -1)
    groups = check(head(layers.Multiply(name="gate")([y, gate]), i))
    assert not groups["a"].free[3]
    assert groups["b"].reason is None


def test_equal_parts_of_a_gated_unit():
    i = keras.Input((6,))
    a, b = ops.split(layers.Dense(16, name="a")(i), 2, axis=-1)
    x = a * ops.sigmoid(b)
    assert sizes(check(keras.Model(i, layers.Dense(2)(x)))) == {"a": 8}


@on_jax_too
def test_squeeze_and_excitation():
    i = image()
    x = conv(8, "a", activation="relu")(i)
    gate = layers.Reshape((1, 1, 8), name="shape")(layers.GlobalAveragePooling2D(name="mean")(x))
    gate = layers.Conv2D(3, 1, activation="relu", name="squeeze")(gate)
    gate = layers.Conv2D(8, 1, activation="sigmoid", name="excite")(gate)
    groups = check(head(layers.Multiply(name="gate")([x, gate]), i))
    assert sizes(groups) == {"a": 8, "squeeze": 3}
    assert groups["a"].made_by == ("a", "excite")


def test_windows():
    i = image()
    x = conv(8, "a")(i)
    x = ops.transpose(ops.reshape(x, (-1, 2, 4, 2, 4, 8)), (0, 1, 3, 2, 4, 5))
    x = ops.reshape(x, (-1, 16, 8))
    x = layers.MultiHeadAttention(2, 4, name="mha")(x, x)
    x = ops.transpose(ops.reshape(x, (-1, 2, 2, 4, 4, 8)), (0, 1, 3, 2, 4, 5))
    x = ops.reshape(x, (-1, 8, 8, 8))
    assert {"a", "mha/output"} <= sizes(check(head(x, i))).keys()


def test_concatenation_along_another_axis():
    i = keras.Input((5, 4))
    x, y = layers.Dense(6, name="a")(i), layers.Dense(6, name="b")(i)
    x = layers.Concatenate(axis=1, name="cat")([x, y])
    groups = check(head(x, i))
    assert sizes(groups) == {"a": 6}
    assert groups["a"].made_by == ("a", "b")


def test_stacked_and_padded_channels():
    i = image()
    x = conv(4, "a")(i)
    y = ops.pad(x, ((0, 0), (0, 0), (0, 0), (1, 2)))
    z = ops.max(ops.stack([y, conv(7, "b")(x)], axis=1), axis=1)
    groups = check(head(z, i))
    assert sizes(groups) == {"a": 7}
    assert groups["a"].made_by == ("a", "pad/padding", "b")


def test_mixer_over_tokens():
    i = keras.Input((6, 4))
    x = layers.Dense(8, name="embed")(i)
    y = layers.Permute((2, 1), name="there")(x)
    y = layers.Dense(6, name="back_up")(layers.Dense(10, name="tokens")(y))
    x = layers.Add(name="add")([x, layers.Permute((2, 1), name="back")(y)])
    groups = check(head(x, i))
    assert sizes(groups) == {"embed": 8, "tokens": 10}
    assert "cannot be removed" in groups["back_up"].reason


def test_nested_models():
    i = image()
    inner = keras.Sequential([image(8, 8, 6), conv(7, "x"), conv(6, "y")], name="inner")
    k = image(8, 8, 6)
    functional = keras.Model(k, layers.Add(name="add")([k, conv(6, "x")(k)]), name="functional")
    x = functional(inner(conv(6, "a")(i)))
    groups = check(head(x, i))
    assert sizes(groups) == {"a": 6, "inner/x": 7, "inner/y": 6}


def test_shared_layers_and_a_shared_model():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    shared = layers.Dense(6, activation="relu", name="shared")
    k = keras.Input((6,))
    tower = keras.Model(k, layers.Dense(8, name="deep")(layers.Dense(5, name="mid")(k)), name="t")
    x = [tower(shared(each)) for each in (a, b)]
    groups = check(keras.Model([a, b], layers.Dense(2)(layers.Multiply(name="times")(x))))
    assert sizes(groups) == {"shared": 6, "t/deep": 8, "t/mid": 5}


def test_several_inputs_and_outputs():
    a, b = keras.Input((4,), name="a"), keras.Input((8, 8, 3), name="b")
    x = layers.Dense(6, name="x")(a)
    y = layers.GlobalMaxPooling2D(name="pool")(conv(5, "y")(b))
    z = layers.Dense(7, name="z")(layers.Concatenate(name="cat")([x, y]))
    outputs = {"one": layers.Dense(2, name="one")(z), "two": layers.Dense(3, name="two")(x)}
    groups = check(keras.Model({"a": a, "b": b}, outputs))
    assert sizes(groups) == {"x": 6, "y": 5, "z": 7}


def test_channels_that_go_out_stay():
    i = image()
    x = conv(6, "a")(i)
    groups = check(keras.Model(i, [x[..., :2], head(x, i).output]))
    assert groups["a"].free.tolist() == [False, False, True, True, True, True]


def test_activations_that_mix_channels():
    i = keras.Input((6,))
    x = layers.Dense(4, activation="softmax", name="a")(i)
    groups = check(keras.Model(i, layers.Dense(2)(layers.Dense(5, name="b")(x))))
    assert "softmax" in groups["a"].reason
    assert sizes(groups) == {"b": 5}


def test_constants_are_cut_too():
    i = keras.Input((5, 4))
    x = layers.Dense(6, name="a")(i)
    x = ops.add(x, np.random.default_rng(0).normal(size=(5, 6)).astype("float32"))
    assert sizes(check(head(x, i))) == {"a": 6}


@on_jax_too
def test_an_own_layer_without_weights_is_tried_out():
    class Swish(layers.Layer):
        def call(self, x):
            return x * ops.sigmoid(x)

    class Mean(layers.Layer):
        def call(self, x):
            return x - ops.mean(x, axis=-1, keepdims=True)

    i = keras.Input((6,))
    x = Swish(name="swish")(layers.Dense(8, name="a")(i))
    x = Mean(name="center")(layers.Dense(5, name="b")(x))
    groups = check(keras.Model(i, layers.Dense(2)(x)))
    assert sizes(groups) == {"a": 8}
    assert "center (Mean)" in groups["b"].reason
