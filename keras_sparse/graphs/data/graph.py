"""A graph whose nodes are to be classified."""

from __future__ import annotations

import dataclasses
from dataclasses import field
from typing import Any

import numpy as np
import scipy.sparse

from keras_sparse.messages.arguments import array, instance, integer, one_of, wrong

SPLITS = ("train", "validation", "test")
# The label of a node whose class nobody knows.
UNKNOWN = -1
_NOBODY: Any = ()
_ROWS = 1 << 16


@dataclasses.dataclass(frozen=True)
class Cleaning:
    """What was found in a list of edges, and set right.

    Args:
        duplicates: Pairs that the list has more than once, each time beyond the first: removed.
            An edge that is listed once in each direction is no duplicate.
        self_loops: Edges from a node to itself: removed, as the layers' normalization adds them.
        isolated: Nodes without an edge to another: kept.
    """

    duplicates: int
    self_loops: int
    isolated: int


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """An undirected graph with features, labels and splits of its nodes.

    ```python
    edges = [(0, 1), (1, 2), (2, 3)]
    graph = ks.graphs.Graph.from_edges(edges, np.eye(4), [0, 0, 1, 1], train=[0, 3], test=[1, 2])
    ```

    Args:
        features: `(n, d)`, a NumPy array or a SciPy sparse matrix of finite numbers. A float32
            array that is memory-mapped (`numpy.load(..., mmap_mode="r")`) stays on the disk, and
            loaders read of it what they need.
        adjacency: SciPy sparse `(n, n)`, symmetric, in CSR form with sorted indices.
        labels: Class indices `(n,)`, -1 for unknown ones.
        num_classes: Number of classes.
        train: Indices of the nodes to learn from.
        validation: Indices of the nodes to choose by.
        test: Indices of the nodes to test on.
        name: What it is called.
        cleaning: What was found in its edges, if it was made from a list.

    Raises:
        ValueError: If the parts do not fit together: a size, an asymmetric or unsorted adjacency,
            a label out of range, a split with unlabeled, doubled or unknown nodes.
    """

    features: Any = field(repr=False)
    adjacency: scipy.sparse.csr_array = field(repr=False)
    labels: np.ndarray = field(repr=False)
    num_classes: int
    train: np.ndarray = field(repr=False, default=_NOBODY)
    validation: np.ndarray = field(repr=False, default=_NOBODY)
    test: np.ndarray = field(repr=False, default=_NOBODY)
    name: str = "graph"
    cleaning: Cleaning | None = None

    def __post_init__(self) -> None:
        integer("num_classes", self.num_classes)
        adjacency = _checked_adjacency(self.adjacency)
        nodes = adjacency.shape[0]
        features = _checked_features(self.features, nodes)
        labels = _checked_labels(self.labels, nodes, self.num_classes)
        values: dict[str, Any] = {"features": features, "adjacency": adjacency, "labels": labels}
        for split in SPLITS:
            values[split] = _checked_split(split, getattr(self, split), labels)
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_edges(
        cls, edges: Any, features: Any, labels: Any, num_classes: int | None = None, **rest: Any
    ) -> Graph:
        """A graph from a list of edges, in any order and direction.

        Duplicates and self-loops are removed, and `cleaning` says how many there were.

        Args:
            edges: Pairs of node indices, `(e, 2)`.
            features: `(n, d)`.
            labels: Class indices `(n,)`.
            num_classes: Number of classes. Defaults to the largest label plus 1.
            **rest: As of `Graph`.

        Raises:
            ValueError: If an edge names a node that is not there, or as of `Graph`.
        """
        nodes = int(np.shape(features)[0])
        pairs = array("edges", edges, empty=True)
        if pairs.ndim != 2 or pairs.shape[1] != 2 or (pairs != np.floor(pairs)).any():
            raise wrong("edges", edges, "pairs of node indices, of shape (e, 2)")
        if pairs.size and (pairs.min() < 0 or pairs.max() >= nodes):
            bad = pairs[(pairs < 0) | (pairs >= nodes)][0]
            raise ValueError(
                f"edges must name nodes from 0 to {nodes - 1}, as features have {nodes} rows. "
                f"Received: {int(bad)}"
            )
        loops = pairs[:, 0] == pairs[:, 1]
        first, second = pairs[~loops].astype(np.int64).T
        directed = _distinct(first * nodes + second)
        first, second = np.divmod(directed, max(nodes, 1))
        lower, upper = np.minimum(first, second), np.maximum(first, second)
        lower, upper = np.divmod(_distinct(lower * nodes + upper), max(nodes, 1))
        rows, columns = np.concatenate([lower, upper]), np.concatenate([upper, lower])
        ones = np.ones(len(rows), np.float32)
        adjacency = scipy.sparse.csr_array((ones, (rows, columns)), (nodes, nodes))
        adjacency.sort_indices()
        cleaning = Cleaning(
            duplicates=int((~loops).sum()) - len(directed),
            self_loops=int(loops.sum()),
            isolated=int((np.diff(adjacency.indptr) == 0).sum()),
        )
        classes = int(np.max(labels)) + 1 if num_classes is None else num_classes
        return cls(features, adjacency, labels, classes, cleaning=cleaning, **rest)

    @property
    def num_nodes(self) -> int:
        """Number of nodes."""
        return self.adjacency.shape[0]

    @property
    def num_edges(self) -> int:
        """Number of undirected edges, a self-loop counting as one."""
        loops = int((self.adjacency.diagonal() != 0).sum())
        return (self.adjacency.nnz + loops) // 2

    @property
    def num_features(self) -> int:
        """Number of features of a node."""
        return self.features.shape[1]

    def mask(self, split: str) -> np.ndarray:
        """Which nodes are in a split, boolean `(n,)`.

        Args:
            split: `"train"`, `"validation"` or `"test"`.

        Raises:
            ValueError: If there is no such split.
        """
        found = np.zeros(self.num_nodes, bool)
        found[getattr(self, one_of("split", split, SPLITS))] = True
        return found


def _distinct(numbers: np.ndarray) -> np.ndarray:
    """Integers, each once, in order. Of millions NumPy's `unique`, which hashes, takes minutes."""
    numbers.sort()
    return numbers[np.concatenate([numbers[:1] == numbers[:1], numbers[1:] != numbers[:-1]])]


def _checked_adjacency(adjacency: Any) -> scipy.sparse.csr_array:
    cure = "Graph.from_edges makes one from a list of edges"
    instance("adjacency", adjacency, (scipy.sparse.sparray, scipy.sparse.spmatrix), "sparse", cure)
    if adjacency.format != "csr" or adjacency.shape[0] != adjacency.shape[1]:
        raise wrong("adjacency", adjacency, "a square matrix in CSR form", cure)
    matrix = scipy.sparse.csr_array(adjacency, dtype=np.float32)
    # SciPy remembers what it was told of the order, so look afresh.
    steps = np.diff(matrix.indices)
    firsts = matrix.indptr[1:-1]
    inside = np.ones(len(steps), bool)
    inside[firsts[(firsts > 0) & (firsts <= len(steps))] - 1] = False
    if (steps[inside] <= 0).any():
        raise ValueError(
            "adjacency must have sorted indices without duplicates in each row. Call its "
            f"sum_duplicates(), or use Graph.from_edges. Received: adjacency={adjacency!r}"
        )
    apart = matrix - matrix.T
    if abs(apart).max() > 0 if apart.nnz else False:
        row, column = (int(each[0]) for each in apart.nonzero())
        raise ValueError(
            f"adjacency must be symmetric, and entry ({row}, {column}) is "
            f"{matrix[row, column]:g} where ({column}, {row}) is {matrix[column, row]:g}. "
            f"{cure}, in either direction."
        )
    return matrix


def _checked_features(features: Any, nodes: int) -> Any:
    sparse = scipy.sparse.issparse(features)
    if np.ndim(features) != 2 and not sparse:
        raise wrong("features", features, "a matrix with a row for each node")
    if features.shape[0] != nodes:
        raise ValueError(
            f"features must have a row for each of the {nodes} nodes of the adjacency. "
            f"Received: features of shape {tuple(features.shape)}"
        )
    found = (
        scipy.sparse.csr_array(features, dtype=np.float32)
        if sparse
        else np.asarray(features, np.float32)
    )
    values = found.data if sparse else found
    # A part at a time: what is memory-mapped may be larger than the memory.
    parts = (values[first : first + _ROWS] for first in range(0, len(values), _ROWS))
    if not all(np.isfinite(part).all() for part in parts):
        raise wrong("features", features, "finite numbers")
    return found


def _checked_labels(labels: Any, nodes: int, num_classes: int) -> np.ndarray:
    found = np.asarray(labels)
    if found.shape != (nodes,) or found.dtype.kind not in "iu":
        raise wrong("labels", labels, f"{nodes} integers, one for each node")
    outside = np.flatnonzero((found < UNKNOWN) | (found >= num_classes))
    if outside.size:
        raise ValueError(
            f"labels must be from 0 to {num_classes - 1}, or {UNKNOWN} for an unknown one. "
            f"Received: {int(found[outside[0]])} for node {int(outside[0])}"
        )
    return found.astype(np.int32)


def _checked_split(name: str, nodes: Any, labels: np.ndarray) -> np.ndarray:
    found = np.asarray(nodes)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise wrong(name, nodes, "a list of node indices")
    if found.size and (found.min() < 0 or found.max() >= len(labels)):
        raise wrong(name, nodes, f"node indices from 0 to {len(labels) - 1}")
    found = found.astype(np.int64)
    if len(np.unique(found)) < len(found):
        raise wrong(name, nodes, "node indices of which none comes twice")
    unlabeled = found[labels[found] == UNKNOWN]
    if unlabeled.size:
        raise ValueError(f"{name} names node {int(unlabeled[0])}, whose label is unknown.")
    return found
