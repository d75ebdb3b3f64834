"""What makes the products of a layer's inputs a matrix that can be inverted."""

from __future__ import annotations

import numpy as np

from keras_sparse.posttrain.pruned_weights import to_rows
from keras_sparse.probe.layout import Layout


def damped(hessian: np.ndarray, damping: float) -> tuple[np.ndarray, np.ndarray]:
    """A Hessian that can be inverted, and the inputs that are always zero.

    Args:
        hessian: Shape `(d, d)`.
        damping: Added to the diagonal, as a fraction of its mean.

    Returns:
        The damped Hessian, with ones on the diagonal for dead inputs, and a boolean array of
        shape `(d,)`, True for those: their weights do nothing.
    """
    dead = np.diag(hessian) == 0
    result = hessian.copy()
    live = np.diag(hessian)[~dead]
    result[np.diag_indices_from(result)] += damping * (live.mean() if live.size else 0.0)
    result[dead, dead] = 1
    return result, dead


def layer_problem(
    layout: Layout, weight: np.ndarray, hessian: np.ndarray | None, damping: float
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of a layer, without weights of dead inputs, and its damped Hessian.

    Args:
        layout: Of the weight.
        weight: A float64 array.
        hessian: `X X^T` of the layer's inputs; `None`, where they cannot be seen, for the identity.
        damping: As of `damped`.

    Returns:
        Arrays of shapes `(outputs, d)` and `(d, d)`.
    """
    rows = to_rows(layout, weight)
    matrix, dead = damped(np.eye(rows.shape[1]) if hessian is None else hessian, damping)
    return np.where(dead, 0, rows), matrix
