"""Normalization in full size with the moments of the channels that are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops


def broadcast_mask(kept: Sequence[Any], rank: int) -> np.ndarray:
    """Ones for what is kept, to be broadcast to an input.

    Args:
        kept: For each axis of the input, a boolean for each position, or `None` for all.
        rank: Axes of the input.
    """
    product = np.ones((1,) * rank, "float32")
    for axis, mask in enumerate(kept):
        if mask is not None:
            shape = [1] * rank
            shape[axis] = len(mask)
            product = product * np.reshape(mask, shape)
    return product.astype("float32")


class _Masked:
    """What the masked layers share.

    Args:
        kept: For each axis of the input, a boolean for each position, or `None` for all.
    """

    axis: Any
    epsilon: float
    compute_dtype: str

    def __init__(self, kept: Any = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kept = [None if mask is None else list(mask) for mask in kept]

    def get_config(self) -> dict[str, Any]:
        """The configuration with the positions that are kept."""
        return {**super().get_config(), "kept": self.kept}  # type: ignore[misc]

    def _mask(self, rank: int) -> np.ndarray:
        return broadcast_mask(self.kept, rank)

    def _normalized(self, x: Any, mask: Any, axes: Any, center: bool) -> Any:
        """`(x - mean) / sqrt(variance + epsilon)` over what is kept along some axes."""
        mask = ops.broadcast_to(mask, ops.shape(x))
        count = ops.maximum(ops.sum(mask, axis=axes, keepdims=True), 1.0)
        mean = ops.sum(x * mask, axis=axes, keepdims=True) / count if center else 0.0
        variance = ops.sum(mask * ops.square(x - mean), axis=axes, keepdims=True) / count
        return (x - mean) * ops.rsqrt(variance + self.epsilon) * mask

    def _scaled(self, y: Any, axes: list[int], scale: Any, offset: Any = None) -> Any:
        shape = [1] * len(y.shape)
        for axis in axes:
            shape[axis] = y.shape[axis]
        if scale is not None:
            y = y * ops.reshape(scale, shape)
        if offset is not None:
            y = y + ops.reshape(offset, shape)
        return ops.cast(y, self.compute_dtype)

    def _axes(self, rank: int) -> list[int]:
        given = self.axis if isinstance(self.axis, (list, tuple)) else [self.axis]
        return [axis % rank for axis in given]


@keras.saving.register_keras_serializable(package="keras_sparse")
class MaskedLayerNormalization(_Masked, keras.layers.LayerNormalization):
    """Layer normalization over the channels that are kept."""

    def call(self, inputs: Any) -> Any:
        """Normalizes."""
        x = ops.cast(inputs, "float32")
        axes = self._axes(len(x.shape))
        y = self._normalized(x, self._mask(len(x.shape)), axes, center=True)
        return self._scaled(y, axes, self.gamma, self.beta)


@keras.saving.register_keras_serializable(package="keras_sparse")
class MaskedRMSNormalization(_Masked, keras.layers.RMSNormalization):
    """Root mean square normalization over the channels that are kept."""

    def call(self, inputs: Any) -> Any:
        """Normalizes."""
        x = ops.cast(inputs, "float32")
        axes = self._axes(len(x.shape))
        y = self._normalized(x, self._mask(len(x.shape)), axes, center=False)
        return self._scaled(y, axes, self.scale)


@keras.saving.register_keras_serializable(package="keras_sparse")
class MaskedGroupNormalization(_Masked, keras.layers.GroupNormalization):
    """Group normalization over the channels that are kept; a group may be gone."""

    def call(self, inputs: Any) -> Any:
        """Normalizes."""
        x = ops.cast(inputs, "float32")
        (axis,) = self._axes(len(x.shape))
        size = x.shape[axis] // self.groups
        mask = ops.broadcast_to(self._mask(len(x.shape)), ops.shape(x))
        # What is not kept counts as little as it may, so that a group that is gone divides by one.
        split = [
            ops.reshape(t, (*ops.shape(t)[:axis], self.groups, size, *ops.shape(t)[axis + 1 :]))
            for t in (x, mask)
        ]
        axes = [i for i in range(1, len(x.shape) + 1) if i != axis]
        count = ops.maximum(ops.sum(split[1], axis=axes, keepdims=True), 1.0)
        mean = ops.sum(split[0] * split[1], axis=axes, keepdims=True) / count
        squares = split[1] * ops.square(split[0] - mean)
        variance = ops.sum(squares, axis=axes, keepdims=True) / count
        y = (split[0] - mean) * ops.rsqrt(variance + self.epsilon) * split[1]
        return self._scaled(ops.reshape(y, ops.shape(x)), [axis], self.gamma, self.beta)
