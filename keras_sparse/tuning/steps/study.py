"""How many steps a model takes to a goal at each batch size and sparsity, tuned at each."""

from __future__ import annotations

import json
import os
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
from matplotlib.figure import Figure
from rich.console import Console

from keras_sparse.analysis.scaling import ScalingFit
from keras_sparse.distribute.worker_processes import WorkerProcesses
from keras_sparse.messages.arguments import (
    boolean,
    file_path,
    function,
    integer,
    number,
    one_of,
    optional,
    wrong,
)
from keras_sparse.messages.warning import SparsityWarning
from keras_sparse.plots.batch_size import scaling_curves
from keras_sparse.plots.drawing import PicturePath
from keras_sparse.storage.files import read_json, replace_file
from keras_sparse.storage.lock import locked
from keras_sparse.storage.scripts import portable
from keras_sparse.tuning.oracles import ORACLES
from keras_sparse.tuning.space import Range
from keras_sparse.tuning.steps.cell import RECORDS, Cell, CellTuner, Search, read_records
from keras_sparse.tuning.steps.checks import checked_data, checked_space, several
from keras_sparse.tuning.steps.table import StepsTable, row_of
from keras_sparse.tuning.steps.workload import MASKS, OPTIMIZERS, Trainer, Workload

SETTINGS = "study.json"


class BatchSizeStudy:
    """Searches the fewest steps to a goal error, for each batch size and sparsity by itself.

    Each trial draws its weights from a seed of its own, is pruned before the first step, and is
    trained with metaparameters of its own until the validation error is at the goal. The same
    points of Sobol's sequence are tried in every cell. Masks are chosen by connection sensitivity
    on all training data among the kernels; biases are not pruned. A `momentum` is that of
    `MomentumSGD`, whose learning rate stands outside of the sum of gradients.

    ```python
    study = ks.tuning.BatchSizeStudy(
        network,
        data=(x, y, x_test, y),
        optimizer="sgd",
        sparsities=(0, 0.9),
        batch_sizes=(8,),
        goal_error=0.2,
        check_every=4,
        max_steps=40,
        n_trials=2,
        directory="study",
    )
    study.run().print()
    ```

    Args:
        build_model: Returns a new model of logits. If it is compiled, with its loss, else with
            sparse categorical cross-entropy.
        data: `(x_train, y_train, x_validation, y_validation)`, arrays.
        optimizer: `"sgd"`, `"momentum"` or `"nesterov"`.
        sparsities: Fractions of weights to prune, each in [0, 1).
        batch_sizes: Samples of an update, at most those that there are.
        goal_error: The validation error to come down to.
        check_every: Updates between two checks, of which there should be ten up to the goal.
        max_steps: Updates after which a trial is incomplete.
        n_trials: Trials of each cell.
        search_space: Ranges of `learning_rate`, `momentum`, `decay_steps` and
            `end_learning_rate_factor`. Defaults to the first two, or one, of the source.
        oracle: How they are searched: as for `SparseTuner`.
        mask: `"snip"`, or `"random"` or `"magnitude"` for other masks.
        seed: Of the first trial; the others follow it.
        first_point: Index of the first of Sobol's points. Another one repeats the study with
            others.
        cap_at_best: Whether a trial stops at the steps of the best one of its cell. Saves most of
            the time; which trials would have been complete is then not known.
        memory_batch: Samples of the largest batch that is computed at once; a larger one is
            accumulated from equal parts, so that it must be a multiple. Defaults to no limit.
        strategy: A `tf.distribute.Strategy` to train on, or a function that makes one.
        error: See `StepsToResult`.
        jit_compile: As for `model.compile`.
        directory: Where it is kept: the same call goes on with what was interrupted.

    Raises:
        ValueError: If an argument cannot be used.

    Source: Lee (2020), Section 5.2, after Shallue et al. (2019).
    """

    def __init__(
        self,
        build_model: Callable[[], keras.Model],
        data: Any,
        *,
        optimizer: str = "momentum",
        sparsities: Sequence[float] = (0.0, 0.5, 0.7, 0.9),
        batch_sizes: Sequence[int] = (2, 8, 32, 128, 512),
        goal_error: float,
        check_every: int = 16,
        max_steps: int = 40_000,
        n_trials: int = 100,
        search_space: Mapping[str, Range] | None = None,
        oracle: str = "sobol",
        mask: str = "snip",
        seed: int = 0,
        first_point: int = 1,
        cap_at_best: bool = False,
        memory_batch: int | None = None,
        strategy: Any = None,
        error: Callable[[Any, Any], Any] | None = None,
        jit_compile: bool = False,
        directory: str | os.PathLike[str] = "study",
    ) -> None:
        self.data = checked_data(data)
        self.workload = Workload(
            function("build_model", build_model, "a function that returns a new model"),
            one_of("optimizer", optimizer, OPTIMIZERS),
            number("goal_error", goal_error, "[0, inf)"),
            integer("check_every", check_every),
            integer("max_steps", max_steps),
            one_of("mask", mask, MASKS),
            integer("seed", seed, 0),
            optional(function, "error", error),
            optional(integer, "memory_batch", memory_batch),
            strategy,
            boolean("jit_compile", jit_compile),
        )
        self.search = Search(
            checked_space(search_space, optimizer),
            one_of("oracle", oracle, ORACLES),
            integer("n_trials", n_trials),
            integer("first_point", first_point, 0),
            seed,
            boolean("cap_at_best", cap_at_best),
        )
        sizes = [integer("batch_sizes", size) for size in several("batch_sizes", batch_sizes)]
        for size in sizes:
            self._check_batch(size)
        found = [
            float(number("sparsities", each, "[0, 1)"))
            for each in several("sparsities", sparsities)
        ]
        self.cells = [Cell(sparsity, size) for sparsity in found for size in sizes]
        self.directory = Path(file_path("directory", directory)).expanduser()

    def _check_batch(self, size: int) -> None:
        samples, memory = len(self.data[0]), self.workload.memory_batch
        if size > samples:
            cure = f"There are {samples} samples, of which a batch would hold some twice."
            raise wrong("batch_sizes", size, f"integers of at most {samples}", cure)
        if memory and size > memory and size % memory:
            cure = "A larger batch is accumulated from equal parts."
            raise wrong("batch_sizes", size, f"multiples of memory_batch={memory}", cure)

    def _check_settings(self, resume: bool) -> None:
        """Writes down what is studied, or refuses a folder in which something else was."""
        work = self.workload._asdict()
        for name in ("build_model", "strategy", "error"):
            del work[name]
        settings = {**work, **self.search._asdict(), "samples": len(self.data[0])}
        settings["space"] = {name: repr(each) for name, each in self.search.space.items()}
        path = self.directory / SETTINGS
        if path.exists():
            before = read_json(path, "Delete the folder to begin anew.")
            # More trials are tried after those that there are.
            names = [n for n in settings if n != "trials" and settings[n] != before.get(n)]
            if names or not resume:
                told = [f"{n} ({before.get(n)!r} there, {settings[n]!r} now)" for n in names]
                differing = f" with other settings: {', '.join(told)}" if names else ""
                raise ValueError(
                    f"{str(self.directory)!r} holds a study{differing}. Go on with it by its own "
                    "settings and resume=True, or give another directory."
                )
        replace_file(path, (json.dumps(settings, indent=1) + "\n").encode())

    def run(
        self, resume: bool = True, workers: int = 1, console: Console | None = None
    ) -> StepsTable:
        """Makes all trials that are not made yet.

        Args:
            resume: Whether to go on with a study in the folder rather than refuse it.
            workers: Processes of this machine, one thread each. `build_model` must stand at the
                top of a file, and a script must call this under `if __name__ == "__main__":`.
            console: Where to tell which cell is finished. Defaults to nowhere.

        Returns:
            The fewest steps of each cell.

        Raises:
            ValueError: If the folder holds a study with other settings.
            RuntimeError: If trials fail by an error.
        """
        boolean("resume", resume)
        with locked(self.directory):
            self._check_settings(resume)
            todo = [c for c in self.cells if len(self._records(c)) < self.search.trials]

            def told(cell: Cell) -> None:
                if console is not None:
                    row = row_of(self._records(cell), self.search.space)
                    text = f"{cell.name}: {row.steps} steps, {row.complete} complete"
                    console.print(text, highlight=False, soft_wrap=True)

            if integer("workers", workers) == 1:
                trainer = Trainer(self.workload, self.data)
                for cell in todo:
                    CellTuner(trainer, cell, self.search, self.directory).search()
                    told(cell)
            else:
                self._run_in_processes(todo, workers, told)
        table = self.table()
        edges = [
            f"{row.sparsity:g}, {row.batch_size}: {', '.join(row.at_edge)}"
            for row in table.rows
            if row.at_edge
        ]
        if edges:
            warnings.warn(
                "The best trials of these sparsities and batch sizes lie within 5 % of an end of "
                f"the range searched: {'; '.join(edges)}. Widen search_space.",
                SparsityWarning,
                stacklevel=2,
            )
        return table

    def _run_in_processes(
        self, cells: list[Cell], workers: int, told: Callable[[Cell], None]
    ) -> None:
        script, work = portable((self.workload, self.search, self.directory))
        setup = {"script": script, "work": work, "data": list(self.data)}
        waiting, taking = list(cells), threading.Lock()

        def serve() -> None:
            function = "keras_sparse.tuning.steps.cell:serve"
            with WorkerProcesses(1, function, setup) as process:
                while True:
                    with taking:
                        if not waiting:
                            return
                        cell = waiting.pop(0)
                    ((answer, _),) = process.ask([({"cell": list(cell)}, b"")])
                    if "failed" in answer:
                        with taking:
                            waiting.clear()
                        raise RuntimeError(f"{cell.name} failed:\n{answer['failed']}")
                    told(cell)

        with ThreadPoolExecutor(workers) as pool:
            futures = [pool.submit(serve) for _ in range(min(workers, len(cells)))]
        for future in futures:
            future.result()

    def _records(self, cell: Cell) -> list[Any]:
        return read_records(self.directory / cell.name / RECORDS)

    def table(self) -> StepsTable:
        """What the trials that are made have found."""
        found = [records for cell in self.cells if (records := self._records(cell))]
        return StepsTable(
            tuple(row_of(records, self.search.space) for records in found),
            tuple(record for records in found for record in records),
            self.workload.optimizer,
            self.workload.check_every,
        )

    def fit(self, model: str = "theorem", **kwargs: Any) -> dict[float, ScalingFit]:
        """Curves through the steps of each sparsity: see `StepsTable.fit`."""
        return self.table().fit(model, **kwargs)

    def plot(self, path: PicturePath = None) -> Figure:
        """Draws the steps over the batch size: see `ks.plots.scaling_curves`."""
        table = self.table()
        return scaling_curves({each: table.curve(each) for each in table.sparsities}, path)
