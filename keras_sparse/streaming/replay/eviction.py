"""Which example leaves a full buffer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from keras_sparse.streaming.replay.class_index import ClassIndex

# Of the index, the label of the example that arrives, how many have arrived with it, and random
# numbers: the place of the example that leaves, or None if it is the one that arrives.
Policy = Callable[[ClassIndex, int, int, np.random.Generator], int | None]


def class_balanced(
    index: ClassIndex, label: int, seen: int, random: np.random.Generator
) -> int | None:
    """Any example of the class with most; of several such classes the lowest label.

    Source: Wolfe (2023), 5.3.2.
    """
    largest = index.largest(label)
    members = index.members.get(largest, ())
    chosen = int(random.integers(len(members) + (largest == label)))
    return members[chosen] if chosen < len(members) else None


def uniform(index: ClassIndex, label: int, seen: int, random: np.random.Generator) -> int | None:
    """Any example. Source: Wolfe (2023), 5.5."""
    chosen = int(random.integers(len(index) + 1))
    return chosen if chosen < len(index) else None


def reservoir(index: ClassIndex, label: int, seen: int, random: np.random.Generator) -> int | None:
    """Any example, so that all that have arrived are equally likely to be stored.

    Source: Wolfe (2023), D.2.4.
    """
    chosen = int(random.integers(seen))
    return chosen if chosen < len(index) else None


POLICIES: dict[str, Policy] = {
    "class_balanced": class_balanced,
    "uniform": uniform,
    "reservoir": reservoir,
}
