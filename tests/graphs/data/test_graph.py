"""What a graph accepts, and what it sets right in a list of edges."""

import numpy as np
import pytest
import scipy.sparse

from keras_sparse import graphs
from tests.graphs.paths import EDGES, X, path_graph

LABELS = np.array([0, 1, 0])


def csr(dense):
    return scipy.sparse.csr_array(np.array(dense, "float32"))


PATH = [[0, 1, 0], [1, 0, 1], [0, 1, 0]]


def test_a_list_of_edges_is_cleaned_and_what_was_found_is_said():
    edges = [(1, 0), (0, 1), (0, 1), (2, 2), (2, 1)]
    graph = graphs.Graph.from_edges(edges, np.ones((4, 1)), [0, 1, 0, -1])
    np.testing.assert_array_equal(graph.adjacency.toarray()[:3, :3], PATH)
    assert graph.cleaning == graphs.Cleaning(duplicates=1, self_loops=1, isolated=1)
    assert (graph.num_nodes, graph.num_edges, graph.num_features) == (4, 2, 1)


def test_normalized_adjacencies_of_a_path():
    adjacency = path_graph().adjacency
    near = [[0.5, 0.408248, 0], [0.408248, 1 / 3, 0.408248], [0, 0.408248, 0.5]]
    np.testing.assert_allclose(graphs.normalized(adjacency, "gcn").toarray(), near, atol=1e-6)
    mean = [[0, 1, 0], [0.5, 0, 0.5], [0, 1, 0]]
    np.testing.assert_array_equal(graphs.normalized(adjacency, "mean").toarray(), mean)
    loops = np.array(PATH) + np.eye(3)
    np.testing.assert_array_equal(graphs.normalized(adjacency, "self_loops").toarray(), loops)


def test_isolated_nodes_have_no_mean_and_only_themselves():
    adjacency = csr(np.zeros((2, 2)))
    assert graphs.normalized(adjacency, "mean").nnz == 0
    np.testing.assert_array_equal(graphs.normalized(adjacency, "gcn").toarray(), np.eye(2))


def unsorted():
    matrix = csr([[0, 1, 1], [1, 0, 0], [1, 0, 0]])
    matrix.indices[:2] = [2, 1]
    return matrix


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"adjacency": csr([[0, 1, 0], [0, 0, 1], [0, 1, 0]])}, r"symmetric.*entry \(0, 1\) is 1"),
        ({"adjacency": unsorted()}, "sorted indices without duplicates"),
        ({"adjacency": csr(PATH).tocoo()}, "square matrix in CSR form"),
        ({"adjacency": np.array(PATH)}, "adjacency must be sparse"),
        ({"features": X[:2]}, r"each of the 3 nodes.*shape \(2, 2\)"),
        ({"features": np.full((3, 2), np.nan)}, "features must be finite"),
        ({"labels": np.array([0, 2, 0])}, "from 0 to 1.*Received: 2 for node 1"),
        ({"labels": np.array([0, -2, 0])}, "Received: -2 for node 1"),
        ({"labels": np.array([0.0, 1.0, 0.0])}, "labels must be 3 integers"),
        ({"train": [0, 3]}, "train must be node indices from 0 to 2"),
        ({"test": [1, 1]}, "none comes twice"),
        ({"labels": np.array([0, -1, 0]), "train": [1]}, "node 1, whose label is unknown"),
    ],
)
def test_parts_that_do_not_fit(change, message):
    given = {"features": X, "adjacency": csr(PATH), "labels": LABELS, "num_classes": 2}
    with pytest.raises(ValueError, match=f"(?s){message}"):
        graphs.Graph(**{**given, **change})


@pytest.mark.parametrize("edges", [[(0, 3)], [(-1, 0)], [(0, 0.5)], [0, 1]])
def test_edges_that_are_none(edges):
    with pytest.raises(ValueError, match="edges must"):
        graphs.Graph.from_edges(edges, X, LABELS)


def test_rows_may_end_where_the_next_begins():
    """The last index of a row may be larger than the first of the next, and rows may be empty."""
    graph = graphs.Graph.from_edges([(0, 4), (2, 4)], np.ones((5, 1)), [0] * 5)
    again = graphs.Graph(graph.features, graph.adjacency, graph.labels, 1)
    assert again.num_edges == len(EDGES)


def test_features_that_are_memory_mapped_stay_on_the_disk(tmp_path):
    np.save(tmp_path / "features.npy", X)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    graph = graphs.Graph.from_edges(EDGES, mapped, LABELS, train=[0, 1])
    assert np.shares_memory(graph.features, mapped)
    assert not graph.features.flags.writeable
    loader = graphs.ClusterLoader(graph, "gcn", num_parts=3, partitioner="random", shuffle=False)
    assert loader[0][0][0].shape == (1, 2)
