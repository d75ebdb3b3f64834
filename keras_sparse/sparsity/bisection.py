"""The least or most that does, found by halving."""

from __future__ import annotations

from collections.abc import Callable


def lowest_level(top: int, fits: Callable[[int], bool]) -> int | None:
    """The lowest level at which something fits, if it does at all above it.

    Args:
        top: The highest level.
        fits: Whether a level does.

    Returns:
        The level, `None` if not even the highest one does.
    """
    if not fits(top):
        return None
    low, high = -1, top
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            high = middle
        else:
            low = middle
    return high
