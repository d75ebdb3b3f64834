"""Transfer accuracies of several upstream methods on several tasks, in one number a method."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from keras_sparse.messages.arguments import array, number, one_of, wrong
from keras_sparse.messages.warning import SparsityWarning
from keras_sparse.plots.drawing import PicturePath
from keras_sparse.plots.transfer import error_increase_by_difficulty, error_increase_by_sparsity
from keras_sparse.transfer.error_increase import (
    MeanOverTasks,
    mean_over_tasks,
    relative_error_increase,
    task_difficulty,
)

DENSE = "dense"
MODES = ("linear", "lbfgs", "full")


class Outcome(NamedTuple):
    """The accuracies of one upstream model on one task.

    Args:
        method: The upstream method; `"dense"` is the reference.
        sparsity: Of the upstream model, in [0, 1).
        task: The task's name.
        mode: `"linear"`, `"lbfgs"` or `"full"`.
        accuracies: Of each seed, fractions in the task's own metric.
    """

    method: str
    sparsity: float
    task: str
    mode: str
    accuracies: Sequence[float]


class Increase(NamedTuple):
    """The relative error increase of one method at one sparsity.

    Args:
        method: The upstream method.
        sparsity: Of the upstream model.
        tasks: Of each task.
        over_tasks: Their mean and its standard error.
    """

    method: str
    sparsity: float
    tasks: Mapping[str, float]
    over_tasks: MeanOverTasks


@dataclasses.dataclass(frozen=True)
class TransferComparison:
    """Upstream methods compared by how much more their models err than the dense one.

    Accuracies are averaged over seeds, then compared on each task, then averaged over tasks.

    ```python
    compared = TransferComparison(
        [
            Outcome("dense", 0.0, "mnist", "linear", [0.95]),
            Outcome("acdc", 0.9, "mnist", "linear", [0.94]),
        ]
    )
    print(compared.increases("linear")[0].over_tasks.mean)  # 0.2
    ```

    Args:
        outcomes: One of each method, sparsity, task and mode; `"dense"` among the methods.

    Raises:
        ValueError: If an outcome is given twice or has accuracies that are no fractions, or the
            dense model's of its task and mode is missing.

    Source: Peste (2023), 4.3.3, Figures 4.2 and 4.3.
    """

    outcomes: Sequence[Outcome]

    def __post_init__(self) -> None:
        keys = [outcome[:4] for outcome in self.outcomes]
        twice = [key for key in set(keys) if keys.count(key) > 1]
        if twice or not keys:
            raise wrong("outcomes", twice, "one at least, and one of each method, task and mode")
        for outcome in self.outcomes:
            one_of("mode", outcome.mode, MODES)
            number("sparsity", outcome.sparsity, "[0, 1)")
            array("accuracies", outcome.accuracies)
        dense = {(o.task, o.mode) for o in self.outcomes if o.method == DENSE}
        missing = sorted({(o.task, o.mode) for o in self.outcomes} - dense)
        if missing:
            raise ValueError(
                "The relative error increase needs the dense model on each task. Missing, as "
                f"(task, mode): {missing}. Add Outcome('dense', 0.0, task, mode, accuracies)."
            )

    def accuracy(self, method: str, sparsity: float, task: str, mode: str) -> float:
        """The mean over seeds.

        Raises:
            ValueError: If there is no such outcome.
        """
        for outcome in self.outcomes:
            if outcome[:4] == (method, sparsity, task, mode):
                return float(np.mean(outcome.accuracies))
        raise wrong("outcome", (method, sparsity, task, mode), "one of those given")

    def tasks(self, mode: str) -> list[str]:
        """The tasks that were transferred to, in their order."""
        return list(dict.fromkeys(o.task for o in self.outcomes if o.mode == mode))

    def increases(self, mode: str) -> list[Increase]:
        """The relative error increase of each method and sparsity, in their order.

        Tasks on which the dense model makes no error have none, and are warned of.

        Args:
            mode: `"linear"`, `"lbfgs"` or `"full"`.

        Raises:
            ValueError: If there is no task on which the dense model makes an error.
        """
        one_of("mode", mode, MODES)
        by_model: dict[tuple[str, float], dict[str, float]] = {}
        perfect: list[str] = []
        for method, sparsity, task, of_mode, accuracies in self.outcomes:
            if of_mode != mode or method == DENSE:
                continue
            dense = self.accuracy(DENSE, 0.0, task, mode)
            if dense == 1 and task not in perfect:
                perfect.append(task)
            if dense == 1 and len(perfect) < len(self.tasks(mode)):
                continue
            increase = relative_error_increase(float(np.mean(accuracies)), dense)
            by_model.setdefault((method, sparsity), {})[task] = increase
        if perfect:
            warnings.warn(
                f"On {', '.join(perfect)} the dense model makes no error in {mode} transfer, so "
                "that no increase of it is defined: the means are over the other tasks.",
                SparsityWarning,
                stacklevel=2,
            )
        return [
            Increase(method, sparsity, tasks, mean_over_tasks(list(tasks.values())))
            for (method, sparsity), tasks in by_model.items()
        ]

    def difficulty(self) -> dict[str, float]:
        """The difficulty of each task of which the dense model was transferred in both modes."""
        linear = self.tasks("linear")
        return {
            task: task_difficulty(
                *(self.accuracy(DENSE, 0.0, task, mode) for mode in ("full", "linear"))
            )
            for task in self.tasks("full")
            if task in linear
        }

    def correlation(self, mode: str) -> dict[tuple[str, float], float]:
        """Pearson's correlation of difficulty and error increase, by method and sparsity.

        Args:
            mode: `"linear"`, `"lbfgs"` or `"full"`.

        Raises:
            ValueError: If there are fewer than three tasks of both modes.
        """
        hard = self.difficulty()
        if len(hard) < 3:
            raise ValueError(
                "A correlation needs three tasks at least, on which the dense model was "
                f"transferred in both modes. Received: {list(hard)}"
            )
        found = {}
        for row in self.increases(mode):
            both = [(hard[task], value) for task, value in row.tasks.items() if task in hard]
            found[row.method, row.sparsity] = float(np.corrcoef(np.array(both).T)[0, 1])
        return found

    def print(self, mode: str, console: Console | None = None) -> None:
        """Draws a table of the error increases, in percent.

        Args:
            mode: `"linear"`, `"lbfgs"` or `"full"`.
            console: A `rich` console. Defaults to standard output.
        """
        title = f"Relative error increase over the dense model, %, {mode} transfer"
        table = Table(title=title, title_justify="left")
        tasks = self.tasks(mode)
        for i, name in enumerate(("method", "zeros", *tasks, "mean", "standard error")):
            table.add_column(name, justify="right" if i else "left", no_wrap=True)
        for row in self.increases(mode):
            cells = [f"{100 * row.tasks[t]:+.1f}" if t in row.tasks else "" for t in tasks]
            mean, error = row.over_tasks
            ends = f"{100 * mean:+.1f}", "" if np.isnan(error) else f"{100 * error:.1f}"
            table.add_row(row.method, f"{row.sparsity:.0%}", *cells, *ends)
        wide = Console(width=max(Console().width, 50 + sum(len(task) + 3 for task in tasks)))
        (console or wide).print(table)

    def plot(self, mode: str, path: PicturePath = None) -> Figure:
        """Draws the mean error increase against sparsity, a line a method.

        Args:
            mode: `"linear"`, `"lbfgs"` or `"full"`.
            path: The picture to write, ending in `.png`. Defaults to none.
        """
        curves: dict[str, list[tuple[float, float, float]]] = {}
        for row in self.increases(mode):
            curves.setdefault(row.method, []).append((row.sparsity, *row.over_tasks))
        return error_increase_by_sparsity(curves, path, title=f"{mode} transfer")

    def plot_difficulty(self, mode: str, sparsity: float, path: PicturePath = None) -> Figure:
        """Draws the error increase on each task against its difficulty, at one sparsity.

        Args:
            mode: `"linear"`, `"lbfgs"` or `"full"`.
            sparsity: Which.
            path: The picture to write, ending in `.png`. Defaults to none.

        Raises:
            ValueError: If no method was measured at this sparsity.
        """
        hard = self.difficulty()
        points = {
            row.method: {t: (hard[t], value) for t, value in row.tasks.items() if t in hard}
            for row in self.increases(mode)
            if row.sparsity == sparsity
        }
        if not points:
            known = sorted({row.sparsity for row in self.increases(mode)})
            raise wrong("sparsity", sparsity, f"one that was measured, of {known}")
        title = f"{mode} transfer, {sparsity:.0%} zeros"
        return error_increase_by_difficulty(points, path, title=title)
