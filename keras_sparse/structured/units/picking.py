"""The loop of greedy selection: one unit after the other, each the best of its candidates."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from keras_sparse.messages.arguments import boolean, integer, number, optional, random_seed, wrong
from keras_sparse.structured.units.greedy_selection import GreedySelection


@dataclasses.dataclass(frozen=True)
class Plan:
    """How many units are picked, from which candidates, on which samples.

    Args:
        units: N.
        rows: Samples.
        size: Picks. Defaults to as many as `epsilon` takes.
        epsilon: Where to stop.
        batch_size: Samples of the batch that is drawn for each pick. Defaults to all samples.
        replacement: Whether a unit can be picked again.
        num_candidates: Units drawn for each pick. Defaults to all.
        count_unique: Whether `size` counts units, not picks.
        seed: Of the draws.
    """

    units: int
    rows: int
    size: int | None = None
    epsilon: float | None = None
    batch_size: int | None = None
    replacement: bool = True
    num_candidates: int | None = None
    count_unique: bool = False
    seed: int | None = 0

    def __post_init__(self) -> None:
        boolean("replacement", self.replacement)
        boolean("count_unique", self.count_unique)
        limited = not self.replacement or self.count_unique
        optional(integer, "size", self.size, 1, self.units if limited else None)
        optional(number, "epsilon", self.epsilon, "[0, inf)")
        optional(integer, "batch_size", self.batch_size, 1, self.rows)
        optional(integer, "num_candidates", self.num_candidates)
        random_seed("seed", self.seed)
        if (self.size is None) == (self.epsilon is None):
            raise wrong(
                "size", self.size, "given, or epsilon", "One of size and epsilon, not both."
            )

    @property
    def most(self) -> int:
        """Picks after which the selection ends whatever it has come to."""
        if self.size is None or self.count_unique:
            return self.units if not self.replacement or self.size is None else 100 * self.units
        return self.size

    def ends(self, counts: np.ndarray) -> bool:
        """Whether as many are picked as were asked for."""
        if self.size is not None and self.count_unique:
            return bool(np.count_nonzero(counts) >= self.size or counts.sum() >= self.most)
        return bool(counts.sum() >= self.most)

    def candidates(self, counts: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """The units among which the next one is."""
        free = np.arange(self.units) if self.replacement else np.flatnonzero(counts == 0)
        if self.num_candidates is None or self.num_candidates >= len(free):
            return free
        return np.sort(generator.choice(free, self.num_candidates, replace=False))


class Units(Protocol):
    """The units of a layer, as the loop sees them.

    Attributes:
        digits: Losses that agree to so many digits of that of no unit at all are equal, so that
            the order in which numbers are added up does not tell which unit is picked.
    """

    digits: int

    def losses(self, units: np.ndarray, rows: np.ndarray | None) -> np.ndarray:
        """The loss with each of some units added, on some rows."""

    def agree(self, loss: float, unit: int) -> int:
        """The unit that is picked, given the best of those seen here; adds it."""

    def loss(self) -> float:
        """The loss on all rows with what has been added."""


def pick_greedily(
    plan: Plan,
    units: Units,
    start: float,
    own: Any = None,
    reached: Callable[[], bool] | None = None,
) -> GreedySelection:
    """Picks units one after the other.

    Args:
        plan: How many, from which, on which samples.
        units: What is picked from.
        start: The loss with no unit at all.
        own: The units that are looked at here, the others being other workers'. Defaults to all.
        reached: Whether enough is picked. Defaults to a loss of at most `epsilon`.

    Returns:
        The `GreedySelection`, of the uniform average of the picks.
    """
    seed = int(np.random.default_rng().integers(2**32)) if plan.seed is None else plan.seed
    batches, drawn = (np.random.default_rng((seed, stream)) for stream in range(2))
    counts = np.zeros(plan.units, int)
    picks: list[int] = []
    losses: list[float] = []
    seconds: list[float] = []
    began = time.perf_counter()
    scale = abs(start) or 1.0
    while not plan.ends(counts):
        rows = None
        if plan.batch_size is not None:
            rows = np.sort(batches.choice(plan.rows, plan.batch_size, replace=False))
        candidates = plan.candidates(counts, drawn)
        if own is not None:
            candidates = candidates[np.isin(candidates, own)]
        best, unit = np.inf, plan.units
        if len(candidates):
            found = np.round(units.losses(candidates, rows) / scale, units.digits)
            place = int(np.argmin(found))
            best, unit = float(found[place]), int(candidates[place])
        unit = units.agree(best, unit)
        counts[unit] += 1
        picks.append(unit)
        losses.append(units.loss())
        seconds.append(time.perf_counter() - began)
        if plan.epsilon is not None and (
            losses[-1] <= plan.epsilon if reached is None else reached()
        ):
            break
    return GreedySelection(
        np.array(picks), np.array(losses), np.array(seconds), counts / counts.sum()
    )
