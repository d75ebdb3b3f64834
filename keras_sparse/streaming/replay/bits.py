"""The upper bits of bytes, packed without a gap."""

from __future__ import annotations

import numpy as np


def pack_bits(values: np.ndarray, bits: int) -> np.ndarray:
    """Keeps the upper bits of each byte.

    Args:
        values: Uint8, `(n, k)`.
        bits: Of each value, 1 to 8.

    Returns:
        Uint8, `(n, ceil(k * bits / 8))`: the numbers `value // 2^(8 - bits)`, each in `bits` bits.
    """
    if bits == 8:
        return values
    upper = np.unpackbits(values[..., None], axis=-1, count=bits)
    return np.packbits(upper.reshape(len(values), -1), axis=-1)


def unpack_bits(packed: np.ndarray, bits: int, count: int) -> np.ndarray:
    """What `pack_bits` kept, at its place in the byte: `value // 2^(8 - bits) * 2^(8 - bits)`.

    Args:
        packed: Uint8, `(n, ceil(count * bits / 8))`.
        bits: Of each value, 1 to 8.
        count: Values in a row.

    Returns:
        Uint8, `(n, count)`.
    """
    if bits == 8:
        return packed
    upper = np.unpackbits(packed, axis=-1, count=count * bits)
    return np.packbits(upper.reshape(len(packed), count, bits), axis=-1)[..., 0]
