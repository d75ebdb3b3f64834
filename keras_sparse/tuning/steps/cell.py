"""The search of one batch size and sparsity: a project of keras-tuner's."""

from __future__ import annotations

import contextlib
import io
import json
import os
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras_tuner

from keras_sparse.storage.files import read_json, replace_file
from keras_sparse.storage.scripts import received
from keras_sparse.tuning.execution import EPOCHS
from keras_sparse.tuning.oracles import make_oracle
from keras_sparse.tuning.space import Range
from keras_sparse.tuning.steps.steps_to_result import COMPLETE, INFEASIBLE
from keras_sparse.tuning.steps.workload import Record, Trainer

OBJECTIVE, RECORDS = "steps_to_result", "trials.json"
_MAX_EPOCHS = 27  # Hyperband's unit of the limit of steps


class Search(NamedTuple):
    """How each cell of a study is searched.

    Args:
        space: Ranges by name.
        oracle: `"sobol"`, or another name that `SparseTuner` knows.
        trials: Trials of each cell.
        first: Index of the first of Sobol's points.
        seed: Of the other oracles.
        cap_at_best: Whether a trial stops at the steps of the best one so far.
    """

    space: dict[str, Range]
    oracle: str
    trials: int
    first: int
    seed: int
    cap_at_best: bool


class Cell(NamedTuple):
    """A batch size and a sparsity.

    Args:
        sparsity: Fraction of weights that are pruned.
        batch_size: Samples of an update.
    """

    sparsity: float
    batch_size: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"sparsity_{self.sparsity:g}_batch_{self.batch_size}"


class CellTuner(keras_tuner.Tuner):
    """Searches metaparameters of one cell for the fewest steps.

    Args:
        trainer: Makes the trials.
        cell: Of which.
        search: How.
        directory: The folder of the study.
    """

    def __init__(
        self, trainer: Trainer, cell: Cell, search: Search, directory: str | os.PathLike[str]
    ) -> None:
        self.trainer, self.cell, self.how = trainer, cell, search
        hp = keras_tuner.HyperParameters()
        for name, searched in search.space.items():
            searched.declare(name, hp)
        more = {"first": search.first} if search.oracle == "sobol" else {}
        oracle = make_oracle(
            search.oracle,
            keras_tuner.Objective(OBJECTIVE, "min"),
            search.trials,
            search.seed,
            _MAX_EPOCHS,
            hyperparameters=hp,
            **more,
        )
        oracle.verbose = 0
        with contextlib.redirect_stdout(io.StringIO()):
            super().__init__(oracle, directory=os.fspath(directory), project_name=cell.name)
        self.file = Path(self.project_dir) / RECORDS
        self.records = read_records(self.file)

    def run_trial(self, trial: Any) -> dict[str, float]:
        """Makes a trial, unless it is made.

        Returns:
            Its steps; of one that is not complete a number above the limit, which a failure or an
            infinity, three of which would end the search, are not.
        """
        number, hp = int(trial.trial_id), trial.hyperparameters
        known = [record for record in self.records if record.trial == number]
        record = known[0] if known else self._make(number, hp)
        if not known:
            self.records.append(record)
            content = [each._asdict() for each in self.records]
            replace_file(self.file, json.dumps(content).encode())
        most = self.trainer.workload.max_steps
        if record.status == COMPLETE:
            return {OBJECTIVE: record.steps}
        return {OBJECTIVE: 2 * most + 1 if record.status == INFEASIBLE else most + 1}

    def _make(self, number: int, hp: keras_tuner.HyperParameters) -> Record:
        values = {name: each.declare(name, hp) for name, each in self.how.space.items()}
        limit = self.trainer.workload.max_steps
        if EPOCHS in hp.values:
            limit = max(1, limit * int(hp.values[EPOCHS]) // _MAX_EPOCHS)
        if self.how.cap_at_best:
            complete = [each.steps for each in self.records if each.status == COMPLETE]
            limit = min([limit, *complete])
        return self.trainer.run(*self.cell, number, values, limit)


def read_records(file: Path) -> list[Record]:
    """The trials of a cell that have ended.

    Raises:
        ValueError: If the file is damaged.
    """
    if not file.exists():
        return []
    cure = "Delete its folder, and run the study again to make those trials once more."
    return [Record(**each) for each in read_json(file, cure)]


def serve(setup: Mapping[str, Any]) -> Callable[[dict[str, Any], bytes], tuple[Any, bytes]]:
    """Makes a process that searches the cells that it is asked to.

    Args:
        setup: What `BatchSizeStudy` sends.
    """
    workload, search, directory = received(setup["script"], setup["work"])
    trainer = Trainer(workload, tuple(setup["data"]))

    def answer(words: dict[str, Any], _: bytes) -> tuple[Any, bytes]:
        try:
            CellTuner(trainer, Cell(*words["cell"]), search, directory).search()
        except Exception:
            return {"failed": traceback.format_exc()}, b""
        return {}, b""

    return answer
