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
from keras_sparse.posttrain.pruned_weights import PrunedWeights, from_rows, group_of, to_rows
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
        per_output: Whether weights compete within their output, each of which keeps as many (one
            more, where the count does not divide, for those that miss it most). False for a
            ranking of all weights of a layer.
        batch_size: Samples in a forward pass, for arrays.
        sequential: Whether layers are pruned one after another, a block of them (such as a
            transformer's layer) at a time, for the inputs that they get from those pruned before.
            False for the inputs that they get in the dense model: one pass of the data.
        verbose: Whether to show progress.
        allocation: See `SparseCallback`. With `"global"` each layer keeps as many weights as a
            ranking of all layers by `W_ij^2 ||X_j||^2`, relative to the larger ones of the layer
            (LAMP), leaves it.
        **kwargs: `granularity` (single weights or n:m), `exclude`, `include`, `keep_dense`,
            `strict`: see `SparseCallback`.

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
    group = group_of(chosen.recipe.granularity, "wanda")
    by_output = group is None and per_output

    def solve(
        i: int, weight: np.ndarray, squares: np.ndarray | None, keep: int
    ) -> tuple[np.ndarray, np.ndarray]:
        scores = np.abs(weight) * np.sqrt(1.0 if squares is None else squares)
        if not by_output:
            return weight, chosen.mask_of(i, scores, keep)
        layout = chosen.layouts[i]
        return weight, from_rows(layout, largest_of_rows(to_rows(layout, scores), keep))

    solved = solve_layers(
        chosen, data, batch_size, SQUARES, solve, sequential=sequential, verbose=verbose
    )
    solved.warn("wanda", _SEEN)
    return chosen.report()


def largest_of_rows(scores: np.ndarray, keep: int) -> np.ndarray:
    """Keeps the same number of the highest scores of each row, of equal ones the first.

    Args:
        scores: Shape `(rows, d)`.
        keep: How many to keep in all. Where rows do not divide it, those with the highest next
            score keep one more.

    Returns:
        A boolean array of the same shape, True where a score is kept.
    """
    each, more = divmod(keep, len(scores))
    order = np.argsort(-scores, axis=1, kind="stable")
    kept = np.zeros(scores.shape, bool)
    np.put_along_axis(kept, order[:, :each], True, axis=1)
    if more:
        following = order[:, each]
        missed = scores[np.arange(len(scores)), following]
        rows = np.argsort(-missed, kind="stable")[:more]
        kept[rows, following[rows]] = True
    return kept
