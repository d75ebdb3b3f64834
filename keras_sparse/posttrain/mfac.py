"""M-FAC: pruning by the whole inverse Fisher matrix, which is never formed."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from typing_extensions import Unpack

from keras_sparse.messages.arguments import integer, number
from keras_sparse.messages.keywords import known_keywords
from keras_sparse.posttrain.command import command
from keras_sparse.posttrain.fisher import GradientRows, obs_scores, obs_update
from keras_sparse.posttrain.pruned_weights import PrunedWeights
from keras_sparse.sparsity.recipe import RecipeArguments
from keras_sparse.sparsity.report import SparsityReport

_PIECE = 16


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
        gradients: Shape `(m, size)`, float64. Overwritten.
        damping: The multiple of the identity.

    Raises:
        ValueError: If the damping is too small beside the gradients.

    Source: Frantar, Kurtic and Alistarh (2021).
    """

    def __init__(self, gradients: np.ndarray, damping: float) -> None:
        self._damping, self._rows = damping, gradients
        inner = gradients @ gradients.T
        inner[np.diag_indices_from(inner)] += len(gradients) * damping
        try:
            invert = np.linalg.inv(np.linalg.cholesky(inner))
        except np.linalg.LinAlgError as error:
            raise ValueError(
                f"damping={damping} is lost beside the size of the gradients: raise it."
            ) from error
        # In slices, so that the gradients are not held twice.
        for start in range(0, gradients.shape[1], 1 << 14):
            part = slice(start, start + (1 << 14))
            self._rows[:, part] = invert @ gradients[:, part]

    def product(self, vector: np.ndarray) -> np.ndarray:
        """The inverse times a vector of shape `(size,)`."""
        return (vector - (self._rows @ vector) @ self._rows) / self._damping

    def diagonal(self) -> np.ndarray:
        """The diagonal of the inverse, shape `(size,)`."""
        return (1 - np.einsum("ij,ij->j", self._rows, self._rows)) / self._damping


@command
@known_keywords(RecipeArguments)
def mfac(
    model: keras.Model,
    data: Any,
    sparsity: float | None = None,
    *,
    damping: float = 1e-5,
    samples_per_gradient: int = 16,
    steps: int = 1,
    loss: Any = None,
    **kwargs: Unpack[RecipeArguments],
) -> SparsityReport:
    """Removes weights as `woodfisher` does, with a Fisher matrix that is not cut into blocks.

    All chosen weights of the model share one matrix of as many terms as there are gradients, so
    a removed weight of one layer may be made up for in another.

    Memory: `gradients * weights * 8` bytes besides the model: of 1,000 samples, 16 a gradient,
    500 bytes a weight.

    ```python
    model.compile(loss="sparse_categorical_crossentropy")
    ks.mfac(model, (x[:1000], y[:1000]), sparsity=0.9)
    ```

    Args:
        model: A built Keras model.
        data: Calibration data: `(x, y)`, or a finite iterable of `(x, y)` batches.
        sparsity: Fraction of weights to remove. See `prune`.
        damping: Multiple of the identity in the Fisher matrix, above 0.
        samples_per_gradient: Samples that one gradient is the mean of.
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
    integer("samples_per_gradient", samples_per_gradient)
    integer("steps", steps)
    chosen = PrunedWeights(model, sparsity, kwargs)
    budgets = chosen.budgets(steps)
    rows = GradientRows(model, chosen.variables, data, samples_per_gradient, loss)
    shapes = [layout.shape for layout in chosen.layouts]
    cuts = np.cumsum([layout.size for layout in chosen.layouts])[:-1]
    alive = np.ones(chosen.selection.size, bool)
    for budget in budgets:
        weights = _joined(chosen.read())
        inverse = LowRankInverse(_gradients(rows, alive), damping)
        diagonal = inverse.diagonal()
        scores = np.where(alive, obs_scores(weights, diagonal), -1.0)
        masks = chosen.masks(_split(scores, cuts, shapes), budget)
        kept = _joined(masks)
        weights += inverse.product(obs_update(weights, diagonal, alive & ~kept))
        chosen.write(_split(weights, cuts, shapes), masks)
        alive = kept
    return chosen.report()


def _gradients(rows: GradientRows, alive: np.ndarray) -> np.ndarray:
    found = np.empty((len(rows), alive.size))
    start = 0
    for piece in rows.pieces(_PIECE):
        stop = start + len(piece[0])
        flat = [part.reshape(stop - start, -1) for part in piece]
        np.concatenate(flat, axis=1, out=found[start:stop])
        start = stop
    found *= alive  # weights that are gone take no part in making up for others
    return found


def _joined(arrays: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([array.ravel() for array in arrays])


def _split(flat: np.ndarray, cuts: np.ndarray, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    parts = np.split(flat, cuts)
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
