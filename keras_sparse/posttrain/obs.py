"""Optimal Brain Surgeon: one weight after another, with a layer's whole Fisher matrix."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from typing_extensions import Unpack

from keras_sparse.messages.arguments import integer, number
from keras_sparse.messages.keywords import known_keywords
from keras_sparse.posttrain.exact_obs import inverse_of, refit, removal_ranks, removal_trace
from keras_sparse.posttrain.fisher import GradientRows, flat_rows
from keras_sparse.posttrain.pruned_weights import PrunedWeights, from_rows, to_rows
from keras_sparse.posttrain.row_pattern import row_pattern
from keras_sparse.sparsity.recipe import RecipeArguments
from keras_sparse.sparsity.report import SparsityReport

_PIECE = 64


@known_keywords(RecipeArguments)
def obs(
    model: keras.Model,
    data: Any,
    sparsity: float | None = None,
    *,
    damping: float = 0.1,
    samples_per_gradient: int = 1,
    max_size: int = 2000,
    loss: Any = None,
    **kwargs: Unpack[RecipeArguments],
) -> SparsityReport:
    """Removes weights one by one, and after each moves the others of its layer to make up for it.

    The Hessian of a layer is its whole empirical Fisher matrix. Each time the weight with the
    smallest `theta_q^2 / (2 [H^-1]_qq)` goes, by `-theta_q H^-1 e_q / [H^-1]_qq`; with
    `allocation="global"` the smallest of all layers. A block goes as a whole, as in `obc`. For
    small layers: the time grows with the third power of a layer's weights. `woodfisher` and `mfac`
    are for larger ones.

    Memory: `8 * size ** 2` bytes for each layer of `size` weights, five times that for the
    largest.

    ```python
    model.compile(loss="mse")
    ks.obs(model, (x, y), sparsity=0.5)
    ```

    Args:
        model: A built Keras model.
        data: Calibration data: `(x, y)`, or a finite iterable of `(x, y)` batches.
        sparsity: Fraction of weights to remove. See `prune`.
        damping: Added to the diagonal of the Fisher matrix, as a fraction of its mean, above 0.
        samples_per_gradient: Samples that one gradient is the mean of.
        max_size: Weights that a layer may have at most.
        loss: A loss, if not the one that the model is compiled with.
        **kwargs: `granularity` (single weights, n:m, blocks of one output such as `"4x1"`, or
            `"xnnpack"`), `allocation`, `exclude`, `include`, `keep_dense`: see `SparseCallback`.

    Returns:
        A `SparsityReport` of the pruned model.

    Raises:
        ValueError: For arguments out of range, a layer above `max_size`, a model with nothing to
            prune or without a loss, too few samples, or gradients that are all zero or not
            finite.

    Source: Hassibi, Stork and Wolff (1993).
    """
    number("damping", damping, "(0, inf)")
    integer("samples_per_gradient", samples_per_gradient)
    integer("max_size", max_size)
    chosen = PrunedWeights(model, sparsity, kwargs)
    patterns = [row_pattern(chosen.recipe.granularity, x, "obs") for x in chosen.layouts]
    too_large = [t for t in chosen.selection.targets if t.layout.size > max_size]
    if too_large:
        named = ", ".join(f"{t.path} ({t.layout.size:,} weights)" for t in too_large)
        raise ValueError(
            f"obs inverts a matrix of all weights of a layer. Above max_size={max_size}: {named}. "
            f"Leave them dense with exclude={[t.layer for t in too_large]}, raise max_size, or "
            "use woodfisher or mfac."
        )
    rows = GradientRows(model, chosen.variables, data, samples_per_gradient, loss)
    hessians = _fisher(rows, chosen, damping)
    flat = [
        to_rows(layout, value).reshape(1, -1)
        for layout, value in zip(chosen.layouts, chosen.read(), strict=True)
    ]
    traces = [
        removal_trace(weights, inverse_of(hessian, target.path), pattern)
        for weights, hessian, target, pattern in zip(
            flat, hessians, chosen.selection.targets, patterns, strict=True
        )
    ]
    ranks = removal_ranks(traces, [layout.size for layout in chosen.layouts])
    scores = [_shaped(layout, rank) for layout, rank in zip(chosen.layouts, ranks, strict=True)]
    masks = chosen.masks(scores, chosen.budgets()[0])
    values = []
    for layout, hessian, weights, mask in zip(chosen.layouts, hessians, flat, masks, strict=True):
        kept = to_rows(layout, mask).reshape(1, -1)
        values.append(_shaped(layout, refit(hessian, weights @ hessian, kept)))
    chosen.write(values, masks)
    return chosen.report()


def _shaped(layout: Any, flat: np.ndarray) -> np.ndarray:
    return from_rows(layout, flat.reshape(layout.matrix_shape[2], -1))


def _fisher(rows: GradientRows, chosen: PrunedWeights, damping: float) -> list[np.ndarray]:
    found = [np.zeros((layout.size, layout.size)) for layout in chosen.layouts]
    for piece in rows.pieces(_PIECE):
        for hessian, layout, gradients in zip(found, chosen.layouts, piece, strict=True):
            flat = flat_rows(layout, gradients).astype(np.float64)
            hessian += flat.T @ flat / len(rows)
    mean = sum(float(np.trace(hessian)) for hessian in found) / chosen.selection.size
    for hessian in found:
        hessian[np.diag_indices_from(hessian)] += damping * mean
    return found
