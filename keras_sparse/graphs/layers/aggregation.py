"""Sums over neighbors: a sparse matrix times a dense one, in two ways."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_sparse.backend.sparse_tensors import entries, product, row_count

WAYS = ("product", "segment_sum")


def aggregate(matrix: Any, features: Any, way: str) -> Any:
    """A sparse matrix times a dense one.

    Args:
        matrix: Sparse `(n, k)`. What it stores twice counts twice.
        features: Dense `(k, d)`.
        way: `"product"` is the backend's own sparse product; `"segment_sum"` takes memory for
            `d` values an entry and compiles with XLA on every backend.

    Returns:
        Dense `(n, d)`.
    """
    if way == "product":
        return product(matrix, features)
    rows, columns, values = entries(matrix)
    gathered = values[:, None] * ops.take(features, columns, axis=0)
    return ops.segment_sum(gathered, rows, num_segments=row_count(matrix))
