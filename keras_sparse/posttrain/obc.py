"""Optimal Brain Compression: exact weight-by-weight pruning for a layer's outputs."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from typing_extensions import Unpack

from keras_sparse.messages.arguments import boolean, integer, number
from keras_sparse.messages.keywords import known_keywords
from keras_sparse.posttrain.command import command
from keras_sparse.posttrain.exact_obs import inverse_of, refit, removal_ranks, removal_trace
from keras_sparse.posttrain.layer_hessians import layer_problem
from keras_sparse.posttrain.layer_inputs import PRODUCTS
from keras_sparse.posttrain.pruned_weights import PrunedWeights, from_rows, to_rows
from keras_sparse.posttrain.row_pattern import row_pattern
from keras_sparse.posttrain.solving import solve_layers
from keras_sparse.sparsity.allocation import Allocation
from keras_sparse.sparsity.recipe import PatternArguments
from keras_sparse.sparsity.report import SparsityReport


@command
@known_keywords(PatternArguments)
def obc(
    model: keras.Model,
    data: Any,
    sparsity: float | None = None,
    *,
    damping: float = 1e-4,
    batch_size: int = 128,
    sequential: bool = False,
    verbose: bool = False,
    allocation: Allocation = "global",
    **kwargs: Unpack[PatternArguments],
) -> SparsityReport:
    """Removes weights one by one so that each layer's outputs change least (ExactOBS).

    Per output and with `H = X X^T` of the layer's inputs, the weight with the smallest
    `w_p^2 / [H^-1]_pp` goes, the others of that output make up for it, and H^-1 loses its row and
    column. A block B goes as a whole, by `w_B^T ([H^-1]_BB)^-1 w_B` for each of its weights. How
    many weights each output loses follows from merging the costs of all outputs of a layer.

    The time of a layer grows with `outputs * d ** 3` for d inputs (`height * width * channels`
    of a kernel). Memory: `3 * d * d * 8` bytes for each layer of a block, and the inputs of one
    batch.

    ```python
    ks.obc(model, x[:1000], granularity="2:4")
    ```

    Args:
        model: A built Keras model.
        data: Calibration inputs: arrays, or a finite iterable of batches. Targets are not needed;
            given with them, as `(x, y)`, they play no part.
        sparsity: Fraction of weights to remove. See `prune`.
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

    Source: Frantar and Alistarh (2022).
    """
    number("damping", damping, "[0, inf)")
    integer("batch_size", batch_size)
    boolean("sequential", sequential)
    boolean("verbose", verbose)
    chosen = PrunedWeights(model, sparsity, {**kwargs, "allocation": allocation})
    targets = chosen.selection.targets
    patterns = [row_pattern(chosen.recipe.granularity, x.layout, "obc") for x in targets]

    def solve(
        i: int, weight: np.ndarray, hessian: np.ndarray | None, keep: int
    ) -> tuple[np.ndarray, np.ndarray]:
        layout = targets[i].layout
        rows, matrix = layer_problem(layout, weight, hessian, damping)
        trace = removal_trace(rows, inverse_of(matrix, targets[i].path), patterns[i])
        (rank,) = removal_ranks([trace], [rows.shape[1]])
        mask = chosen.mask_of(i, from_rows(layout, rank), keep)
        return from_rows(layout, refit(matrix, rows @ matrix, to_rows(layout, mask))), mask

    solved = solve_layers(
        chosen, data, batch_size, PRODUCTS, solve, sequential=sequential, verbose=verbose
    )
    solved.warn("obc")
    return chosen.report()
