"""What a sweep came to: its trials, those that no other dominates, the best."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from keras_sparse.messages.arguments import file_path, instance, one_of, optional
from keras_sparse.plots.drawing import PicturePath
from keras_sparse.plots.pareto import pareto_plot
from keras_sparse.storage.files import check_destination, replace_file
from keras_sparse.tuning.objectives import Objective, check_objectives
from keras_sparse.tuning.space import REVERSED
from keras_sparse.tuning.trials import COMPLETE, Trial, pareto_front, read_trials


@dataclasses.dataclass(frozen=True)
class SweepResult:
    """The trials of a sweep. `SparseTuner.result` and `OptunaSweep.result` make it.

    Args:
        trials: Those that have ended.
        objectives: What was looked for.
    """

    trials: tuple[Trial, ...]
    objectives: tuple[Objective, ...]

    @classmethod
    def read(cls, directory: str | os.PathLike[str], objectives: Any) -> SweepResult:
        """Reads the trials that a sweep has left in its folder.

        Args:
            directory: The folder with a folder for each trial.
            objectives: As for `SparseTuner`.

        Raises:
            ValueError: If a file is damaged, or has other objectives.
        """
        trials = read_trials(file_path("directory", directory))
        wanted = check_objectives(objectives)
        missing = {each.name for each in wanted} - set(trials[0].scores if trials else ())
        if trials and missing:
            raise ValueError(
                f"The sweep in {os.fspath(directory)!r} was made for the objectives "
                f"{', '.join(trials[0].scores)}. Received: objectives={sorted(missing)}"
            )
        return cls(tuple(trials), wanted)

    @property
    def front(self) -> list[Trial]:
        """The complete trials that no other dominates, the best in the first objective first."""
        return pareto_front(self.trials, self.objectives)

    @property
    def best(self) -> Trial:
        """The complete trial that is the best in the first objective.

        Raises:
            ValueError: If no trial is complete.
        """
        if not self.front:
            raise ValueError(
                f"None of {len(self.trials)} trials is complete: all diverged, or none has ended. "
                "Search with lower learning rates."
            )
        return self.front[0]

    def to_dict(self) -> dict[str, Any]:
        """The sweep as JSON-able values."""
        return {
            "objectives": [dataclasses.asdict(each) for each in self.objectives],
            "front": [trial.name for trial in self.front],
            "trials": [trial._asdict() for trial in self.trials],
        }

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes a JSON file.

        Args:
            path: The file, ending in `.json`.

        Raises:
            OSError: If it cannot be written.
        """
        destination = check_destination(file_path("path", path), ".json")
        replace_file(destination, (json.dumps(self.to_dict(), indent=1) + "\n").encode())

    def table(self) -> Table:
        """The Pareto front as a table, and how many trials there were."""
        infeasible = sum(trial.status != COMPLETE for trial in self.trials)
        title = f"{len(self.front)} of {len(self.trials)} trials that no other dominates"
        title += f" ({infeasible} diverged)" if infeasible else ""
        table = Table(title=title, title_justify="left")
        found = {trial.name: readable(trial.values) for trial in self.front}
        names = list(dict.fromkeys(name for values in found.values() for name in values))
        for name in ("trial", *names):
            table.add_column(name.replace("_", " "))
        for each in self.objectives:
            table.add_column(f"{each.name} ({each.direction})", justify="right")
        for trial in self.front:
            values = [shown(found[trial.name].get(name, "")) for name in names]
            scores = [shown(trial.scores[each.name]) for each in self.objectives]
            table.add_row(trial.name.removeprefix("trial_"), *values, *scores)
        return table

    def print(self, console: Console | None = None) -> None:
        """Prints the table.

        Args:
            console: A `rich` console. Defaults to standard output.
        """
        optional(instance, "console", console, Console, "a rich Console")
        (console or Console()).print(self.table())

    def plot(self, path: PicturePath = None, x: str | None = None, y: str | None = None) -> Figure:
        """Draws the complete trials by two of the objectives.

        Args:
            path: The picture to write, ending in `.png`. Defaults to none.
            x: The objective across. Defaults to the second one.
            y: The objective upwards. Defaults to the first one.

        Returns:
            The matplotlib `Figure`.

        Raises:
            ValueError: If there are no two objectives, or no complete trial.
        """
        by_name = {each.name: each for each in self.objectives}
        if len(by_name) < 2:
            raise ValueError(
                "A picture of a Pareto front takes two objectives. Received: "
                f"objectives={list(by_name)}. Search for ('accuracy', 'bytes'), for example."
            )
        across = one_of("x", x or list(by_name)[1], by_name)
        upwards = one_of("y", y or next(iter(by_name)), by_name)
        shown = (by_name[upwards], by_name[across])
        complete = [trial for trial in self.trials if trial.status == COMPLETE]
        front = {trial.name for trial in pareto_front(complete, shown)}
        points = [
            {
                "cost": trial.scores[across],
                "metric": trial.scores[upwards],
                "name": trial.values.get("method", "trials"),
                "front": trial.name in front,
            }
            for trial in complete
        ]
        return pareto_plot(
            points,
            path,
            xlabel=across,
            ylabel=upwards,
            lower_is_better=by_name[upwards].direction == "min",
            title=f"{len(complete)} trials",
        )


def readable(values: dict[str, Any]) -> dict[str, Any]:
    """Hyperparameters as they are meant, without what keras-tuner adds."""
    own = {name: value for name, value in values.items() if not name.startswith("tuner/")}
    return {
        name.removeprefix(REVERSED): 1 - value if name.startswith(REVERSED) else value
        for name, value in own.items()
    }


def shown(value: Any) -> str:
    """A hyperparameter or score in a few digits."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
