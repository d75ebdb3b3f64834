"""Singular values, and what they are summed up in."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

# Of the largest singular value of a matrix in float32; what is smaller is rounding.
_ROUNDING = 1e-7


@dataclasses.dataclass(frozen=True, eq=False)
class SingularValues:
    """Singular values of Jacobians, one of each sample.

    Args:
        values: Of shape `(samples, values)`, each row descending; what is below rounding is 0.
    """

    values: np.ndarray = dataclasses.field(repr=False)

    @property
    def mean(self) -> float:
        """The mean over all samples and values."""
        return float(self.values.mean())

    @property
    def std(self) -> float:
        """The standard deviation over all samples and values."""
        return float(self.values.std())

    @property
    def min(self) -> float:
        """The smallest."""
        return float(self.values.min())

    @property
    def max(self) -> float:
        """The largest."""
        return float(self.values.max())

    @property
    def condition(self) -> float:
        """The largest of all samples by the smallest of all, infinite if that is zero."""
        return math.inf if self.min == 0 else self.max / self.min


def singular_values(matrices: np.ndarray) -> np.ndarray:
    """Singular values of some matrices, descending; those below rounding are zero.

    Args:
        matrices: Of shape `(..., rows, columns)`.

    Raises:
        ValueError: If one is not finite.
    """
    if not np.isfinite(matrices).all():
        raise ValueError(
            "A Jacobian is not finite: signals overflow on this data. Scale the inputs, or draw "
            "smaller weights, such as those of keras_sparse.init_ldi."
        )
    values = np.linalg.svd(matrices, compute_uv=False)
    return np.where(values > _ROUNDING * values[..., :1], values, 0.0)
