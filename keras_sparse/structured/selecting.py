"""Which units to keep, from their scores, so that a target is met."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from keras_sparse.messages.arguments import integer, number
from keras_sparse.structured.coupling.groups import Group

SCOPES = ("global", "group")
_LEVELS = 1000


@dataclasses.dataclass(frozen=True)
class Bounds:
    """How little may be left of a group.

    Args:
        least: Units that stay of each group, by its name.
        multiple: What the number of units that stay is a multiple of.
    """

    least: Mapping[str, int]
    multiple: int = 1

    @classmethod
    def of(
        cls, groups: Sequence[Group], min_channels: int, max_removed: float, round_to: int
    ) -> Bounds:
        """The bounds that the arguments of `prune` set, relative to some groups.

        Raises:
            ValueError: If one is out of range.
        """
        least = integer("min_channels", min_channels)
        part = number("max_removed", max_removed, "(0, 1]")
        floors = {g.name: max(least, math.ceil(g.size * (1 - part))) for g in groups}
        return cls(floors, integer("round_to", round_to))


class Ladder:
    """What to keep at each of many levels, from everything to as little as may be.

    Args:
        groups: The groups out of which units are removed.
        scores: A score for each of their units, by name.
        scope: `"global"` to remove the smallest scores of all groups, `"group"` to remove the
            same part of each.
        bounds: How little may be left.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        scores: Mapping[str, np.ndarray],
        scope: str,
        bounds: Bounds,
    ) -> None:
        self.groups = list(groups)
        self.bounds = bounds
        self._order = [np.argsort(scores[group.name], kind="stable") for group in groups]
        self._ranks: list[np.ndarray] | None = None
        if scope == "global":
            self.top = sum(int(np.count_nonzero(group.free)) for group in groups)
            self._ranks = _ranks(groups, scores)
        else:
            self.top = _LEVELS

    def keep(self, level: int) -> dict[str, np.ndarray]:
        """Booleans for each unit of each group.

        Args:
            level: From 0, where everything is kept, to `top`.
        """
        kept = {}
        for i, group in enumerate(self.groups):
            if self._ranks is None:
                count = int(level / _LEVELS * np.count_nonzero(group.free))
                candidates = [unit for unit in self._order[i] if group.free[unit]]
                gone = np.zeros(group.size, bool)
                gone[candidates[:count]] = True
            else:
                gone = group.free & (self._ranks[i] < level)
            kept[group.name] = self._within_bounds(group, ~gone, self._order[i])
        return kept

    def _within_bounds(self, group: Group, kept: np.ndarray, order: np.ndarray) -> np.ndarray:
        """The same with the best of what is removed put back, until enough is kept."""
        best = order[::-1]
        for limit in group.limits:
            if not kept[limit].any():
                kept[best[np.isin(best, limit)][0]] = True
        least = max(self.bounds.least.get(group.name, 1), int(kept.sum()))
        wanted = min(group.size, math.ceil(least / self.bounds.multiple) * self.bounds.multiple)
        missing = [unit for unit in best if not kept[unit]][: max(0, wanted - int(kept.sum()))]
        kept[missing] = True
        return kept


def _ranks(groups: Sequence[Group], scores: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The place of each unit in the order of the scores of all free units."""
    free = np.concatenate([np.zeros(0, bool), *(group.free for group in groups)]).astype(bool)
    every = np.concatenate([np.zeros(0), *(scores[group.name] for group in groups)])
    ranks = np.full(len(every), len(every))
    order = np.argsort(np.where(free, every, np.inf), kind="stable")[: int(free.sum())]
    ranks[order] = np.arange(len(order))
    return np.split(ranks, np.cumsum([group.size for group in groups])[:-1])
