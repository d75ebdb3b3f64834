"""Networks: sizes, worked outputs, saving, training."""

import keras
import numpy as np
import pytest

from keras_sparse import graphs
from tests.graphs.paths import BIAS_1, KERNEL_0, KERNEL_1, X, adjacency, path_graph

pytestmark = pytest.mark.jax
BUILDERS = {
    "gcn": (graphs.gcn, "gcn"),
    "sage": (graphs.sage, "mean"),
    "gat": (graphs.gat, "self_loops"),
}


@pytest.mark.parametrize(
    ("builder", "sizes", "hidden", "expected"),
    [
        (graphs.gcn, (1433, 7), (256, 256), 434_695),
        (graphs.gcn, (500, 3), (256, 256), 194_819),
        (graphs.sage, (602, 41), (256,), 329_513),
    ],
)
def test_number_of_parameters(builder, sizes, hidden, expected):
    model = builder(*sizes, hidden)
    assert sum(int(np.prod(each.shape)) for each in model.trainable_weights) == expected


def two_layers(columns):
    model = graphs.gcn(2, 2, (len(columns),), sparse_features=False)
    weights = [KERNEL_0[:, columns], np.zeros(len(columns)), KERNEL_1[columns], BIAS_1]
    for variable, value in zip(model.trainable_weights, weights, strict=True):
        variable.assign(value)
    return np.asarray(model((keras.ops.convert_to_tensor(X), adjacency("gcn"))))


def test_logits_of_a_network_and_their_sum_over_blocks():
    whole = two_layers([0, 1, 2, 3])
    expected = [[1.236253, -0.146046], [0.971939, 0.659793], [0.736253, 0.808078]]
    np.testing.assert_allclose(whole, expected, atol=1e-6)
    first, second = two_layers([0, 3]), two_layers([1, 2])
    expected = [[0.57646, 0.513747], [0.395762, 1.069303], [0.32646, 1.013747]]
    np.testing.assert_allclose(first, expected, atol=1e-6)
    expected = [[1.159793, -1.159793], [1.076176, -0.90951], [0.909793, -0.705669]]
    np.testing.assert_allclose(second, expected, atol=1e-6)
    np.testing.assert_allclose(first + second - BIAS_1, whole, atol=1e-6)


@pytest.mark.parametrize("name", BUILDERS)
def test_a_saved_model_computes_the_same(name, tmp_path):
    builder, kind = BUILDERS[name]
    model = builder(2, 3, (4,), layer_norm=True, sparse_features=False, seed=1)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    inputs = (keras.ops.convert_to_tensor(X), adjacency(kind))
    np.testing.assert_array_equal(again(inputs), model(inputs))


@pytest.mark.parametrize("name", BUILDERS)
def test_one_seed_gives_one_model(name):
    builder, _ = BUILDERS[name]
    one, same, other = (builder(2, 3, (4,), seed=seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[0], other[0])


@pytest.mark.parametrize("aggregation", ["product", "segment_sum"])
@pytest.mark.parametrize("name", BUILDERS)
def test_fit_learns_the_classes_of_a_block_graph(name, aggregation):
    builder, kind = BUILDERS[name]
    graph = graphs.block_graph(150, 3, 60, seed=0)
    model = builder(
        60, 3, (8,), sparse_features=True, layer_norm=True, aggregation=aggregation, seed=0
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.05), loss, weighted_metrics=["accuracy"])
    model.fit(graphs.FullGraph(graph, kind, steps=30), verbose=0)
    _, accuracy = model.evaluate(graphs.FullGraph(graph, kind, split="test"), verbose=0)
    assert accuracy > 0.6  # chance is a third


def test_the_loss_is_the_mean_over_the_nodes_of_the_split():
    graph = path_graph(test=[1])
    model = graphs.gcn(2, 2, (4,), sparse_features=False, seed=0)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    logits = np.asarray(model((keras.ops.convert_to_tensor(X), adjacency("gcn"))))
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(3), graph.labels]
    for split, expected in (("train", losses.mean()), ("test", losses[1])):
        found = model.evaluate(graphs.FullGraph(graph, "gcn", split=split), verbose=0)
        assert found == pytest.approx(expected, rel=1e-5)
