"""The Hessians of layers' outputs: products of what the layers of a model take in."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_sparse.messages.warning import SparsityWarning
from keras_sparse.posttrain.layer_inputs import chosen_layers, input_rows, recorded
from keras_sparse.posttrain.pruned_weights import PrunedWeights
from keras_sparse.probe.calibration import calibration_batches


def hessians(chosen: PrunedWeights, data: Any, batch_size: int, method: str) -> list[np.ndarray]:
    """`H = X X^T` of the inputs of each chosen layer, over all samples and kernel positions.

    Where inputs cannot be seen H is the identity, for which every method that uses it comes down
    to magnitude, and a `SparsityWarning` names the layer.

    Memory: `d * d * 8` bytes for each layer of d inputs (`height * width * channels` of a
    kernel), and the inputs of one batch, for a convolution `height * width` times.

    Args:
        chosen: The weights to prune.
        data: Calibration data. See `calibration_batches`.
        batch_size: Samples in a batch, for arrays.
        method: Name of the method, for the warning.

    Returns:
        For each target a float64 array of shape `(d, d)`.
    """
    layers = chosen_layers(chosen)
    found: list[np.ndarray | None] = [None] * len(layers)
    for x, _ in calibration_batches(chosen.model, data, batch_size, targets=False):
        for i, inputs in enumerate(recorded(chosen.model, layers, x)):
            for one in inputs:
                rows = input_rows(layers[i], chosen.variables[i], one)
                product = rows.T @ rows
                found[i] = product if found[i] is None else found[i] + product
    unseen = [t.path for t, h in zip(chosen.selection.targets, found, strict=True) if h is None]
    warn_of_magnitude(unseen, method, stacklevel=4)
    sizes = [layout.matrix_shape[0] * layout.matrix_shape[1] for layout in chosen.layouts]
    return [np.eye(d) if h is None else h for d, h in zip(sizes, found, strict=True)]


def warn_of_magnitude(
    paths: Sequence[str],
    method: str,
    stacklevel: int,
    seen: str = "Dense, EinsumDense (without an axis that inputs, kernel and outputs share) and "
    "ungrouped convolution layers",
) -> None:
    """Names the weights that are pruned by magnitude because their inputs cannot be seen."""
    if paths:
        warnings.warn(
            f"{method} sees the inputs of {seen} only. Pruned by magnitude instead: "
            f"{', '.join(paths)}. To leave them dense, name them in exclude.",
            SparsityWarning,
            stacklevel=stacklevel,
        )


def damped(hessian: np.ndarray, damping: float) -> tuple[np.ndarray, np.ndarray]:
    """A Hessian that can be inverted, and the inputs that are always zero.

    Args:
        hessian: Shape `(d, d)`.
        damping: Added to the diagonal, as a fraction of its mean.

    Returns:
        The damped Hessian, with ones on the diagonal for dead inputs, and a boolean array of
        shape `(d,)`, True for those: their weights do nothing.
    """
    dead = np.diag(hessian) == 0
    result = hessian.copy()
    live = np.diag(hessian)[~dead]
    result[np.diag_indices_from(result)] += damping * (live.mean() if live.size else 0.0)
    result[dead, dead] = 1
    return result, dead
