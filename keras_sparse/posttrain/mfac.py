"""M-FAC: pruning by the whole inverse Fisher matrix, which is never formed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from typing_extensions import Unpack

from keras_sparse.messages.arguments import integer, number, optional
from keras_sparse.messages.keywords import known_keywords
from keras_sparse.posttrain.command import command
from keras_sparse.posttrain.fisher import GradientRows, obs_scores, obs_update
from keras_sparse.posttrain.pruned_weights import PrunedWeights
from keras_sparse.sparsity.recipe import RecipeArguments
from keras_sparse.sparsity.report import SparsityReport

_PIECE = 16
# Gradients by default: their time grows with their square, their memory with their number.
_GRADIENTS, _MEMORY = 128, 1 << 30


class LowRankInverse:
    """The inverse of `damping * I + 1/m sum_j g_j g_j^T`, known by its products only.

    The recursion `F^-1 x = x / damping - sum_j v_j (v_j^T x) / (m + g_j^T v_j)` is kept as the
    rows `v_j / sqrt(m + g_j^T v_j)`. They are `L^-1 G / sqrt(damping)`, with the Cholesky factor
    `L` of `m damping I + G G^T`, for each step of the recursion is a step of that factorization.

    ```python
    inverse = LowRankInverse(np.array([[1.0, 0.0], [1.0, 1.0]]), damping=0.1)
    inverse.product(np.array([1.0, 2.0]))  # -0.97561, 4.146341
    ```

    Args:
        gradients: Shape `(m, size)`, of the precision in which they are kept. Overwritten.
        damping: The multiple of the identity.

    Raises:
        ValueError: If the damping is too small beside the gradients.

    Source: Frantar, Kurtic and Alistarh (2021).
    """

    def __init__(self, gradients: np.ndarray, damping: float) -> None:
        self._damping, self._rows = damping, gradients
        inner = np.zeros((len(gradients),) * 2)
        for part in self._slices():
            piece = gradients[:, part].astype(np.float64)
            inner += piece @ piece.T
        inner[np.diag_indices_from(inner)] += len(gradients) * damping
        try:
            invert = np.linalg.inv(np.linalg.cholesky(inner))
        except np.linalg.LinAlgError as error:
            raise ValueError(
                f"damping={damping} is lost beside the size of the gradients: raise it."
            ) from error
        for part in self._slices():
            self._rows[:, part] = invert @ gradients[:, part]

    def _slices(self) -> Iterator[slice]:
        """Columns, so many at once that the gradients are not held twice."""
        for start in range(0, self._rows.shape[1], 1 << 14):
            yield slice(start, start + (1 << 14))

    def product(self, vector: np.ndarray) -> np.ndarray:
        """The inverse times a vector of shape `(size,)`."""
        result = np.array(vector, np.float64)
        known = sum(self._rows[:, part] @ result[part] for part in self._slices())
        for part in self._slices():
            result[part] -= known @ self._rows[:, part]
        return result / self._damping

    def diagonal(self) -> np.ndarray:
        """The diagonal of the inverse, shape `(size,)`."""
        squares = np.einsum("ij,ij->j", self._rows, self._rows, dtype=np.float64)
        return (1 - squares) / self._damping


@command
@known_keywords(RecipeArguments)
def mfac(
    model: keras.Model,
    data: Any,
    sparsity: float | None = None,
    *,
    damping: float = 0.1,
    samples_per_gradient: int | None = None,
    steps: int = 8,
    loss: Any = None,
    **kwargs: Unpack[RecipeArguments],
) -> SparsityReport:
    """Removes weights as `woodfisher` does, with a Fisher matrix that is not cut into blocks.

    All chosen weights of the model share one matrix of as many terms as there are gradients, so
    a removed weight of one layer may be made up for in another.

    Memory: `gradients * weights * 4` bytes besides the model. Time grows with `steps * weights *
    gradients ** 2`.

    ```python
    model.compile(loss="sparse_categorical_crossentropy")
    ks.mfac(model, (x[:1000], y[:1000]), sparsity=0.9)
    ```

    Args:
        model: A built Keras model.
        data: Calibration data: `(x, y)`, or a finite iterable of `(x, y)` batches.
        sparsity: Fraction of weights to remove. See `prune`.
        damping: Added to the diagonal of the Fisher matrix, as a fraction of its mean, above 0.
        samples_per_gradient: Samples that one gradient is the mean of. Defaults to as few as make
            128 gradients, and keep them within 1 GiB.
        steps: Prunings in a row, each of the same fraction of what is left.
        loss: A loss, if not the one that the model is compiled with.
        **kwargs: `granularity`, `allocation`, `exclude`, `include`, `keep_dense`, `strict`: see
            `SparseCallback`.

    Returns:
        A `SparsityReport` of the pruned model.

    Raises:
        ValueError: For arguments out of range, a model with nothing to prune or without a loss,
            too few samples, or gradients that are all zero or not finite.

    Source: Frantar, Kurtic and Alistarh (2021), the static algorithm.
    """
    number("damping", damping, "(0, inf)")
    optional(integer, "samples_per_gradient", samples_per_gradient)
    integer("steps", steps)
    chosen = PrunedWeights(model, sparsity, kwargs)
    budgets = chosen.budgets(steps)
    at_most = min(max(_MEMORY // (4 * chosen.selection.size), 1), _GRADIENTS)
    rows = GradientRows(model, chosen.variables, data, samples_per_gradient, loss, at_most)
    shapes = [layout.shape for layout in chosen.layouts]
    cuts = np.cumsum([layout.size for layout in chosen.layouts])[:-1]
    alive = np.ones(chosen.selection.size, bool)
    for budget in budgets:
        weights = _joined(chosen.read())
        gradients = _gradients(rows, alive)
        squares = np.einsum("ij,ij->i", gradients, gradients).mean(dtype=np.float64)
        inverse = LowRankInverse(gradients, damping * float(squares) / np.count_nonzero(alive))
        diagonal = inverse.diagonal()
        scores = np.where(alive, obs_scores(weights, diagonal), -1.0)
        masks = chosen.masks(_split(scores, cuts, shapes), budget)
        kept = _joined(masks)
        weights += inverse.product(obs_update(weights, diagonal, alive & ~kept))
        chosen.write(_split(weights, cuts, shapes), masks)
        alive = kept
    return chosen.report()


def _gradients(rows: GradientRows, alive: np.ndarray) -> np.ndarray:
    found = np.empty((len(rows), alive.size), np.float32)
    start = 0
    for piece in rows.pieces(_PIECE):
        stop = start + len(piece[0])
        flat = [part.reshape(stop - start, -1) for part in piece]
        np.concatenate(flat, axis=1, out=found[start:stop], casting="same_kind")
        start = stop
    found *= alive  # weights that are gone take no part in making up for others
    return found


def _joined(arrays: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([array.ravel() for array in arrays])


def _split(flat: np.ndarray, cuts: np.ndarray, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    parts = np.split(flat, cuts)
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
