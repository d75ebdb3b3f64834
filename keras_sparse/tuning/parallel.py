"""Trials in processes of this machine, under one oracle."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras_tuner

from keras_sparse.distribute.communicator import WorkerLostError
from keras_sparse.distribute.worker_processes import WorkerFailedError, WorkerProcesses
from keras_sparse.storage.scripts import portable, received

if TYPE_CHECKING:
    from keras_sparse.tuning.tuner import SparseTuner

_PAUSE_SECONDS = 0.2


class _Stopped(Exception):
    """The search is over for a thread, since another one failed."""


def search_in_parallel(
    tuner: SparseTuner, workers: int, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> None:
    """Makes all trials, several at a time.

    Args:
        tuner: Whose oracle says what to try.
        workers: Processes.
        args: Arguments of `fit`: the data.
        kwargs: Further ones.
    """
    script, contents = portable((tuner.run, tuner.project_dir))
    setup = {"script": script, "run": contents, "args": list(args), "kwargs": dict(kwargs)}
    portable(setup["args"]), portable(setup["kwargs"])  # Says what cannot be sent.
    tuner.on_search_begin()
    stopping = threading.Event()
    with ThreadPoolExecutor(workers) as pool:
        futures = [
            pool.submit(_Seat(tuner, setup, f"worker{rank}", stopping)) for rank in range(workers)
        ]
        try:
            wait(futures, return_when="FIRST_EXCEPTION")
        finally:
            stopping.set()
    tuner.on_search_end()
    for future in futures:
        future.result()


class _Seat:
    """A thread that gives trials to one process.

    Args:
        tuner: Whose oracle says what to try.
        setup: What the process needs.
        name: By which the oracle knows it.
        stopping: Whether the search is to end.
    """

    def __init__(
        self, tuner: SparseTuner, setup: Any, name: str, stopping: threading.Event
    ) -> None:
        self.tuner, self.setup, self.name, self.stopping = tuner, setup, name, stopping

    def __call__(self) -> None:
        with WorkerProcesses(1, "keras_sparse.tuning.parallel:serve", self.setup) as process:
            try:
                while self._trial(process):
                    pass
            except BaseException:
                self.stopping.set()
                raise

    def _trial(self, process: WorkerProcesses) -> bool:
        """Makes a trial; whether there may be more."""
        oracle = self.tuner.oracle
        trial = oracle.create_trial(self.name)
        if trial.status == "STOPPED" or self.stopping.is_set():
            return False
        if trial.status == "IDLE":
            time.sleep(_PAUSE_SECONDS)
            return True
        self.tuner.on_trial_begin(trial)
        words = {"trial": trial.trial_id, "hp": trial.hyperparameters.get_config()}
        try:
            ((answer, _),) = process.ask([(words, b"")])
        except (WorkerFailedError, WorkerLostError) as error:
            answer = {"failed": f"{error} {error.__cause__ or ''}"}
            process.restarts += 1  # For the next trial.
        if "scores" in answer:
            oracle.update_trial(trial.trial_id, answer["scores"])
            trial.status = "COMPLETED"
        else:
            trial.status, trial.message = "INVALID", answer["failed"]
        self.tuner.on_trial_end(trial)
        return True


def serve(setup: Any) -> Callable[[dict[str, Any], bytes], tuple[dict[str, Any], bytes]]:
    """Makes a process answer with what a trial came to.

    Args:
        setup: What `search_in_parallel` sends.
    """
    run, directory = received(setup["script"], setup["run"])

    def answer(words: dict[str, Any], _: bytes) -> tuple[dict[str, Any], bytes]:
        hp = keras_tuner.HyperParameters.from_config(words["hp"])
        folder = Path(directory) / f"trial_{words['trial']}"
        try:
            trial = run.make(folder, hp, setup["args"], setup["kwargs"])
        except Exception:
            return {"failed": traceback.format_exc()}, b""
        return {"scores": trial.scores}, b""

    return answer
