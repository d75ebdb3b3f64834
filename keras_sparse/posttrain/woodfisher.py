"""WoodFisher: pruning by the blocks of an inverse empirical Fisher matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from typing_extensions import Unpack

from keras_sparse.messages.arguments import integer, number
from keras_sparse.messages.keywords import known_keywords
from keras_sparse.posttrain.command import command
from keras_sparse.posttrain.fisher import (
    BlockFisher,
    BlockInverse,
    GradientRows,
    flat_rows,
    obs_scores,
    obs_update,
)
from keras_sparse.posttrain.pruned_weights import PrunedWeights, from_rows, to_rows
from keras_sparse.probe.layout import Layout
from keras_sparse.sparsity.recipe import RecipeArguments
from keras_sparse.sparsity.report import SparsityReport

# Gradients held at once, each of which is added by a pass over the blocks.
_PIECE = 64


@command
@known_keywords(RecipeArguments)
def woodfisher(
    model: keras.Model,
    data: Any,
    sparsity: float | None = None,
    *,
    block_size: int = 50,
    damping: float = 0.1,
    samples_per_gradient: int = 1,
    steps: int = 4,
    loss: Any = None,
    **kwargs: Unpack[RecipeArguments],
) -> SparsityReport:
    """Removes the weights that the loss misses least, and moves the others to make up for them.

    The Hessian is taken to be the empirical Fisher matrix, in blocks along the weights of each
    layer, those of one output side by side: one weight is made up for by others of its output.
    Weights are ranked by `theta_q^2 / (2 [F^-1]_qq)`; the updates of all removed weights
    are summed up, which leaves their interaction out. More `steps`, each with gradients of its
    own, bring some of it back.

    Memory: `weights * (block_size + 170) * 8` bytes at most besides the model. Time grows with
    `steps * weights * block_size * gradients`, and a gradient takes a call of the model.

    ```python
    model.compile(loss="sparse_categorical_crossentropy")
    ks.woodfisher(model, (x[:1000], y[:1000]), sparsity=0.9)
    ```

    Args:
        model: A built Keras model.
        data: Calibration data: `(x, y)`, or a finite iterable of `(x, y)` batches.
        sparsity: Fraction of weights to remove. See `prune`.
        block_size: Weights in a block.
        damping: Added to the diagonal of the Fisher matrix, as a fraction of its mean, above 0.
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

    Source: Singh and Alistarh (2020).
    """
    number("damping", damping, "(0, inf)")
    integer("samples_per_gradient", samples_per_gradient)
    integer("steps", steps)
    integer("block_size", block_size)
    chosen = PrunedWeights(model, sparsity, kwargs)
    budgets = chosen.budgets(steps)
    rows = GradientRows(model, chosen.variables, data, samples_per_gradient, loss)
    layouts = chosen.layouts
    alive = [np.ones(layout.shape, bool) for layout in layouts]
    for budget in budgets:
        inverses = _inverses(rows, layouts, alive, block_size, damping)
        weights = chosen.read()
        diagonals = [
            _shaped(layout, inverse.diagonal())
            for inverse, layout in zip(inverses, layouts, strict=True)
        ]
        scores = [
            np.where(a, obs_scores(w, d), -1.0)
            for w, d, a in zip(weights, diagonals, alive, strict=True)
        ]
        masks = chosen.masks(scores, budget)
        for i, (inverse, layout) in enumerate(zip(inverses, layouts, strict=True)):
            step = obs_update(weights[i], diagonals[i], alive[i] & ~masks[i])
            weights[i] += _shaped(layout, inverse.product(to_rows(layout, step).ravel()))
        chosen.write(weights, masks)
        del inverses, inverse  # Before those of the next step are made.
        alive = masks
    return chosen.report()


def _shaped(layout: Layout, flat: np.ndarray) -> np.ndarray:
    return from_rows(layout, flat.reshape(layout.matrix_shape[2], -1))


def _inverses(
    rows: GradientRows,
    layouts: Sequence[Layout],
    alive: Sequence[np.ndarray],
    block_size: int,
    damping: float,
) -> list[BlockInverse]:
    found = [BlockFisher(layout.size, block_size) for layout in layouts]
    for piece in rows.pieces(_PIECE):
        for fisher, layout, gradients, mask in zip(found, layouts, piece, alive, strict=True):
            # Weights that are gone take no part in making up for others.
            fisher.add(flat_rows(layout, gradients * mask))
    left = sum(int(mask.sum()) for mask in alive)
    mean = sum(float(fisher.diagonal().sum()) for fisher in found) / left
    return [fisher.inverted(damping * mean) for fisher in found]
