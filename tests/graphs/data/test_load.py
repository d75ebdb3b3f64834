"""Graphs by name: the public splits, damaged files, files that are not what they seem."""

import os
import pickle
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

from keras_sparse import graphs
from keras_sparse.graphs.data.planetoid import check_contents, unpickled

_BESIDE_CHECKOUT = Path(__file__).resolve().parents[4] / "shared" / "data" / "planetoid"


@pytest.fixture
def planetoid(monkeypatch):
    folder = Path(os.environ.get("PLANETOID_DIR") or _BESIDE_CHECKOUT)
    if not (folder / "ind.cora.x").exists():
        pytest.skip(f"Cora and CiteSeer are not in {folder}; set PLANETOID_DIR")
    monkeypatch.setenv("PLANETOID_DIR", str(folder))
    return folder


@pytest.mark.parametrize(
    ("name", "nodes", "edges", "features", "classes", "isolated"),
    [("cora", 2708, 5278, 1433, 7, 0), ("citeseer", 3327, 4552, 3703, 6, 48)],
)
def test_public_split(planetoid, name, nodes, edges, features, classes, isolated):
    graph = graphs.load(name)
    assert (graph.num_nodes, graph.num_edges, graph.num_features) == (nodes, edges, features)
    assert graph.cleaning.isolated == isolated
    np.testing.assert_array_equal(np.bincount(graph.labels[graph.train]), [20] * classes)
    assert (len(graph.validation), len(graph.test)) == (500, 1000)
    assert not (graph.mask("train") | graph.mask("validation"))[graph.test].any()
    sums = graph.features.sum(axis=1)
    np.testing.assert_allclose(sums[sums != 0], 1, rtol=1e-5)


def test_features_as_they_are_in_the_files(planetoid):
    features = graphs.load("cora", row_normalize=False).features
    assert set(features.data) == {1.0}


def copied(planetoid, folder):
    for path in planetoid.glob("ind.cora.*"):
        shutil.copyfile(path, folder / path.name)
    return folder / "ind.cora.graph"


def test_a_file_that_is_cut_off_or_changed_is_refused(planetoid, tmp_path):
    path = copied(planetoid, tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"ind.cora.graph' is damaged.*SHA-256"):
        graphs.load("cora", folder=tmp_path)


def test_a_missing_file_that_cannot_be_downloaded(planetoid, tmp_path, monkeypatch):
    copied(planetoid, tmp_path).unlink()
    monkeypatch.setattr("keras_sparse.graphs.data.load.ADDRESS", (tmp_path / "no").as_uri() + "/")
    with pytest.raises(FileNotFoundError, match=r"ind.cora.graph' is missing.*PLANETOID_DIR"):
        graphs.load("cora", folder=tmp_path)


def test_a_missing_file_is_downloaded(planetoid, tmp_path, monkeypatch):
    path = copied(planetoid, tmp_path)
    expected = path.read_bytes()
    path.unlink()
    monkeypatch.setattr("keras_sparse.graphs.data.load.ADDRESS", planetoid.as_uri() + "/")
    assert graphs.load("cora", folder=tmp_path).num_edges == 5278
    assert path.read_bytes() == expected


def test_contents_by_their_name_in_git():
    check_contents(Path("ind.pubmed.allx"), b"hello\n", "ce013625030ba8dba906f756967f9e9ca394464a")
    with pytest.raises(ValueError, match=r"ind.pubmed.allx' is damaged.*its name in git is ce01"):
        check_contents(Path("ind.pubmed.allx"), b"hello\n", "0" * 40)


class Benchmark:
    """What `ogb.nodeproppred.NodePropPredDataset` is used for."""

    num_classes = 2

    def __init__(self, name, root):
        self.name, self.root = name, root

    def __getitem__(self, index):
        edges = np.array([[0, 1, 2, 2], [1, 0, 1, 3]])
        features = np.array([[-1.0, 2], [0, 1], [3, -3], [1, 1]], "float32")
        return {"edge_index": edges, "node_feat": features}, np.array([[0], [1], [0], [1]])

    def get_idx_split(self):
        return {"train": np.array([0, 1]), "valid": np.array([2]), "test": np.array([3])}


def test_open_graph_benchmark(monkeypatch, tmp_path):
    module = types.ModuleType("ogb.nodeproppred")
    module.NodePropPredDataset = Benchmark
    monkeypatch.setitem(sys.modules, "ogb", types.ModuleType("ogb"))
    monkeypatch.setitem(sys.modules, "ogb.nodeproppred", module)
    graph = graphs.load("ogbn-arxiv", folder=tmp_path)
    assert (graph.num_nodes, graph.num_edges, graph.num_classes) == (4, 3, 2)
    assert graph.labels.tolist() == [0, 1, 0, 1]
    assert [each.tolist() for each in (graph.train, graph.validation, graph.test)] == [
        [0, 1],
        [2],
        [3],
    ]
    # Features that are no bags of words stay as they are.
    np.testing.assert_array_equal(graph.features[0], [-1, 2])


def test_open_graph_benchmark_without_its_package(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ogb", None)
    with pytest.raises(ImportError, match=r"keras-sparse\[ogb\]"):
        graphs.load("ogbn-arxiv", folder=tmp_path)


def write_reddit(folder):
    links = scipy.sparse.coo_matrix(([1, 1, 1, 1], ([0, 1, 1, 2], [1, 0, 2, 1])), (4, 4))
    scipy.sparse.save_npz(folder / "reddit_graph.npz", links)
    np.savez(
        folder / "reddit_data.npz",
        feature=np.eye(4, 3),
        label=np.array([0, 2, 1, 0]),
        node_types=np.array([1, 1, 2, 3]),
    )


def test_reddit(monkeypatch, tmp_path):
    write_reddit(tmp_path)
    monkeypatch.setenv("REDDIT_DIR", str(tmp_path))
    graph = graphs.load("reddit")
    assert (graph.num_nodes, graph.num_edges, graph.num_classes) == (4, 2, 3)
    assert (graph.train.tolist(), graph.validation.tolist(), graph.test.tolist()) == (
        [0, 1],
        [2],
        [3],
    )
    assert graph.cleaning.isolated == 1


def test_reddit_missing_or_cut_off(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"reddit_data.npz and reddit_graph.npz.*reddit.zip"
    ):
        graphs.load("reddit", folder=tmp_path)
    write_reddit(tmp_path)
    path = tmp_path / "reddit_data.npz"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match=r"is damaged or another file"):
        graphs.load("reddit", folder=tmp_path)


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harm",)


def test_a_pickle_executes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"asks for (posix|nt).mkdir"):
        unpickled(pickle.dumps(Harmful()), Path("ind.cora.x"))
    assert not list(tmp_path.iterdir())


def test_a_pickle_that_is_cut_off(tmp_path):
    with pytest.raises(ValueError, match=r"'ind.cora.x' is no file of Planetoid"):
        unpickled(pickle.dumps([1, 2, 3])[:-4], Path("ind.cora.x"))


def test_block_graph_has_the_share_of_edges_within_blocks():
    graph = graphs.load("synthetic-sbm", nodes=2000, num_classes=4, within=0.8, degree=10, seed=1)
    rows, columns = graph.adjacency.nonzero()
    inside = (graph.labels[rows] == graph.labels[columns]).mean()
    assert inside == pytest.approx(0.8 + 0.2 / 4, abs=0.02)
    assert graph.num_edges == pytest.approx(10_000, rel=0.03)
    np.testing.assert_array_equal(np.bincount(graph.labels[graph.train]), [20] * 4)
    again = graphs.load("synthetic-sbm", nodes=2000, num_classes=4, within=0.8, degree=10, seed=1)
    assert (graph.adjacency != again.adjacency).nnz == 0


def test_unknown_names():
    with pytest.raises(ValueError, match="Did you mean 'citeseer'"):
        graphs.load("citeser")
    with pytest.raises(TypeError, match=r"no argument 'nods'.*Did you mean 'nodes'"):
        graphs.load("synthetic-sbm", nods=3)
