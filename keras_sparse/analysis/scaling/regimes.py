"""How far larger batches pay: efficiency, regimes, and the table of speed-ups."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from rich.table import Table

from keras_sparse.analysis.scaling.fit import measured_pairs
from keras_sparse.messages.arguments import number, text

PERFECT, DIMINISHING, MAXIMAL = "perfect", "diminishing", "maximal"
_PLATEAU = 1.1  # of the fewest steps, up to which a batch size is on the plateau


class Speedup(NamedTuple):
    """What a batch size brings.

    Args:
        batch_size: B.
        steps: K at B.
        speedup: The steps at the smallest batch size over those at B.
        efficiency: `K(B0) B0 / (K(B) B)`: 1 where twice the batch halves the steps.
        examples: `B K(B)`, the examples that were processed.
        regime: `"perfect"`, `"diminishing"` or `"maximal"`.
    """

    batch_size: float
    steps: float
    speedup: float
    efficiency: float
    examples: float
    regime: str


def speedups(batch_sizes: ArrayLike, steps: ArrayLike, least: float = 0.8) -> list[Speedup]:
    """What each batch size brings over the smallest.

    ```python
    for row in speedups([1, 2, 4, 8], [100, 50, 30, 29]):
        print(row.batch_size, row.speedup, row.regime)
    ```

    Args:
        batch_sizes: B, one-dimensional.
        steps: K at each.
        least: The efficiency from which scaling counts as perfect.

    Returns:
        A `Speedup` for each, the smallest batch size first.

    Raises:
        ValueError: If an argument is out of range.
    """
    number("least", least, "(0, 1]")
    sizes, found = measured_pairs(batch_sizes, steps)
    order = np.argsort(sizes, kind="stable")
    sizes, found = sizes[order], found[order]
    rows = []
    for size, count in zip(sizes.tolist(), found.tolist(), strict=True):
        efficiency = float(found[0] * sizes[0]) / (count * size)
        regime = DIMINISHING
        if efficiency >= least:
            regime = PERFECT
        elif count <= _PLATEAU * found.min():
            regime = MAXIMAL
        speedup = float(found[0]) / count
        rows.append(Speedup(size, count, speedup, efficiency, size * count, regime))
    return rows


def critical_batch(batch_sizes: ArrayLike, steps: ArrayLike, least: float = 0.8) -> float:
    """The largest batch size whose scaling is perfect, as it was measured.

    ```python
    critical_batch([1, 2, 4, 8], [100, 50, 30, 29])  # 4
    ```

    Args:
        batch_sizes: As for `speedups`, like the others.
        steps: K at each.
        least: The efficiency from which scaling counts as perfect.

    Raises:
        ValueError: If an argument is out of range.
    """
    rows = speedups(batch_sizes, steps, least)
    return max(row.batch_size for row in rows if row.efficiency >= least)


def speedup_table(batch_sizes: ArrayLike, steps: ArrayLike, title: str = "") -> Table:
    """The speed-ups as a table for a terminal.

    Args:
        batch_sizes: As for `speedups`.
        steps: K at each.
        title: Of the table.
    """
    table = Table(title=text("title", title), title_justify="left")
    for name in ("batch size", "steps", "speed-up", "efficiency", "examples"):
        table.add_column(name, justify="right")
    table.add_column("scaling")
    for row in speedups(batch_sizes, steps):
        cells = (f"{row.batch_size:g}", f"{row.steps:g}", f"{row.speedup:.2f}")
        table.add_row(*cells, f"{row.efficiency:.2f}", f"{row.examples:,.0f}", row.regime)
    return table
