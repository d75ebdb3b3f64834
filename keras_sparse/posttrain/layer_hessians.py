"""What makes the products of a layer's inputs a matrix that can be inverted."""

from __future__ import annotations

import numpy as np


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
