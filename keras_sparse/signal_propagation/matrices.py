"""The kernels of a model as matrices, of window and inputs by outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_sparse.probe.layout import Layout
from keras_sparse.sparsity.given_masks import masks_of
from keras_sparse.sparsity.selection import Target, survey

# Of the smaller side of a kernel's matrix, whose square the Gram matrix is: 2^22 numbers.
LARGEST_GRAM = 2048


class KernelMatrix(NamedTuple):
    """A kernel that signals pass through.

    Args:
        target: What it is.
        variable: The Keras variable.
        matrix: Its masked values in float64, `(window and inputs, outputs)`.
        mask: Which of them are kept, of the same shape.
        reason: Why it has no isometry that could be asked for, `None` if it has.
    """

    target: Target
    variable: Any
    matrix: np.ndarray
    mask: np.ndarray
    reason: str | None


def kernel_matrices(
    model: keras.Model, masks: Mapping[str, Any] | Sequence[Any] | None = None
) -> list[KernelMatrix]:
    """All kernels of a model that could be pruned, embeddings left out.

    Args:
        model: A built Keras model.
        masks: Boolean arrays, as `StaticMask(mask=...)` takes them. Defaults to where the weights
            are not zero.

    Raises:
        ValueError: If the model is unbuilt or has no kernel, or masks do not fit it.
    """
    selection = survey(model)
    if not selection.targets:
        raise ValueError(f"Model {model.name!r} has no kernel that signals pass through.")
    variables = selection.variables(model)
    values = [np.asarray(ops.convert_to_numpy(ops.cast(v, "float32")), float) for v in variables]
    given = [value != 0 for value in values] if masks is None else masks_of(selection, masks)
    return [
        KernelMatrix(
            target,
            variable,
            as_matrix(np.where(mask, value, 0.0), target.layout),
            as_matrix(mask, target.layout),
            _reason(target.layout, mask),
        )
        for target, variable, value, mask in zip(
            selection.targets, variables, values, given, strict=True
        )
    ]


def as_matrix(array: np.ndarray, layout: Layout) -> np.ndarray:
    """An array of a kernel's shape as `(window and inputs, outputs)`."""
    positions, inputs, outputs = layout.matrix_shape
    matrix = ops.convert_to_numpy(layout.to_matrix(array))
    return np.asarray(matrix).reshape(positions * inputs, outputs)


def from_matrix(matrix: np.ndarray, layout: Layout) -> np.ndarray:
    """The inverse of `as_matrix`."""
    return np.asarray(ops.convert_to_numpy(layout.from_matrix(matrix.reshape(layout.matrix_shape))))


def _reason(layout: Layout, mask: np.ndarray) -> str | None:
    if not layout.inputs:
        return "depthwise: each channel has a filter of its own, and no matrix"
    positions, inputs, outputs = layout.matrix_shape
    side = min(positions * inputs, outputs)
    if side > LARGEST_GRAM:
        return f"its Gram matrix would be {side}x{side}, larger than {LARGEST_GRAM}"
    return None if mask.any() else "nothing is left of it"
