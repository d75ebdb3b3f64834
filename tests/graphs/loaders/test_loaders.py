"""Clusters cover the graph, and batches keep the edges among their nodes."""

import importlib.util
import sys

import keras
import numpy as np
import pytest

from keras_sparse import graphs
from keras_sparse.backend.sparse_tensors import dense
from keras_sparse.graphs.loaders.batches import Size, batch_of
from keras_sparse.graphs.loaders.partitioning import chosen_partitioner
from keras_sparse.messages.extras import MissingExtraError

METIS = pytest.param(
    "metis",
    marks=pytest.mark.skipif(
        importlib.util.find_spec("pymetis") is None, reason="pymetis is not installed"
    ),
)
WAYS = (METIS, "ldg", "random")


@pytest.fixture(scope="module")
def graph():
    return graphs.block_graph(400, 4, 40, within=0.95, seed=0)


def recounted(graph, parts):
    number = {int(node): index for index, part in enumerate(parts) for node in part}
    rows, columns = graph.adjacency.nonzero()
    pairs = zip(rows, columns, strict=True)
    return sum(number[int(a)] != number[int(b)] for a, b in pairs) // 2


@pytest.mark.parametrize("way", WAYS)
def test_parts_are_disjoint_cover_the_graph_and_come_back(graph, way):
    parts = graphs.partition_nodes(graph.adjacency, 7, way, seed=1)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(400))
    again = graphs.partition_nodes(graph.adjacency, 7, way, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))
    assert graphs.edge_cut(graph.adjacency, parts) == recounted(graph, parts)


@pytest.mark.parametrize("way", [METIS, "ldg"])
def test_fewer_edges_are_cut_than_at_random(graph, way):
    chosen, at_random = (
        graphs.edge_cut(graph.adjacency, graphs.partition_nodes(graph.adjacency, 4, each))
        for each in (way, "random")
    )
    assert chosen < 0.75 * at_random


def test_metis_without_pymetis_names_the_extra(graph, monkeypatch):
    monkeypatch.setitem(sys.modules, "pymetis", None)
    with pytest.raises(MissingExtraError, match=r"keras-sparse\[graphs\]"):
        graphs.partition_nodes(graph.adjacency, 4, "metis")


@pytest.mark.parametrize(("found", "expected"), [(None, "ldg"), (object(), "metis")])
def test_the_best_partitioner_that_is_installed_is_the_default(found, expected, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)
    assert chosen_partitioner(None) == expected


def test_without_metis_clusters_are_made_all_the_same(graph, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    loader = graphs.ClusterLoader(graph, "gcn", num_parts=4)
    assert loader.partitioner == "ldg"
    assert sum(map(len, loader.parts)) == graph.num_nodes


@pytest.mark.parametrize("kind", ["gcn", "mean", "self_loops"])
def test_all_clusters_together_are_the_whole_graph(graph, kind):
    loader = graphs.ClusterLoader(graph, kind, num_parts=5, parts_per_batch=5, partitioner="ldg")
    assert len(loader) == 1
    (features, adjacency), labels, weights = loader[0]
    (all_features, whole), all_labels, all_weights = graphs.FullGraph(graph, kind)[0]
    np.testing.assert_array_equal(dense(adjacency), dense(whole))
    np.testing.assert_array_equal(dense(features), dense(all_features))
    np.testing.assert_array_equal(labels, all_labels)
    np.testing.assert_array_equal(weights, all_weights)


@pytest.mark.parametrize(("together", "edges"), [(1, [0, 1, 2, 3]), (2, [0, 1, 1, 2, 2, 3])])
def test_edges_between_chosen_parts_are_kept(together, edges, monkeypatch):
    path = graphs.Graph.from_edges(
        [(0, 1), (1, 2), (2, 3)], np.ones((4, 1)), [0] * 4, train=[0, 1, 2, 3]
    )
    monkeypatch.setattr(
        "keras_sparse.graphs.loaders.cluster.partition_nodes",
        lambda *_: [np.array([0, 1]), np.array([2, 3])],
    )
    loader = graphs.ClusterLoader(
        path, "self_loops", num_parts=2, parts_per_batch=together, shuffle=False
    )
    found = []
    for index in range(len(loader)):
        (_, adjacency), _, _ = loader[index]
        rows, columns = np.triu(np.asarray(dense(adjacency)), 1).nonzero()
        found += [2 * index + node for pair in zip(rows, columns, strict=True) for node in pair]
    assert found == edges


def test_all_batches_of_all_epochs_have_one_shape(graph):
    loader = graphs.ClusterLoader(graph, "gcn", num_parts=9, parts_per_batch=2, partitioner="ldg")
    shapes, orders = set(), []
    for _ in range(3):
        for index in range(len(loader)):
            (features, adjacency), labels, weights = loader[index]
            parts = (features, features.indices, adjacency, adjacency.indices, labels, weights)
            shapes.add(tuple(tuple(each.shape) for each in parts))
            orders.append(labels.tobytes())
        loader.on_epoch_end()
    assert len(shapes) == 1
    assert len(set(orders)) > len(loader)


@pytest.mark.jax
def test_padding_changes_no_logit(graph):
    nodes = np.arange(50)
    for builder, kind in ((graphs.gcn, "gcn"), (graphs.sage, "mean"), (graphs.gat, "self_loops")):
        model = builder(40, 4, (8,), sparse_features=True, seed=0)
        exact = graphs.normalized(graph.adjacency[nodes][:, nodes], kind).nnz
        values = graph.features[nodes].nnz
        tight = batch_of(graph, nodes, "train", kind, Size(50, exact, values))
        padded = batch_of(graph, nodes, "train", kind, Size(64, exact + 30, values + 20))
        expected = np.asarray(model(tight[0]))
        np.testing.assert_allclose(np.asarray(model(padded[0]))[:50], expected, atol=1e-5)


def test_the_whole_graph_as_a_data_set_trains_the_same(graph):
    loader = graphs.FullGraph(graph, "gcn", steps=3)
    trained = []
    for data in (loader, loader.dataset()):
        model = graphs.gcn(40, 4, (8,), seed=0)
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.fit(data, shuffle=False, verbose=0)
        assert int(model.optimizer.iterations) == 3
        trained.append(model.get_weights())
    for one, other in zip(*trained, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_clusters_train_a_model(graph):
    loader = graphs.ClusterLoader(graph, "mean", num_parts=8, parts_per_batch=2, partitioner="ldg")
    model = graphs.sage(40, 4, (16,), sparse_features=True, seed=0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss, weighted_metrics=["accuracy"])
    model.fit(loader, epochs=8, verbose=0)
    _, accuracy = model.evaluate(graphs.FullGraph(graph, "mean", split="test"), verbose=0)
    assert accuracy > 0.5  # chance is a quarter


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_parts": 401}, "num_parts must be an integer from 1 to 400"),
        ({"num_parts": 4, "parts_per_batch": 5}, "parts_per_batch must be an integer from 1 to 4"),
        ({"num_parts": 4, "partitioner": "meti"}, "Did you mean 'metis'"),
    ],
)
def test_wrong_arguments(graph, arguments, message):
    with pytest.raises(ValueError, match=message):
        graphs.ClusterLoader(graph, "gcn", **arguments)
