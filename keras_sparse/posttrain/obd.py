"""Optimal Brain Damage: pruning by the diagonal of the Fisher matrix."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from typing_extensions import Unpack

from keras_sparse.messages.arguments import integer
from keras_sparse.messages.keywords import known_keywords
from keras_sparse.posttrain.command import command
from keras_sparse.posttrain.fisher import GradientRows
from keras_sparse.posttrain.pruned_weights import PrunedWeights
from keras_sparse.sparsity.recipe import RecipeArguments
from keras_sparse.sparsity.report import SparsityReport

_PIECE = 4


@command
@known_keywords(RecipeArguments)
def obd(
    model: keras.Model,
    data: Any,
    sparsity: float | None = None,
    *,
    samples_per_gradient: int = 1,
    loss: Any = None,
    **kwargs: Unpack[RecipeArguments],
) -> SparsityReport:
    """Removes the weights whose own curvature says that the loss misses them least.

    Weights are ranked by `H_qq theta_q^2 / 2`, with the diagonal of the empirical Fisher matrix,
    the mean of the squared gradients, for `H_qq`. The weights that stay are not changed.

    Memory: 100 bytes a weight besides the model, whatever the number of samples.

    ```python
    model.compile(loss="sparse_categorical_crossentropy")
    ks.obd(model, (x[:1000], y[:1000]), sparsity=0.9)
    ```

    Args:
        model: A built Keras model.
        data: Calibration data: `(x, y)`, or a finite iterable of `(x, y)` batches.
        sparsity: Fraction of weights to remove. See `prune`.
        samples_per_gradient: Samples that one gradient is the mean of.
        loss: A loss, if not the one that the model is compiled with.
        **kwargs: `granularity`, `allocation`, `exclude`, `include`, `keep_dense`, `strict`: see
            `SparseCallback`.

    Returns:
        A `SparsityReport` of the pruned model.

    Raises:
        ValueError: For arguments out of range, a model with nothing to prune or without a loss,
            too few samples, or gradients that are all zero or not finite.

    Source: LeCun, Denker and Solla (1990).
    """
    integer("samples_per_gradient", samples_per_gradient)
    chosen = PrunedWeights(model, sparsity, kwargs)
    rows = GradientRows(model, chosen.variables, data, samples_per_gradient, loss)
    curvature = [np.zeros(layout.shape) for layout in chosen.layouts]
    for piece in rows.pieces(_PIECE):
        for total, gradients in zip(curvature, piece, strict=True):
            total += np.sum(gradients**2, axis=0) / len(rows)
    weights = chosen.read()
    scores = [obd_scores(w, h) for w, h in zip(weights, curvature, strict=True)]
    chosen.write(weights, chosen.masks(scores, chosen.budgets()[0]))
    return chosen.report()


def obd_scores(weights: np.ndarray, curvature: np.ndarray) -> np.ndarray:
    """What removing each weight adds to the loss, `H_qq theta_q^2 / 2`."""
    return curvature * weights**2 / 2
