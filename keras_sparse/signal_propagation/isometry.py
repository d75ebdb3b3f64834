"""The masked matrix that is as near to an orthogonal one as descent from its values finds."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import eigh

from keras_sparse.messages.arguments import integer, number, one_of, optional, wrong
from keras_sparse.messages.keywords import unknown_keyword
from keras_sparse.signal_propagation.conjugate import conjugate_descent
from keras_sparse.signal_propagation.orthogonality import (
    GRAMS,
    matrix_score,
    more_zeros,
    smaller_gram,
)

NORMS = ("fro_sq", "fro", "spectral")
# Of the source, for norms that have no exact steps.
_RATE = 0.1
# Gradient descent on the squared norm diverges from spectral norms of 2.4 at a rate of 0.1.
_LARGEST_START = 1.5
# Steps over which a score is compared with itself, of gradient descent and of conjugate gradients.
_WINDOW, _CONJUGATE_WINDOW = 200, 20
# Change over these steps below which it has settled: of the score, and of the score at the start.
_TOL, _CONJUGATE_TOL = 1e-6, 1e-3
# Of eigenvalues of V^T V from 1, in the mean square: singular values are then within 0.15 %.
_ISOMETRIC = 3e-3
# The norm has no gradient at zero.
_GUARD = 1e-12


@dataclasses.dataclass(frozen=True)
class IsometrySettings:
    """How approximate isometry is sought. See `enforce_isometry`.

    Args:
        norm: `"fro_sq"`, `"fro"` or `"spectral"`.
        learning_rate: Of gradient descent; `None` for conjugate gradients.
        steps: At most.
        gram: `"out"`, `"in"` or `"min"`.
        tol: Relative change of the score below which it has settled, `None` for the descent's own.

    Raises:
        ValueError: If one is out of range.
    """

    norm: str = "fro_sq"
    learning_rate: float | None = None
    steps: int = 10_000
    gram: str = "out"
    tol: float | None = None

    def __post_init__(self) -> None:
        one_of("norm", self.norm, NORMS)
        optional(number, "learning_rate", self.learning_rate, "(0, inf)")
        integer("steps", self.steps)
        one_of("gram", self.gram, GRAMS)
        optional(number, "tol", self.tol, "[0, 1)")

    @property
    def conjugate(self) -> bool:
        """Whether steps are those of conjugate gradients."""
        return self.norm == "fro_sq" and self.learning_rate is None


class Isometric(NamedTuple):
    """The best matrix that was found.

    Args:
        matrix: It.
        before: The orthogonality score at the start.
        after: That of the matrix, never larger.
        steps: Steps that were taken.
    """

    matrix: np.ndarray
    before: float
    after: float
    steps: int


def isometric(
    matrix: np.ndarray,
    mask: np.ndarray,
    settings: IsometrySettings,
    stopped: Callable[[], bool] = lambda: False,
) -> Isometric:
    """Minimizes `||V^T V - I||` over the kept entries of a matrix, from their current values.

    Only the smaller of `V^T V` and `V V^T` is ever computed: their eigenvalues differ by zeros
    alone, and `V (V^T V - I) = (V V^T - I) V`.

    Args:
        matrix: Of shape `(inputs, outputs)`, in the precision to compute in.
        mask: Which entries are kept.
        settings: The norm and its descent.
        stopped: Whether nobody waits for it any more.

    Source: Lee (2020), Eq. 4.8 and Appendix 4.B; the squared norm has the same minima and settles.
    """
    kept = mask.astype(matrix.dtype)
    start, zeros = matrix * kept, more_zeros(matrix.shape, settings.gram)
    best, lowest = start, matrix_score(start, settings.gram)
    before, side = lowest, min(matrix.shape)
    if settings.conjugate:
        descent = conjugate_descent(start, kept)
        window, tol, enough = _CONJUGATE_WINDOW, _CONJUGATE_TOL, _ISOMETRIC * side**0.5
    else:
        descent = gradient_descent(start, kept, settings)
        # Smaller differences are those of rounding.
        window, tol, enough = _WINDOW, _TOL, 10 * float(np.finfo(matrix.dtype).eps) * side
    tol = tol if settings.tol is None else settings.tol
    settled, step = np.inf, 0
    for step, (value, inner) in enumerate(itertools.islice(descent, settings.steps + 1)):
        score = (inner**2 + zeros) ** 0.5
        if stopped() or not np.isfinite(score):
            break
        if score < lowest:
            best, lowest = value, score
        if inner < enough:
            break
        if step % window == 0:
            if abs(settled - score) < tol * (before if settings.conjugate else score):
                break
            settled = score
    # What steps have added up is told anew of the matrix itself.
    after = matrix_score(best, settings.gram)
    if after > before:
        best, after = start, before
    return Isometric(best, before, after, step)


def isometry_settings(name: str, isometry: Any) -> IsometrySettings | None:
    """What a method's argument for approximate isometry means.

    Args:
        name: The argument's name.
        isometry: `True`, `False`, or a mapping of arguments of `enforce_isometry`.

    Raises:
        ValueError: If it is none of these, or an argument is out of range.
        TypeError: If there is no such argument.
    """
    if isinstance(isometry, Mapping):
        known = [field.name for field in dataclasses.fields(IsometrySettings)]
        for key in isometry:
            if key not in known:
                raise unknown_keyword(name, str(key), known)
        return IsometrySettings(**isometry)
    if not isinstance(isometry, (bool, np.bool_)):
        raise wrong(name, isometry, "True, False, or a mapping of arguments of enforce_isometry")
    return IsometrySettings() if isometry else None


def gradient_descent(
    matrix: np.ndarray, mask: np.ndarray, settings: IsometrySettings
) -> Iterator[tuple[np.ndarray, float]]:
    """Yields masked matrices, each with its `||V^T V - I||_F`."""
    rate = _RATE if settings.learning_rate is None else settings.learning_rate
    value = matrix / max(1.0, float(np.linalg.norm(matrix, 2)) / _LARGEST_START)
    while True:
        gram = smaller_gram(value)
        inner = float(np.sum(gram**2)) ** 0.5
        yield value, inner
        value = value - rate * mask * _gradient(gram, value, inner, settings)


def _gradient(
    gram: np.ndarray, value: np.ndarray, inner: float, settings: IsometrySettings
) -> np.ndarray:
    """The gradient of the norm, from the smaller Gram matrix minus the identity."""
    wide = value.shape[0] < value.shape[1]
    zeros = more_zeros(value.shape, settings.gram)
    if settings.norm == "spectral":
        return _spectral_gradient(gram, value, wide, zeros > 0)
    product = gram @ value if wide else value @ gram
    if settings.norm == "fro_sq":
        return 4 * product
    return 2 * product / (inner**2 + zeros + _GUARD) ** 0.5


def _spectral_gradient(gram: np.ndarray, value: np.ndarray, wide: bool, zeros: bool) -> np.ndarray:
    eigenvalues, vectors = eigh(gram)
    at = int(np.argmax(np.abs(eigenvalues)))
    if zeros and abs(eigenvalues[at]) < 1:
        return np.zeros_like(value)  # An eigenvalue of -1 that no entry moves is the largest.
    vector = vectors[:, at]
    outer = np.outer(vector, vector @ value) if wide else np.outer(value @ vector, vector)
    return 2 * np.sign(eigenvalues[at]) * outer
