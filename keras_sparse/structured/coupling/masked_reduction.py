"""Reductions in full size over the channels that are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_sparse.messages.arguments import one_of
from keras_sparse.structured.coupling.masked_normalization import broadcast_mask

# By their names, with what is never chosen.
_CHOICES = {
    **dict.fromkeys(("Max", "Amax"), (ops.max, float("-inf"))),
    **dict.fromkeys(("Min", "Amin"), (ops.min, float("inf"))),
    "All": (ops.all, True),
    "Any": (ops.any, False),
}
REDUCTIONS = (*_CHOICES, "Mean", "Std", "Sum", "Var")


@keras.saving.register_keras_serializable(package="keras_sparse")
class MaskedReduction(keras.layers.Layer):
    """A reduction over what is kept.

    Args:
        kind: A name in `REDUCTIONS`, that of the operation of Keras.
        axes: The axes that are reduced.
        keepdims: Whether they stay, of size 1.
        kept: For each axis of the input, a boolean for each position, or `None` for all.
        initial: What maxima or minima are taken with, `None` for nothing.
        **kwargs: As of `keras.layers.Layer`.
    """

    def __init__(
        self,
        kind: str,
        axes: Sequence[int],
        keepdims: bool,
        kept: Sequence[Any],
        initial: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.kind = one_of("kind", kind, REDUCTIONS)
        self.axes, self.keepdims = list(axes), keepdims
        self.kept = [None if mask is None else list(mask) for mask in kept]
        self.initial = initial

    def get_config(self) -> dict[str, Any]:
        """The configuration with the positions that are kept."""
        names = ("kind", "axes", "keepdims", "kept", "initial")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def call(self, inputs: Any) -> Any:
        """Reduces."""
        mask = ops.broadcast_to(broadcast_mask(self.kept, len(inputs.shape)), ops.shape(inputs))
        if self.kind in _CHOICES:
            reduce, never = _CHOICES[self.kind]
            found = ops.where(mask > 0, inputs, never)
            more = {} if self.initial is None else {"initial": self.initial}
            return self._over(reduce, found, **more)
        mask = ops.cast(mask, inputs.dtype)
        if self.kind == "Sum":
            return self._over(ops.sum, inputs * mask)
        count = ops.maximum(ops.sum(mask, axis=self.axes, keepdims=True), 1)
        if self.kind == "Mean":
            return self._over(ops.sum, inputs * mask / count)
        mean = ops.sum(inputs * mask / count, axis=self.axes, keepdims=True)
        variance = self._over(ops.sum, mask * ops.square(inputs - mean) / count)
        return ops.sqrt(variance) if self.kind == "Std" else variance

    def _over(self, reduce: Any, values: Any, **more: Any) -> Any:
        return reduce(values, axis=self.axes, keepdims=self.keepdims, **more)
