"""What a sweep leaves of each trial in its folder, and which models stay."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from keras_sparse.storage.files import read_json, replace_file
from keras_sparse.tuning.objectives import Objective

RESULT, MODEL = "result.json", "model.keras"
COMPLETE, INFEASIBLE = "complete", "infeasible"


class Trial(NamedTuple):
    """A trial that has ended.

    Args:
        name: Of its folder.
        values: Its hyperparameters.
        status: `"complete"`, or `"infeasible"` if a training of it diverged.
        scores: The objectives, in the mean over its executions.
        executions: Of each execution its number, `seed`, `status`, `scores` and `epochs`.
    """

    name: str
    values: dict[str, Any]
    status: str
    scores: dict[str, float]
    executions: list[dict[str, Any]]

    def write(self, folder: Path) -> None:
        """Writes the trial into its folder."""
        content = json.dumps({**self._asdict(), "name": folder.name}, indent=1) + "\n"
        replace_file(folder / RESULT, content.encode())


def read_trials(directory: str | os.PathLike[str]) -> list[Trial]:
    """The trials of a sweep that have ended, in the order of their numbers.

    Args:
        directory: The folder with a folder for each trial.

    Raises:
        ValueError: If a file is damaged.
    """
    cure = "Delete it, and search again to make that trial once more."
    paths = Path(directory).glob(f"trial_*/{RESULT}")
    found = [Trial(**read_json(path, cure)) for path in paths]
    return sorted(found, key=lambda trial: int(trial.name.removeprefix("trial_")))


def dominates(one: Trial, other: Trial, objectives: Sequence[Objective]) -> bool:
    """Whether a trial is better in one objective and worse in none."""
    pairs = [(o.signed(one.scores[o.name]), o.signed(other.scores[o.name])) for o in objectives]
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def pareto_front(trials: Sequence[Trial], objectives: Sequence[Objective]) -> list[Trial]:
    """The complete trials that no other one dominates, the best in the first objective first."""
    complete = [trial for trial in trials if trial.status == COMPLETE]
    front = [
        trial
        for trial in complete
        if not any(dominates(other, trial, objectives) for other in complete)
    ]
    return sorted(front, key=lambda trial: objectives[0].signed(trial.scores[objectives[0].name]))


def remove_models(directory: Path, objectives: Sequence[Objective], keep: int) -> None:
    """Deletes the models of all trials but the best.

    Of the Pareto front those stay first that are best in the first objective, then others.

    Args:
        directory: The folder with a folder for each trial.
        objectives: What is looked for.
        keep: Models that stay.
    """
    having = [t for t in read_trials(directory) if (directory / t.name / MODEL).exists()]
    first = objectives[0]
    front = pareto_front(having, objectives)
    others = sorted(
        (trial for trial in having if trial not in front),
        key=lambda trial: (trial.status != COMPLETE, first.signed(trial.scores[first.name])),
    )
    for trial in [*front, *others][keep:]:
        (directory / trial.name / MODEL).unlink(missing_ok=True)
