"""WoodFisher: pruning by the blocks of an inverse empirical Fisher matrix."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from typing_extensions import Unpack

from keras_sparse.messages.arguments import integer, number
from keras_sparse.messages.keywords import known_keywords
from keras_sparse.posttrain.command import command
from keras_sparse.posttrain.fisher import (
    BlockInverse,
    GradientRows,
    obs_scores,
    obs_update,
)
from keras_sparse.posttrain.pruned_weights import PrunedWeights
from keras_sparse.sparsity.recipe import RecipeArguments
from keras_sparse.sparsity.report import SparsityReport

# Gradients held at once. The cost of a piece grows with its square, that of all its passes over
# the blocks falls with it.
_PIECE = 16


@command
@known_keywords(RecipeArguments)
def woodfisher(
    model: keras.Model,
    data: Any,
    sparsity: float | None = None,
    *,
    block_size: int = 50,
    damping: float = 1e-5,
    samples_per_gradient: int = 1,
    steps: int = 1,
    loss: Any = None,
    **kwargs: Unpack[RecipeArguments],
) -> SparsityReport:
    """Removes the weights that the loss misses least, and moves the others to make up for them.

    The Hessian is taken to be the empirical Fisher matrix, in blocks along each layer's flat
    weights. Weights are ranked by `theta_q^2 / (2 [F^-1]_qq)`; the updates of all removed weights
    are summed up, which leaves their interaction out. More `steps`, each with gradients of its
    own, bring some of it back.

    Memory: `weights * (2 * block_size + 80) * 8` bytes besides the model. Time grows with
    `weights * block_size * gradients`.

    ```python
    model.compile(loss="sparse_categorical_crossentropy")
    ks.woodfisher(model, (x[:1000], y[:1000]), sparsity=0.9)
    ```

    Args:
        model: A built Keras model.
        data: Calibration data: `(x, y)`, or a finite iterable of `(x, y)` batches.
        sparsity: Fraction of weights to remove. See `prune`.
        block_size: Weights in a block.
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

    Source: Singh and Alistarh (2020).
    """
    number("damping", damping, "(0, inf)")
    integer("samples_per_gradient", samples_per_gradient)
    integer("steps", steps)
    integer("block_size", block_size)
    chosen = PrunedWeights(model, sparsity, kwargs)
    budgets = chosen.budgets(steps)
    rows = GradientRows(model, chosen.variables, data, samples_per_gradient, loss)
    alive = [np.ones(layout.shape, bool) for layout in chosen.layouts]
    for budget in budgets:
        inverses = _inverses(rows, alive, block_size, damping)
        weights = chosen.read()
        diagonals = [
            inverse.diagonal().reshape(layout.shape)
            for inverse, layout in zip(inverses, chosen.layouts, strict=True)
        ]
        scores = [
            np.where(a, obs_scores(w, d), -1.0)
            for w, d, a in zip(weights, diagonals, alive, strict=True)
        ]
        masks = chosen.masks(scores, budget)
        for i, inverse in enumerate(inverses):
            step = obs_update(weights[i], diagonals[i], alive[i] & ~masks[i])
            weights[i] += inverse.product(step.ravel()).reshape(step.shape)
        chosen.write(weights, masks)
        alive = masks
    return chosen.report()


def _inverses(
    rows: GradientRows, alive: list[np.ndarray], block_size: int, damping: float
) -> list[BlockInverse]:
    inverses = [BlockInverse(mask.size, block_size, damping, len(rows)) for mask in alive]
    for piece in rows.pieces(_PIECE):
        for inverse, gradients, mask in zip(inverses, piece, alive, strict=True):
            # Weights that are gone take no part in making up for others.
            inverse.add((gradients * mask).reshape(len(gradients), -1))
    return inverses
