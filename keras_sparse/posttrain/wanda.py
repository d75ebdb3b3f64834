"""Wanda: pruning by the size of weights and of what they are multiplied with."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from typing_extensions import Unpack

from keras_sparse.messages.arguments import boolean, integer
from keras_sparse.messages.keywords import known_keywords
from keras_sparse.posttrain.command import command
from keras_sparse.posttrain.layer_inputs import SQUARES
from keras_sparse.posttrain.pruned_weights import PrunedWeights, from_rows, to_rows
from keras_sparse.posttrain.row_pattern import within_rows
from keras_sparse.posttrain.solving import solve_layers
from keras_sparse.sparsity.allocation import Allocation
from keras_sparse.sparsity.recipe import PatternArguments
from keras_sparse.sparsity.report import SparsityReport

_SEEN = "Dense, EinsumDense, convolution and depthwise convolution layers"


@command
@known_keywords(PatternArguments)
def wanda(
    model: keras.Model,
    data: Any,
    sparsity: float | None = None,
    *,
    per_output: bool = True,
    batch_size: int = 128,
    sequential: bool = False,
    verbose: bool = False,
    allocation: Allocation = "global",
    **kwargs: Unpack[PatternArguments],
) -> SparsityReport:
    """Removes from each output the weights with the smallest `|W_ij| * ||X_j||_2`.

    `||X_j||_2` is the norm of the inputs that a weight is multiplied with, over all samples and
    places. The weights that stay are not changed, which takes one forward pass of the samples and
    no more: much faster than `sparsegpt`, and often as good.

    Memory: the inputs of one batch, for a convolution `height * width` times.

    ```python
    ks.wanda(model, x[:1000], sparsity=0.5)
    ```

    Args:
        model: A built Keras model.
        data: Calibration inputs: arrays, or a finite iterable of batches. Targets are not needed;
            given with them, as `(x, y)`, they play no part.
        sparsity: Fraction of weights to remove. See `prune`.
        per_output: Whether weights, or blocks of one output, compete within their output, each of
            which keeps as many (one more, where the count does not divide, for those that miss it
            most). False for a ranking of all of a layer. Blocks of several outputs and channels
            have no other.
        batch_size: Samples in a forward pass, for arrays.
        sequential: Whether layers are pruned one after another, a block of them (such as a
            transformer's layer) at a time, for the inputs that they get from those pruned before.
            False for the inputs that they get in the dense model: one pass of the data.
        verbose: Whether to show progress.
        allocation: See `SparseCallback`. With `"global"` each layer keeps as many weights as a
            ranking of all layers by `W_ij^2 ||X_j||^2`, relative to the larger ones of the layer
            (LAMP), leaves it.
        **kwargs: `granularity`, `exclude`, `include`, `keep_dense`, `strict`: see
            `SparseCallback`. Blocks and channels rank by their mean `W_ij^2 ||X_j||^2`.

    Returns:
        A `SparsityReport` of the pruned model.

    Raises:
        ValueError: For arguments out of range, a model with nothing to prune, or inputs that the
            model does not take, that are not finite or that are all zero.

    Warns:
        SparsityWarning: If a layer is pruned by magnitude because its inputs cannot be seen.

    Source: Sun et al. (2023), section 3.
    """
    boolean("per_output", per_output)
    integer("batch_size", batch_size)
    boolean("sequential", sequential)
    boolean("verbose", verbose)
    chosen = PrunedWeights(model, sparsity, {**kwargs, "allocation": allocation})
    patterns = [within_rows(chosen.recipe.granularity, layout) for layout in chosen.layouts]

    def solve(
        i: int, weight: np.ndarray, squares: np.ndarray | None, keep: int
    ) -> tuple[np.ndarray, np.ndarray]:
        scores = weight**2 * (1.0 if squares is None else squares)
        layout, pattern = chosen.layouts[i], patterns[i]
        if not per_output or pattern is None or pattern.group is not None:
            return weight, chosen.mask_of(i, scores, keep)
        rows = to_rows(layout, scores)
        sizes = pattern.sizes(rows.shape[1])
        means = np.add.reduceat(rows, pattern.starts(rows.shape[1]), axis=1) / sizes
        kept = largest_of_rows(means, keep, sizes)
        return weight, from_rows(layout, np.repeat(kept, sizes, axis=1))

    solved = solve_layers(
        chosen, data, batch_size, SQUARES, solve, sequential=sequential, verbose=verbose
    )
    solved.warn("wanda", _SEEN)
    return chosen.report()


def largest_of_rows(scores: np.ndarray, keep: int, sizes: np.ndarray | None = None) -> np.ndarray:
    """Keeps the same number of weights of each row, in blocks of the highest scores.

    Args:
        scores: Shape `(rows, blocks)`. Of equal ones the first is kept.
        keep: How many weights to keep in all, at most. Where rows do not divide it, those with the
            highest next score keep one block more.
        sizes: Weights of the blocks, shape `(blocks,)`; `None` for single weights.

    Returns:
        A boolean array of the scores' shape, True where a block is kept.
    """
    sizes = np.ones(scores.shape[1], int) if sizes is None else sizes
    order = np.argsort(-scores, axis=1, kind="stable")
    ordered = sizes[order]
    each = np.cumsum(ordered, axis=1) <= keep // len(scores)
    kept = np.zeros(scores.shape, bool)
    np.put_along_axis(kept, order, each, axis=1)
    open_ = np.flatnonzero(~each.all(axis=1))
    following = order[open_, each[open_].sum(axis=1)]
    missed = np.argsort(-scores[open_, following], kind="stable")
    left = keep - int((ordered * each).sum())
    more = missed[np.cumsum(sizes[following[missed]]) <= left]
    kept[open_[more], following[more]] = True
    return kept
