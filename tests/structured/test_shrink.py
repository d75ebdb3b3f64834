"""The smaller model is a plain Keras model with the weights of what is kept."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_sparse as ks
from keras_sparse.structured.coupling.groups import channel_groups
from keras_sparse.structured.shrink import build
from tests.structured.nets import batch, check, conv, half, head, image, outputs, randomized


def small():
    """A residual network with batch normalization."""
    i = image()
    x = layers.BatchNormalization(name="norm")(conv(8, "a")(i))
    x = layers.ReLU(name="relu")(x)
    x = layers.Add(name="add")([x, conv(8, "c")(conv(6, "b", activation="relu")(x))])
    return randomized(head(x, i))


@pytest.mark.jax
def test_weights_are_those_of_what_is_kept():
    model = small()
    smaller = ks.structured.shrink(model, {"a": [1, 4, 6], "b": [True, False] * 3})
    norm, other = model.get_layer("norm"), smaller.get_layer("norm")
    for ours, theirs in zip(other.weights, norm.weights, strict=True):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs)[[1, 4, 6]]
        )
    kernel = ops.convert_to_numpy(model.get_layer("b").kernel)[:, :, [1, 4, 6]][..., ::2]
    np.testing.assert_array_equal(ops.convert_to_numpy(smaller.get_layer("b").kernel), kernel)
    assert smaller.name == model.name
    assert model.get_layer("a").kernel.shape[-1] == 8


@pytest.mark.jax
def test_the_smaller_model_is_saved_trained_and_shrunk_again(tmp_path):
    model = small()
    smaller = ks.structured.shrink(model, {"a": range(4)})
    smaller.save(tmp_path / "smaller.keras")
    loaded = keras.saving.load_model(tmp_path / "smaller.keras")
    x = batch(model)
    np.testing.assert_array_equal(outputs(loaded, x)[0], outputs(smaller, x)[0])
    loaded.compile("sgd", "mse")
    loaded.fit(x, np.zeros((3, 3)), verbose=0)
    groups = channel_groups(loaded)
    keep = half(groups)
    again, masked = build(groups, keep, False), build(groups, keep, True)
    np.testing.assert_allclose(outputs(again, x)[0], outputs(masked, x)[0], atol=1e-5)


def test_a_masked_model_is_saved(tmp_path):
    i = image(4, 4, 3)
    model = randomized(head(layers.LayerNormalization(name="norm")(conv(6, "a")(i)), i))
    masked = ks.structured.masked(model, {"a": [0, 3]})
    masked.save(tmp_path / "masked.keras")
    loaded = keras.saving.load_model(tmp_path / "masked.keras")
    x = batch(model)
    np.testing.assert_allclose(outputs(loaded, x)[0], outputs(masked, x)[0], atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "float64"])
def test_types_are_kept(policy):
    i = keras.Input((6,), dtype=policy if policy == "float64" else None)
    x = layers.Dense(8, activation="relu", dtype=policy, name="a")(i)
    model = keras.Model(i, layers.Dense(3, dtype=policy, name="b")(x))
    smaller = ks.structured.shrink(model, {"a": [0, 1, 2]})
    assert [w.dtype for w in smaller.weights] == [w.dtype for w in model.weights]
    assert smaller.get_layer("a").compute_dtype == model.get_layer("a").compute_dtype


@pytest.mark.jax
def test_sequential_models_stay_sequential():
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(8, name="a"), layers.Dense(2, name="b")], name="s"
    )
    smaller = ks.structured.shrink(model, {"a": [3, 5]})
    assert isinstance(smaller, keras.Sequential)
    assert smaller.count_params() == 6 * 2 + 2 + 2 * 2 + 2


def test_frozen_layers_stay_frozen():
    model = small()
    model.get_layer("b").trainable = False
    smaller = ks.structured.shrink(model, {"a": range(4)})
    assert len(smaller.trainable_variables) == len(model.trainable_variables)


@pytest.mark.jax
def test_open_image_sizes():
    i = image(None, None, 3)
    x = ops.reshape(conv(8, "a")(i), (-1, 4, 4, 8))
    model = randomized(keras.Model(i, layers.Dense(2, name="b")(x)))
    groups = channel_groups(model)
    keep = half(groups)
    x = batch(model)
    smaller, masked = build(groups, keep, False), build(groups, keep, True)
    assert smaller.count_params() < model.count_params()
    np.testing.assert_allclose(outputs(smaller, x)[0], outputs(masked, x)[0], atol=1e-5)


class Scale(layers.Layer):
    """Multiplies each channel by a number."""

    def __init__(self, dim, **kwargs):
        super().__init__(**kwargs)
        self.dim = dim

    def build(self, shape):
        self.factor = self.add_weight(shape=(self.dim,), name="factor")

    def call(self, x):
        return x * self.factor

    def get_config(self):
        return {**super().get_config(), "dim": self.dim}


@pytest.mark.jax
def test_a_registered_layer_is_seen_through():
    i = keras.Input((6,))
    x = Scale(8, name="scale")(layers.Dense(8, name="a")(i))
    model = randomized(keras.Model(i, layers.Dense(2, name="b")(x)))
    unknown = ks.structured.report(model)
    assert "register_coupling" in unknown.groups[0].reason
    assert "scale" in unknown.opaque

    class Known(Scale):
        pass

    @ks.structured.register_coupling(
        Known, resize=lambda call, kept: {"dim": kept.shape(call.operation.factor)[0]}
    )
    def couple(coupling):
        coupling.elementwise()
        coupling.tie((coupling.inputs[0], -1), (coupling.layer.factor, 0))

    x = Known(8, name="scale")(layers.Dense(8, name="a")(i))
    model = randomized(keras.Model(i, layers.Dense(2, name="b")(x)))
    keep = {"a": [1, 2, 7]}
    x = batch(model)
    ours, theirs = (f(model, keep) for f in (ks.structured.shrink, ks.structured.masked))
    np.testing.assert_allclose(outputs(ours, x)[0], outputs(theirs, x)[0], atol=1e-6)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, x):
        return self.dense(x)


@pytest.mark.jax
@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ({"q": [0]}, "Unknown group in keep"),
        ({"a": []}, "would become empty"),
        ({"a": [9]}, "indices from 0 to 7"),
        ({"a": [True]}, "8 booleans"),
        ({"logits": [0]}, "output of the model"),
        ([3], "a mapping"),
    ],
)
def test_wrong_units_are_refused(keep, message):
    with pytest.raises(ValueError, match=message):
        ks.structured.shrink(small(), keep)


@pytest.mark.jax
def test_a_slice_of_two_groups_is_never_empty():
    i = image()
    x = layers.Concatenate(name="cat")([conv(4, "a")(i), conv(4, "b")(i)])
    model = randomized(head(conv(3, "c")(x[..., 3:5]), i))
    with pytest.raises(ValueError, match="would become empty"):
        ks.structured.shrink(model, {"a": [0, 1, 2], "b": [1, 2, 3]})
    smaller = ks.structured.prune(model, params=0.3, criterion="uniform", max_removed=1.0)
    assert smaller.get_layer("c").kernel.shape[2] >= 1


def test_models_without_a_graph_are_refused():
    model = Subclassed()
    model(np.zeros((1, 4)))
    with pytest.raises(ValueError, match=r"subclassed.*functional"):
        ks.structured.shrink(model, {})


def test_a_subclassed_model_inside_is_named():
    i = keras.Input((6,))
    x = Subclassed()(layers.Dense(8, name="a")(i))
    report = ks.structured.report(keras.Model(i, layers.Dense(2, name="b")(x)))
    assert "Subclassed" in report.groups[0].reason


@pytest.mark.jax
def test_numbers_in_configurations_follow():
    i = keras.Input((5, 6))
    x = layers.MultiHeadAttention(4, 6, name="mha")(i, i)
    x = layers.GroupQueryAttention(6, 8, 4, name="gqa")(x, x)
    x = layers.GroupNormalization(4, name="norm")(layers.Conv1D(12, 3, groups=2, name="conv")(x))
    model = randomized(head(x, i))
    keep = {"mha/heads": [0, 3], "mha/head_dim": [1, 2, 5], "gqa/groups": [0, 2, 3]}
    keep |= {"conv": [1]}  # Three channels of each of its groups, as many as normalization has.
    smaller, masked = (f(model, keep) for f in (ks.structured.shrink, ks.structured.masked))
    names = ("mha", "gqa", "conv", "norm")
    mha, gqa, conv, norm = (smaller.get_layer(name).get_config() for name in names)
    assert (mha["num_heads"], mha["key_dim"], mha["value_dim"]) == (2, 3, 3)
    # A whole group has a head of keys and values with the two of queries that use it.
    assert (gqa["num_key_value_heads"], gqa["num_query_heads"]) == (3, 6)
    assert (conv["filters"], conv["groups"], norm["groups"]) == (6, 2, 2)
    x = batch(model)
    np.testing.assert_allclose(outputs(smaller, x)[0], outputs(masked, x)[0], atol=1e-5)


@pytest.mark.jax
def test_offsets_of_removed_channels_are_gone():
    """What batch normalization adds to an empty channel reaches nothing behind it."""
    i = image()
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(conv(8, "a")(i)))
    model = randomized(head(conv(4, "b")(x), i))
    model.get_layer("norm").beta.assign(np.full(8, 3.0))
    masked = ks.structured.masked(model, {"a": [0, 5]})
    inside = keras.Model(masked.inputs, masked.get_layer("relu").output)
    found = outputs(inside, batch(model))[0]
    gone = np.delete(np.arange(8), [0, 5])
    assert not found[..., gone].any()
    assert found[..., [0, 5]].any()
    smaller = ks.structured.shrink(model, {"a": [0, 5]})
    x = batch(model)
    np.testing.assert_allclose(outputs(smaller, x)[0], outputs(masked, x)[0], atol=1e-5)


@pytest.mark.jax
def test_what_the_user_keeps_keeps_its_size():
    i = image()
    x = conv(6, "b", activation="relu")(conv(8, "a")(i))
    model = randomized(head(layers.Add(name="add")([x, conv(6, "c")(i)]), i))
    smaller = ks.structured.prune(model, flops=0.5, exclude=["c"])
    assert smaller.get_layer("a").filters < 8
    # What is added to it stays as well.
    assert [smaller.get_layer(name).filters for name in "bc"] == [6, 6]


@pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="TensorFlow convolves channels first on GPUs alone"
)
@pytest.mark.jax
def test_channels_first():
    i = keras.Input((3, 8, 8))
    options = {"padding": "same", "data_format": "channels_first"}
    x = layers.Conv2D(8, 3, name="a", **options)(i)
    x = layers.BatchNormalization(axis=1, name="norm")(x)
    x = layers.Add(name="add")([x, layers.Conv2D(8, 3, name="b", **options)(x)])
    x = layers.MaxPooling2D(data_format="channels_first", name="max")(x)
    x = layers.SeparableConv2D(6, 3, name="s", **options)(x)
    x = layers.GlobalAveragePooling2D(data_format="channels_first", name="pool")(x)
    groups = check(keras.Model(i, layers.Dense(2, name="logits")(x)))
    assert {name: g.size for name, g in groups.items() if g.reason is None} == {"a": 8, "s": 6}
