"""SparseGPT: pruning column by column, with one factor of the inverse Hessian for all rows."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import keras
import numpy as np
from scipy.linalg import solve_triangular
from typing_extensions import Unpack

from keras_sparse.messages.arguments import boolean, integer, number
from keras_sparse.messages.keywords import known_keywords
from keras_sparse.posttrain.command import command
from keras_sparse.posttrain.exact_obs import inverse_of
from keras_sparse.posttrain.layer_hessians import layer_problem
from keras_sparse.posttrain.layer_inputs import PRODUCTS
from keras_sparse.posttrain.pruned_weights import PrunedWeights, from_rows
from keras_sparse.posttrain.row_pattern import SINGLE, RowPattern, row_pattern
from keras_sparse.posttrain.solving import solve_layers
from keras_sparse.sparsity.allocation import Allocation
from keras_sparse.sparsity.recipe import PatternArguments
from keras_sparse.sparsity.report import SparsityReport


@command
@known_keywords(PatternArguments)
def sparsegpt(
    model: keras.Model,
    data: Any,
    sparsity: float | None = None,
    *,
    block_size: int = 128,
    damping: float = 0.01,
    batch_size: int = 128,
    sequential: bool = False,
    verbose: bool = False,
    allocation: Allocation = "global",
    **kwargs: Unpack[PatternArguments],
) -> SparsityReport:
    """Prunes each layer's inputs in their order, and lets later inputs make up for earlier ones.

    With `H = X X^T` of the layer's inputs, the rows of the Cholesky factor U of `H^-1 = U^T U`
    hold what every column needs, for all outputs alike. At the start of a block of columns the
    weights with the smallest `w^2 / U_qq^2` in it are marked, or n:m group by group; each column
    then gives the error of its marked weights on to the columns after it. A block B of a pattern
    is marked as a whole, by the mean square of `(U_BB^T)^-1 w_B`, the errors of its weights. Much
    faster than `obc`, a little less exact.

    The time of a layer grows with `d ** 3 + outputs * d ** 2` for d inputs (`height * width *
    channels` of a kernel). Memory: `3 * d * d * 8` bytes for each layer of a block, and the inputs
    of one batch.

    ```python
    ks.sparsegpt(model, x[:1000], sparsity=0.5)
    ```

    Args:
        model: A built Keras model.
        data: Calibration inputs: arrays, or a finite iterable of batches. Targets are not needed;
            given with them, as `(x, y)`, they play no part.
        sparsity: Fraction of weights to remove. See `prune`.
        block_size: Columns among which weights compete, each time the same share.
        damping: Added to the diagonal of H, as a fraction of its mean.
        batch_size: Samples in a forward pass, for arrays.
        sequential: Whether layers are pruned one after another, a block of them (such as a
            transformer's layer) at a time, for the inputs that they get from those pruned before.
            False for the inputs that they get in the dense model: one pass of the data.
        verbose: Whether to show progress.
        allocation: See `SparseCallback`. With `"global"` each layer keeps as many weights as a
            ranking of all layers by `W_ij^2 ||X_j||^2`, relative to the larger ones of the layer
            (LAMP), leaves it.
        **kwargs: `granularity` (single weights, n:m, blocks of one output such as `"4x1"`, or
            `"xnnpack"`), `exclude`, `include`, `keep_dense`, `strict`: see `SparseCallback`.

    Returns:
        A `SparsityReport` of the pruned model.

    Raises:
        ValueError: For arguments out of range, a model with nothing to prune, inputs that the
            model does not take or that are not finite, or too few samples for the damping.

    Warns:
        SparsityWarning: If a layer is pruned by magnitude because its inputs cannot be seen,
            or has more inputs than there are samples.

    Source: Frantar and Alistarh (2023).
    """
    number("damping", damping, "[0, inf)")
    integer("batch_size", batch_size)
    boolean("sequential", sequential)
    boolean("verbose", verbose)
    integer("block_size", block_size)
    chosen = PrunedWeights(model, sparsity, {**kwargs, "allocation": allocation})
    targets = chosen.selection.targets
    patterns = [row_pattern(chosen.recipe.granularity, x.layout, "sparsegpt") for x in targets]

    def solve(
        i: int, weight: np.ndarray, hessian: np.ndarray | None, keep: int
    ) -> tuple[np.ndarray, np.ndarray]:
        layout = targets[i].layout
        rows, matrix = layer_problem(layout, weight, hessian, damping)
        # Without correlations there is nothing to pass on, and no reason to compete in blocks.
        diagonal = np.count_nonzero(matrix) == len(matrix)
        width = len(matrix) if diagonal else block_size
        factor = np.linalg.cholesky(inverse_of(matrix, targets[i].path)).T
        kept = prune_columns(rows, factor, width, keep, patterns[i])
        return from_rows(layout, rows), from_rows(layout, kept)

    solved = solve_layers(
        chosen, data, batch_size, PRODUCTS, solve, sequential=sequential, verbose=verbose
    )
    solved.warn("sparsegpt")
    return chosen.report()


def prune_columns(
    rows: np.ndarray,
    factor: np.ndarray,
    block_size: int,
    keep: int,
    pattern: RowPattern = SINGLE,
) -> np.ndarray:
    """Prunes the rows of a matrix in place.

    Args:
        rows: Shape `(outputs, d)`. Changed.
        factor: The upper Cholesky factor U of the inverse Hessian `U^T U`, shape `(d, d)`.
        block_size: Columns among which weights compete, of whole groups and blocks of a pattern.
        keep: Weights to keep in all, at most; n:m says it itself.
        pattern: What is removed together, and of a group of n:m is kept.

    Returns:
        A boolean array of shape `(outputs, d)`, True where a weight is kept.
    """
    outputs, size = rows.shape
    n, m = pattern.group or (0, 1)
    starts = pattern.starts(size)
    at_once = max(block_size // (m * pattern.block), 1) * m
    kept = np.ones(rows.shape, bool)
    remove = rows.size - keep
    for start, stop in pairwise([*starts[::at_once], size]):
        block, errors = rows[:, start:stop], np.zeros((outputs, stop - start))
        if pattern.group is None:
            ends = np.append(starts[(starts >= start) & (starts < stop)], stop)
            room = outputs * stop - round(remove * stop / size) - int(kept[:, :start].sum())
            kept[:, start:stop] = _largest(_scores(rows, factor, ends), np.diff(ends), room)
        for q in range(start, stop):
            if pattern.group is not None and (q - start) % m == 0:
                scores = _scores(rows, factor, np.arange(q, q + m + 1))
                kept[:, q : q + m] = _largest_of_each_row(scores, n)
            pruned = np.where(kept[:, q], rows[:, q], 0)
            error = (rows[:, q] - pruned) / factor[q, q]
            block[:, q - start :] -= error[:, None] * factor[q, q:stop]
            rows[:, q] = pruned
            errors[:, q - start] = error
        rows[:, stop:] -= errors @ factor[start:stop, stop:]
    return kept


def _scores(rows: np.ndarray, factor: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """What removing each block adds to the error for each of its weights, `(outputs, blocks)`.

    Args:
        rows: Shape `(outputs, d)`.
        factor: As in `prune_columns`.
        ends: Where blocks begin, each at the end of the one before it, and the end of the last.
    """
    if np.all(np.diff(ends) == 1):
        return (rows[:, ends[:-1]] / np.diag(factor)[ends[:-1]]) ** 2
    scores = np.empty((len(rows), len(ends) - 1))
    for i, (start, stop) in enumerate(pairwise(ends)):
        square = factor[start:stop, start:stop]
        # The errors of its weights, when one after another is removed.
        errors = solve_triangular(square, rows[:, start:stop].T, trans="T")
        scores[:, i] = np.mean(errors**2, axis=0)
    return scores


def _largest(scores: np.ndarray, sizes: np.ndarray, room: int) -> np.ndarray:
    """Keeps the blocks of the highest scores that there is room for, of equal ones the first.

    Args:
        scores: Shape `(outputs, blocks)`.
        sizes: Weights of the blocks, shape `(blocks,)`.
        room: How many weights may be kept.

    Returns:
        A boolean for each weight, shape `(outputs, sum(sizes))`.
    """
    order = np.argsort(-scores.ravel(), kind="stable")
    spent = np.cumsum(np.broadcast_to(sizes, scores.shape).ravel()[order])
    kept = np.zeros(scores.size, bool)
    kept[order[spent <= room]] = True
    return np.repeat(kept.reshape(scores.shape), sizes, axis=1)


def _largest_of_each_row(scores: np.ndarray, n: int) -> np.ndarray:
    order = np.argsort(-scores, axis=1, kind="stable")
    kept = np.zeros(scores.shape, bool)
    np.put_along_axis(kept, order[:, :n], True, axis=1)
    return kept
