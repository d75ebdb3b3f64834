"""Statements of the sources, held against what was measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from keras_sparse.experiments.document import Table
from keras_sparse.experiments.summary import mean_and_spread

# Of the columns that `Claim.cells` fills.
CLAIM_HEADER = ("at least, points", "measured", "spread", "")


class Claim(NamedTuple):
    """That one thing is better than another by some points of accuracy, in the mean over seeds.

    Args:
        better: The one.
        worse: The other.
        margin: Points by which it is better; negative if it may be that much worse.
        at: Where, if there are several places: a sparsity, a compression.
    """

    better: str
    worse: str
    margin: float
    at: Any = None

    def holds(self, better: Sequence[float], worse: Sequence[float]) -> bool:
        """Whether accuracies of the same seeds bear it out."""
        return mean_and_spread(_points(better, worse))[0] >= self.margin

    def cells(self, better: Sequence[float], worse: Sequence[float]) -> tuple[str, ...]:
        """What is claimed and what was measured, for the columns of `CLAIM_HEADER`.

        Args:
            better: Accuracies of the one, a fraction for each seed.
            worse: Accuracies of the other, from the same seeds.
        """
        mean, spread = mean_and_spread(_points(better, worse))
        return (
            f"{self.margin:+.1f}",
            f"{mean:+.2f}",
            "" if math.isnan(spread) else f"{spread:.2f}",
            "holds" if self.holds(better, worse) else "does not hold",
        )


def _points(better: Sequence[float], worse: Sequence[float]) -> list[float]:
    return [100 * one - 100 * other for one, other in zip(better, worse, strict=True)]


def checked(
    claims: Iterable[Claim], accuracies: Callable[[str, Any], Sequence[float]]
) -> list[tuple[Claim, tuple[str, ...]]]:
    """The claims whose both sides were measured, from the same seeds, with their cells.

    Args:
        claims: What is claimed.
        accuracies: Of a thing and a place, a fraction for each seed; empty if not measured.
    """
    found = []
    for claim in claims:
        better, worse = (accuracies(name, claim.at) for name in (claim.better, claim.worse))
        if len(better) and len(better) == len(worse):
            found.append((claim, claim.cells(better, worse)))
    return found


def claims_table(
    title: str,
    first: Mapping[str, Callable[[Claim], str]],
    claims: Iterable[Claim],
    accuracies: Callable[[str, Any], Sequence[float]],
) -> Table:
    """A table of the claims that were measured.

    Args:
        title: Of the table.
        first: The columns that say what is claimed, by their titles.
        claims: What is claimed.
        accuracies: As for `checked`.
    """
    rows = [
        (*(told(claim) for told in first.values()), *cells)
        for claim, cells in checked(claims, accuracies)
    ]
    return Table(title, (*first, *CLAIM_HEADER), rows)
