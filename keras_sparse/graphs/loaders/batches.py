"""A batch of nodes as `model.fit` takes it, padded to a fixed size."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse

from keras_sparse.backend.sparse_tensors import from_scipy
from keras_sparse.graphs.data.graph import Graph
from keras_sparse.graphs.data.normalization import normalized

# Inputs (features, and an adjacency for all layers or one for each), labels and weights.
Batch = tuple[tuple[Any, ...], np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Size:
    """What a batch is padded to.

    Args:
        nodes: Number of rows of the features and of the adjacency.
        edges: Number of entries that the adjacency stores.
        values: Number of entries that sparse features store, 0 for dense ones.
    """

    nodes: int
    edges: int
    values: int


def batch_of(graph: Graph, nodes: np.ndarray, split: str, kind: str, size: Size) -> Batch:
    """The subgraph that some nodes induce, with degrees of its own.

    The weights of the split's nodes are scaled so that Keras's mean over all rows is the mean
    over those nodes. Padding stores zeros, which change no sum and are no edge to `GATConv`.

    Args:
        graph: The graph.
        nodes: Indices of the nodes, `(k,)`.
        split: Whose nodes have weight.
        kind: As of `normalized`.
        size: What is padded to, at least what the subgraph has.

    Source: Chiang et al. (2019), section 3.2.
    """
    inner = normalized(graph.adjacency[nodes][:, nodes], kind)
    return assembled(graph, nodes, [inner], graph.mask(split)[nodes], size)


def assembled(
    graph: Graph,
    nodes: np.ndarray,
    adjacencies: Sequence[Any],
    weights: np.ndarray,
    size: Size,
    total: float | None = None,
) -> Batch:
    """A batch of some nodes.

    Args:
        graph: The graph.
        nodes: Indices of the nodes, `(k,)`.
        adjacencies: Sparse `(k, k)`.
        weights: Of the nodes' losses, `(k,)`.
        size: What is padded to.
        total: What the sum of weighted losses is divided by. Defaults to the sum of weights.
    """
    rows = graph.features[nodes]
    features = (
        _padded_sparse(rows, (size.nodes, rows.shape[1]), size.values)
        if scipy.sparse.issparse(rows)
        else np.pad(rows, ((0, size.nodes - len(nodes)), (0, 0)))
    )
    shape = (size.nodes, size.nodes)
    links = [_padded_sparse(each, shape, size.edges) for each in adjacencies]
    scaled = np.zeros(size.nodes, np.float32)
    scaled[: len(nodes)] = weights
    scaled *= size.nodes / max(float(scaled.sum()) if total is None else total, 1e-12)
    # A node outside of the split may have no label, and then counts as class 0 with weight 0.
    labels = np.zeros(size.nodes, np.int32)
    labels[: len(nodes)] = np.maximum(graph.labels[nodes], 0)
    return (features, *links), labels, scaled


def largest_rows(matrix: Any, count: int) -> int:
    """How many entries some rows of a sparse matrix have at most.

    Args:
        matrix: In CSR form.
        count: Number of rows.
    """
    return int(np.sort(np.diff(matrix.indptr))[-count:].sum())


def _padded_sparse(matrix: Any, shape: tuple[int, int], count: int) -> Any:
    entries = scipy.sparse.coo_array(matrix)
    more = count - entries.nnz
    # At the end, so that the order of rows and columns holds for the padded matrix too.
    rows = np.concatenate([entries.row, np.full(more, shape[0] - 1)])
    columns = np.concatenate([entries.col, np.full(more, shape[1] - 1)])
    values = np.concatenate([entries.data, np.zeros(more, np.float32)])
    return from_scipy(scipy.sparse.coo_array((values, (rows, columns)), shape))
