"""What a study of batch sizes found: the fewest steps of each cell, and all trials."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from keras_sparse.analysis.scaling import ScalingFit, fit_scaling
from keras_sparse.messages.arguments import file_path, instance, optional, wrong
from keras_sparse.storage.files import check_destination, replace_file
from keras_sparse.tuning.space import Range
from keras_sparse.tuning.steps.steps_to_result import COMPLETE, INCOMPLETE, INFEASIBLE
from keras_sparse.tuning.steps.workload import Record

EDGE = 0.05  # of the unit interval: a best trial nearer to an end asks for a wider box


class Row(NamedTuple):
    """A batch size and a sparsity.

    Args:
        sparsity: Fraction of weights that are pruned.
        batch_size: Samples of an update.
        steps: K*, the fewest steps of a complete trial; `None` if there is none.
        values: The metaparameters of that trial.
        complete: Trials that reached the goal.
        incomplete: Those that did not.
        infeasible: Those that diverged.
        at_edge: Metaparameters whose best value lies at an end of its range.
        seconds: Of that trial.
    """

    sparsity: float
    batch_size: int
    steps: int | None
    values: dict[str, float]
    complete: int
    incomplete: int
    infeasible: int
    at_edge: tuple[str, ...]
    seconds: float | None


def row_of(records: Sequence[Record], space: Mapping[str, Range]) -> Row:
    """Sums up the trials of one cell.

    Args:
        records: Its trials, at least one.
        space: The ranges of the metaparameters.
    """
    counts = {
        status: sum(each.status == status for each in records)
        for status in (COMPLETE, INCOMPLETE, INFEASIBLE)
    }
    complete = [each for each in records if each.status == COMPLETE]
    best = min(complete, key=lambda each: (each.steps, each.trial)) if complete else None
    edges: tuple[str, ...] = ()
    if best is not None:
        places = {name: space[name].place(value) for name, value in best.values.items()}
        edges = tuple(name for name, u in places.items() if not EDGE <= u <= 1 - EDGE)
    return Row(
        records[0].sparsity,
        records[0].batch_size,
        best and best.steps,
        dict(best.values) if best else {},
        counts[COMPLETE],
        counts[INCOMPLETE],
        counts[INFEASIBLE],
        edges,
        best and best.seconds,
    )


@dataclasses.dataclass(frozen=True)
class StepsTable:
    """The fewest steps to the goal at each batch size and sparsity. `BatchSizeStudy` makes it.

    Args:
        rows: A row for each cell that has a trial.
        trials: All trials.
        optimizer: The optimizer's name.
        check_every: Updates between two checks.
    """

    rows: tuple[Row, ...]
    trials: tuple[Record, ...]
    optimizer: str
    check_every: int

    @property
    def sparsities(self) -> tuple[float, ...]:
        """The sparsities, in their order."""
        return tuple(dict.fromkeys(row.sparsity for row in self.rows))

    def curve(self, sparsity: float) -> tuple[np.ndarray, np.ndarray]:
        """Batch sizes and K* of a sparsity, NaN where no trial was complete.

        Args:
            sparsity: One of `sparsities`.

        Raises:
            ValueError: If it was not studied.
        """
        if sparsity not in self.sparsities:
            raise wrong("sparsity", sparsity, f"one of those studied, {self.sparsities}")
        rows = sorted((r for r in self.rows if r.sparsity == sparsity), key=lambda r: r.batch_size)
        steps = [math.nan if row.steps is None else row.steps for row in rows]
        return np.array([row.batch_size for row in rows], float), np.array(steps, float)

    def best(self, sparsity: float, name: str) -> dict[int, float]:
        """The best value of a metaparameter at each batch size.

        Args:
            sparsity: One of `sparsities`.
            name: Such as `"learning_rate"`.
        """
        rows = [row for row in self.rows if row.sparsity == sparsity and row.steps is not None]
        return {row.batch_size: row.values[name] for row in rows}

    def ratio(self, sparsity: float, dense: float = 0.0) -> dict[int, float]:
        """The steps of a sparsity over those of another, at each batch size that both have.

        Args:
            sparsity: One of `sparsities`.
            dense: The other one.
        """
        own, other = (dict(zip(*self.curve(each), strict=True)) for each in (sparsity, dense))
        found = {int(size): own[size] / other[size] for size in own if size in other}
        return {size: ratio for size, ratio in found.items() if math.isfinite(ratio)}

    def fit(self, model: str = "theorem", **kwargs: Any) -> dict[float, ScalingFit]:
        """Curves through the steps of each sparsity. See `ks.scaling.fit_scaling`.

        Args:
            model: `"theorem"` or `"reciprocal"`.
            **kwargs: Further arguments of `fit_scaling`, such as `bootstrap`.

        Raises:
            ValueError: If too few batch sizes have a complete trial.
        """
        return {each: fit_scaling(*self.curve(each), model, **kwargs) for each in self.sparsities}

    def table(self) -> Table:
        """The rows as a table for a terminal."""
        table = Table(title=f"{self.optimizer}: fewest steps to the goal", title_justify="left")
        names = list(dict.fromkeys(name for row in self.rows for name in row.values))
        for name in ("sparsity", "batch size", "steps", *(n.replace("_", " ") for n in names)):
            table.add_column(name, justify="right")
        for name in ("complete", "incomplete", "infeasible"):
            table.add_column(name, justify="right")
        table.add_column("at an edge")
        for row in self.rows:
            steps = "none" if row.steps is None else str(row.steps)
            values = [f"{row.values[name]:.4g}" if name in row.values else "" for name in names]
            counts = (str(row.complete), str(row.incomplete), str(row.infeasible))
            cells = (f"{row.sparsity:.0%}", str(row.batch_size), steps, *values, *counts)
            table.add_row(*cells, ", ".join(row.at_edge))
        return table

    def print(self, console: Console | None = None) -> None:
        """Prints the table.

        Args:
            console: A `rich` console. Defaults to standard output.
        """
        optional(instance, "console", console, Console, "a rich Console")
        (console or Console()).print(self.table())

    def csv(self, path: str | os.PathLike[str]) -> None:
        """Writes all trials, a line each.

        Args:
            path: The file, ending in `.csv`.

        Raises:
            OSError: If it cannot be written.
        """
        destination = check_destination(file_path("path", path), ".csv")
        names = list(dict.fromkeys(name for each in self.trials for name in each.values))
        text = io.StringIO()
        fields = ("sparsity", "batch_size", "trial", "status", "steps", "error", "limit", "seconds")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["optimizer", *fields, *names])
        for each in self.trials:
            own = {**each._asdict(), "seconds": round(each.seconds, 3)}
            cells = [own[field] for field in fields]
            writer.writerow([self.optimizer, *cells, *(each.values.get(n, "") for n in names)])
        replace_file(destination, text.getvalue().encode())
