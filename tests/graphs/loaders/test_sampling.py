"""Loaders that draw: their probabilities and weights, what is right in the mean, one shape."""

import keras
import numpy as np
import pytest

from keras_sparse import graphs
from keras_sparse.backend.sparse_tensors import dense
from keras_sparse.graphs.loaders.layerwise import squared_share
from tests.graphs.paths import path_graph

SAMPLING = {
    "neighbor": lambda graph, **k: graphs.NeighborLoader(graph, "gcn", [3, 2], 10, **k),
    "ladies": lambda graph, **k: graphs.LadiesLoader(graph, "gcn", [20, 30], 10, **k),
    "fast_gcn": lambda graph, **k: graphs.FastGCNLoader(graph, "gcn", [40, 60], 10, **k),
    "saint": lambda graph, **k: graphs.SaintLoader(graph, "gcn", 20, 2, steps=6, **k),
}
LAYERWISE = ("ladies", "fast_gcn")


@pytest.fixture(scope="module")
def graph():
    return graphs.block_graph(200, 3, 40, within=0.9, seed=0)


def parts(batch):
    (features, *links), labels, weights = batch
    features = features if isinstance(features, np.ndarray) else np.asarray(dense(features))
    return features, [np.asarray(dense(each)) for each in links], labels, weights


def nodes_of(batch):
    """Which nodes of `identified` a batch has, -1 for padding."""
    return [int(row.argmax()) if row.any() else -1 for row in parts(batch)[0]]


def identified(graph):
    """The graph with features that tell its nodes apart."""
    return graphs.Graph(
        np.eye(graph.num_nodes), graph.adjacency, graph.labels, graph.num_classes, graph.train
    )


def test_probabilities_of_ladies_on_a_path():
    loader = graphs.LadiesLoader(path_graph(), "gcn", [2], 1)
    np.testing.assert_allclose(loader.probabilities(np.array([0])), [0.6, 0.4, 0], atol=1e-6)
    both = loader.probabilities(np.array([0, 1]))
    np.testing.assert_allclose(both, [0.48387, 0.32258, 0.19355], atol=1e-5)
    kept = np.array([0, 1])
    found = loader.reweighted(loader.links[kept][:, kept], both[kept], 2).toarray()
    np.testing.assert_allclose(found, [[0.44949, 0.55051]] * 2, atol=1e-5)


def test_probabilities_of_fast_gcn_on_a_path():
    loader = graphs.FastGCNLoader(path_graph(), "gcn", [2], 1)
    np.testing.assert_allclose(loader.chances, [0.32609, 0.34783, 0.32609], atol=1e-5)


def test_a_node_drawn_with_its_probability_stands_for_all(graph):
    """`sum_j q_j (P[:, j] / q_j)` is the sum of the columns that can be drawn."""
    loader = graphs.FastGCNLoader(graph, "gcn", [1], 10)
    chances = squared_share(loader.links)
    total = sum(
        chance * loader.reweighted(loader.links[:, [j]], chances[[j]], 1).toarray()
        for j, chance in enumerate(chances)
    )
    np.testing.assert_allclose(total, loader.links.sum(axis=1)[:, None], rtol=1e-5)


@pytest.mark.parametrize("name", ["neighbor", "fast_gcn"])
def test_the_first_layer_is_right_in_the_mean(graph, name):
    """What the last layer adds up for the batch's nodes, over many draws, is the full sum."""
    known = identified(graph)
    loader = (
        graphs.NeighborLoader(known, "gcn", [2], 10, shuffle=False)
        if name == "neighbor"
        else graphs.FastGCNLoader(known, "gcn", [50], 10, shuffle=False)
    )
    whole = graphs.normalized(graph.adjacency, "gcn")[graph.train[:10]].toarray()
    draws, total = 300, np.zeros_like(whole)
    for epoch in range(draws):
        batch = loader.batch(epoch, 0)
        _, (links,), _, _ = parts(batch)
        for place, node in enumerate(nodes_of(batch)):
            if node >= 0:
                total[:, node] += links[:10, place]
    np.testing.assert_allclose(total.sum(axis=1) / draws, whole.sum(axis=1), atol=0.25)
    assert np.abs(total / draws - whole).max() < 0.15


def test_neighbors_are_as_many_as_asked_and_of_the_graph(graph):
    known = identified(graph)
    loader = graphs.NeighborLoader(known, "mean", [3, 2], 10)
    batch = loader.batch(0, 0)
    _, (links,), _, weights = parts(batch)
    nodes = nodes_of(batch)
    degree = np.diff(graph.adjacency.indptr)
    for place, node in enumerate(nodes[:10]):
        columns = links[place].nonzero()[0]
        assert len(columns) == min(3, degree[node])
        np.testing.assert_allclose(links[place][columns], 1 / len(columns), rtol=1e-6)
        assert all(graph.adjacency[node, nodes[column]] for column in columns)
    assert (weights[:10] > 0).all()
    assert not weights[10:].any()
    assert (np.count_nonzero(links[10:], axis=1) <= 2).all()


def test_all_neighbors_give_the_logits_of_the_whole_graph(graph):
    model = graphs.gcn(40, 3, (8,), seed=0)
    loader = graphs.NeighborLoader(graph, "gcn", [200, 200], 10, shuffle=False)
    found = np.asarray(model(loader[0][0]))[:10]
    whole = np.asarray(model(graphs.FullGraph(graph, "gcn")[0][0]))[graph.train[:10]]
    np.testing.assert_allclose(found, whole, atol=1e-5)


def test_losses_and_edges_of_saint_are_right_in_the_mean(graph):
    loader = graphs.SaintLoader(graph, "gcn", 60, 1, presampled=400, steps=1)
    model = graphs.gcn(40, 3, (), seed=0)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    whole = model.evaluate(graphs.FullGraph(graph, "gcn"), verbose=0)
    weights = [parts(loader.batch(epoch, 0))[3] for epoch in range(200)]
    assert np.mean([each.sum() / len(each) for each in weights]) == pytest.approx(1, abs=0.1)
    assert whole > 0
    # Of a node that is there, its rows add up to the full sum in the mean.
    total, times = np.zeros(graph.num_nodes), np.zeros(graph.num_nodes)
    for epoch in range(200):
        nodes = loader._walked(loader.generator(1, 0, epoch, 0))
        total[nodes] += loader._weighed[nodes][:, nodes].sum(axis=1)
        times[nodes] += 1
    expected = graphs.normalized(graph.adjacency, "gcn").sum(axis=1)
    assert np.mean(total / times / expected) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("name", SAMPLING)
def test_batches_have_one_shape_are_drawn_anew_and_come_back(graph, name):
    loader = SAMPLING[name](graph)
    shapes, drawn = set(), []
    for epoch in range(3):
        for index in range(len(loader)):
            (features, *links), labels, weights = loader.batch(epoch, index)
            found = [features, features.indices, labels, weights]
            found += [each for link in links for each in (link, link.indices)]
            shapes.add(tuple(tuple(each.shape) for each in found))
            drawn.append(labels.tobytes() + np.asarray(dense(links[0])).tobytes())
    assert len(shapes) == 1
    assert len(set(drawn)) == len(drawn)
    again = parts(loader.batch(1, 0))
    for one, other in zip(again[1], parts(loader.batch(1, 0))[1], strict=True):
        np.testing.assert_array_equal(one, other)
    other = parts(loader.batch(1, 0, stream=1))
    assert not np.array_equal(other[1][0], again[1][0])


@pytest.mark.parametrize(
    "name",
    [
        "ladies",
        "saint",
        pytest.param("neighbor", marks=pytest.mark.thorough),
        pytest.param("fast_gcn", marks=pytest.mark.thorough),
    ],
)
def test_what_is_drawn_trains_a_network(graph, name):
    loader = SAMPLING[name](graph)
    model = graphs.gcn(40, 3, (16,), own_adjacency=name in LAYERWISE, seed=0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.03), loss, weighted_metrics=["accuracy"])
    model.fit(loader, epochs=8, verbose=0)
    layers = 2 if name in LAYERWISE else 1
    test = graphs.FullGraph(graph, "gcn", split="test", adjacencies=layers)
    assert model.evaluate(test, verbose=0)[1] > 0.5  # chance is a third


def test_gist_draws_for_each_sub_network(graph):
    model = graphs.gcn(40, 3, (16,), own_adjacency=True, layer_norm=True, seed=0)
    gist = graphs.GIST(model, 2, 3)
    gist.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = gist.fit(SAMPLING["ladies"](graph), 2, verbose=0).history
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda g: graphs.NeighborLoader(g, "gcn", [2], 61), "batch_size must be .* from 1 to 60"),
        (lambda g: graphs.NeighborLoader(g, "gcn", [], 6), "fanouts must be a list"),
        (lambda g: graphs.NeighborLoader(g, "gcn", [0], 6), "fanouts must be an integer of at"),
        (lambda g: graphs.LadiesLoader(g, "gcn", [], 6), "samples_per_layer must be a list"),
        (lambda g: graphs.SaintLoader(g, "gcn", 0), "roots must be an integer of at least 1"),
    ],
)
def test_wrong_arguments(graph, make, message):
    with pytest.raises(ValueError, match=message):
        make(graph)
