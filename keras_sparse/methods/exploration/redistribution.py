"""Sharing a number of weights out over tensors, inside the compiled graph."""

from __future__ import annotations

from typing import Any

from keras import ops

_SMALLEST = 1e-37  # below it float32 is no longer exact


def share_out(total: Any, shares: Any, capacity: Any) -> Any:
    """Splits a number in proportion to shares; what does not fit goes to the other tensors.

    Args:
        total: Integer scalar, at most the sum of `capacity`.
        shares: Numbers >= 0 of shape `(tensors,)`.
        capacity: Integers of shape `(tensors,)`.

    Returns:
        Integers of shape `(tensors,)` that sum up to `total`, none above its capacity.
    """
    total, capacity = ops.cast(total, "int32"), ops.cast(capacity, "int32")
    shares = ops.cast(shares, "float32")

    def fill(_: Any, given: Any) -> Any:
        room = capacity - given
        wanted = ops.where(room > 0, shares, ops.zeros_like(shares))
        # Relative to the largest, so that shares may be as small as gradients are.
        largest = ops.max(wanted)
        some = largest > _SMALLEST
        relative = wanted / ops.where(some, largest, ops.ones_like(largest))
        wanted = ops.where(some, relative, ops.cast(room, "float32"))
        rest = total - ops.sum(given)
        # Cumulative rounding, so that the parts sum up to the whole.
        upto = ops.cumsum(wanted) / ops.maximum(ops.sum(wanted), 1e-30)
        upto = ops.cast(ops.round(upto * ops.cast(rest, "float32")), "int32")
        parts = ops.concatenate([upto[:1], upto[1:] - upto[:-1]])
        return given + ops.minimum(parts, room)

    # Each pass fills a tensor to the brim or places everything.
    return ops.fori_loop(0, int(capacity.shape[0]) + 1, fill, ops.zeros_like(capacity))
