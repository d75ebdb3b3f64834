"""Normalized adjacency matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from keras_sparse.messages.arguments import one_of

KINDS = ("gcn", "mean", "self_loops")


def normalized(adjacency: Any, kind: str) -> scipy.sparse.csr_array:
    """An adjacency as the layers take it.

    Args:
        adjacency: Sparse `(n, n)`, of which only the places of nonzero entries matter.
        kind: `"gcn"` for `D^-1/2 (A + I) D^-1/2` with the degrees of `A + I` (`GraphConv`),
            `"mean"` for `D^-1 A`, with zeros for nodes without neighbors (`SAGEConv`), or
            `"self_loops"` for `A + I` (`GATConv`).

    Returns:
        Float32 `(n, n)`, sorted.

    Raises:
        ValueError: If there is no such kind.

    Source: Kipf and Welling (2017), section 2.2; Wolfe (2023), section 2.2.
    """
    one_of("kind", kind, KINDS)
    edges = scipy.sparse.csr_array(adjacency)
    links = scipy.sparse.csr_array(edges != 0, dtype=np.float64)
    links.eliminate_zeros()
    if kind == "mean":
        degree = links.sum(axis=1)
        rows = scipy.sparse.diags_array(1 / np.maximum(degree, 1))
        result = rows @ links
    else:
        without = links - scipy.sparse.diags_array(links.diagonal())
        result = without + scipy.sparse.eye_array(links.shape[0])
        if kind == "gcn":
            scale = scipy.sparse.diags_array(1 / np.sqrt(result.sum(axis=1)))
            result = scale @ result @ scale
    result = scipy.sparse.csr_array(result, dtype=np.float32)
    result.eliminate_zeros()
    result.sort_indices()
    return result
