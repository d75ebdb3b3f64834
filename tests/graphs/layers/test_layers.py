"""The layers on the path 0-1-2, against numbers worked out with NumPy."""

import keras
import numpy as np
import pytest

from keras_sparse import graphs
from keras_sparse.backend.sparse_tensors import dense
from tests.graphs.paths import KERNEL_0, X, adjacency, sparse

pytestmark = pytest.mark.jax
WAYS = ("product", "segment_sum")
KINDS = {graphs.GraphConv: "gcn", graphs.SAGEConv: "mean", graphs.GATConv: "self_loops"}


def built(layer, kind, *weights):
    layer(X, adjacency(kind))
    layer.set_weights([np.asarray(each) for each in weights])
    return layer


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("as_given", [np.asarray, sparse])
def test_convolution_of_dense_and_of_sparse_features(way, as_given):
    layer = graphs.GraphConv(4, activation="relu", use_bias=False, aggregation=way)
    built(layer, "gcn", KERNEL_0)
    expected = [
        [0.5, 0, 0.591752, 0.408248],
        [0.816497, 0, 0.891412, 0.741582],
        [0.5, 0.408248, 0.091752, 0.908248],
    ]
    np.testing.assert_allclose(layer(as_given(X), adjacency("gcn")), expected, atol=1e-6)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("as_given", [np.asarray, sparse])
def test_sage_joins_a_node_with_the_mean_of_its_neighbors(way, as_given):
    layer = graphs.SAGEConv(4, use_bias=False, aggregation=way)
    built(layer, "mean", np.eye(4))
    expected = [[1, 0, 0, 1], [0, 1, 1, 0.5], [1, 1, 0, 1]]
    np.testing.assert_allclose(layer(as_given(X), adjacency("mean")), expected, atol=1e-6)


def test_attention_of_one_head():
    layer = graphs.GATConv(2, use_bias=False)
    built(layer, "self_loops", np.eye(2)[:, None], [[[1, 0]], [[0, 1]]])
    expected = [[0.26894, 0.73106], [0.57768, 0.84464], [0.5, 1]]
    np.testing.assert_allclose(layer(X, adjacency("self_loops")), expected, atol=1e-5)


def test_heads_are_joined_or_averaged():
    kernels = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    attention = np.random.default_rng(1).normal(size=(2, 3, 4)).astype("float32")
    apart = [
        built(
            graphs.GATConv(4, use_bias=False),
            "self_loops",
            kernels[:, i : i + 1],
            attention[:, i : i + 1],
        )(X, adjacency("self_loops"))
        for i in range(3)
    ]
    for concatenate, expected in ((True, np.concatenate(apart, 1)), (False, np.mean(apart, 0))):
        layer = graphs.GATConv(4, 3, concatenate=concatenate, use_bias=False)
        built(layer, "self_loops", kernels, attention)
        np.testing.assert_allclose(layer(X, adjacency("self_loops")), expected, rtol=1e-5)


@pytest.mark.parametrize("layer_class", KINDS)
def test_every_axis_of_every_weight_has_a_declared_cut(layer_class):
    more = {"heads": 3} if layer_class is graphs.GATConv else {}
    layer = layer_class(4, **more)
    layer(X, adjacency(KINDS[layer_class]))
    width = {"in": 2, "out": 4}
    cuts = layer.weight_cuts
    assert set(cuts) == {weight.name for weight in layer.trainable_weights}
    for weight in layer.trainable_weights:
        for size, cut in zip(weight.shape, cuts[weight.name], strict=True):
            assert cut is None or size == cut.repeats * width[cut.group]
    assert layer.output_cut.repeats * 4 == layer(X, adjacency(KINDS[layer_class])).shape[-1]


def test_a_block_of_sage_is_in_both_halves_of_its_rows():
    rows = graphs.Cut("in", repeats=2).indices([0, 3], 4)
    columns = graphs.Cut("out").indices([0, 2], 3)
    kernel = np.arange(24).reshape(8, 3)
    cut = kernel[np.ix_(rows, columns)]
    np.testing.assert_array_equal(cut, [[0, 2], [9, 11], [12, 14], [21, 23]])


def test_the_first_hidden_layer_of_a_block_is_that_block_of_the_whole_layer():
    whole = built(graphs.GraphConv(4, activation="relu", use_bias=False), "gcn", KERNEL_0)
    for block in ([0, 3], [1, 2]):
        narrow = graphs.GraphConv(2, activation="relu", use_bias=False)
        built(narrow, "gcn", KERNEL_0[:, block])
        expected = np.asarray(whole(X, adjacency("gcn")))[:, block]
        np.testing.assert_array_equal(narrow(X, adjacency("gcn")), expected)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("layer_class", KINDS)
def test_a_dense_adjacency_gives_the_same(layer_class, way):
    layer = layer_class(4, aggregation=way)
    sparsely = layer(X, adjacency(KINDS[layer_class]))
    densely = layer(X, dense(adjacency(KINDS[layer_class])))
    np.testing.assert_allclose(densely, sparsely, atol=1e-6)


@pytest.mark.parametrize("layer_class", KINDS)
def test_segment_sums_compile(layer_class):
    """What says that it supports XLA compiles with it, and computes what the product does."""
    layer = layer_class(4, aggregation="segment_sum")
    matrix = adjacency(KINDS[layer_class])
    expected = layer(X, matrix)
    assert layer.supports_jit
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        compiled = tf.function(layer, jit_compile=True)
    else:
        import jax

        compiled = jax.jit(layer)
    found = compiled(keras.ops.convert_to_tensor(X), matrix)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("layer_class", KINDS)
def test_a_layer_comes_back_from_its_configuration(layer_class):
    layer = layer_class(
        4, dropout=0.25, activation="elu", kernel_regularizer=keras.regularizers.L2(0.1), seed=3
    )
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()
    assert again.dropout == 0.25
    assert again.kernel_regularizer.l2 == pytest.approx(0.1)


def test_what_only_attention_has_comes_back_too():
    own = {"heads": 3, "concatenate": False, "negative_slope": 0.1, "attention_dropout": 0.5}
    config = graphs.GATConv.from_config(graphs.GATConv(4, **own).get_config()).get_config()
    assert {name: config[name] for name in own} == own


def test_dropout_of_sparse_features_keeps_their_mean():
    ones = np.ones((200, 50), "float32")
    layer = graphs.GraphConv(1, dropout=0.5, kernel_initializer="ones", seed=0)
    loops = sparse(np.eye(200, dtype="float32"))
    dropped = np.asarray(layer(sparse(ones), loops, training=True))
    assert dropped.std() > 1
    assert dropped.mean() == pytest.approx(50, rel=0.05)
    np.testing.assert_allclose(layer(sparse(ones), loops), 50 * np.ones((200, 1)), rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"units": 0}, "units must be an integer of at least 1"),
        ({"units": 2, "dropout": 1.0}, "dropout must be a number in"),
        ({"units": 2, "aggregation": "products"}, "Did you mean 'product'"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        graphs.GraphConv(**arguments)
