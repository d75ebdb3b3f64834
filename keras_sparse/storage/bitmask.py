"""Arrays as a bit for each entry, and the entries that are not zero."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def pack(array: np.ndarray) -> bytes | None:
    """The bits of which entries are not zero, eight a byte, followed by those entries in order.

    An entry is zero if all its bits are: negative zero and NaN are kept, with every bit.

    Args:
        array: Numbers or other entries of a fixed size, of any shape.

    Returns:
        The bytes, or None where they would be no fewer than the array's own.
    """
    entries = _entries(array)
    kept = entries.any(axis=1)
    if packed_size(array.size, array.itemsize, int(kept.sum())) >= array.nbytes:
        return None
    return np.packbits(kept).tobytes() + entries[kept].tobytes()


def unpack(packed: bytes, dtype: np.dtype, shape: Sequence[int]) -> np.ndarray:
    """The array that `pack` made these bytes of.

    Args:
        packed: The bytes.
        dtype: The array's type.
        shape: Its shape.

    Raises:
        ValueError: If they are not as many as such an array has.
    """
    size = math.prod(shape)
    bits = np.frombuffer(packed, np.uint8)[: packed_size(size, 0, 0)]
    kept = np.unpackbits(bits, count=size).astype(bool)
    expected = packed_size(size, dtype.itemsize, int(kept.sum()))
    if len(packed) != expected:
        raise ValueError(
            f"An array of shape {tuple(shape)} and type {dtype} takes {expected:,} bytes here, but "
            f"there are {len(packed):,}"
        )
    array = np.zeros(shape, dtype)
    values = np.frombuffer(packed, np.uint8, offset=len(bits)).reshape(-1, dtype.itemsize)
    _entries(array)[kept] = values
    return array


def packed_size(size: int, itemsize: int, kept: int) -> int:
    """The bytes that `pack` makes of an array.

    Args:
        size: The number of its entries.
        itemsize: The bytes of an entry.
        kept: The number of entries that are not zero.
    """
    return -(-size // 8) + kept * itemsize


def _entries(array: np.ndarray) -> np.ndarray:
    """The bytes of each entry as a row: a view where the array is contiguous."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).reshape(-1, array.itemsize)
