"""How many weights are not zero."""

from __future__ import annotations

from typing import Any

from keras import ops

_AT_ONCE = 2**22


def count_nonzero(tensor: Any) -> int:
    """The entries of a tensor or variable that are not zero, counted without a copy of it."""
    flat = ops.reshape(ops.convert_to_tensor(tensor), (-1,))
    starts = range(0, flat.shape[0], _AT_ONCE)
    return sum(int(ops.count_nonzero(flat[at : at + _AT_ONCE])) for at in starts)
