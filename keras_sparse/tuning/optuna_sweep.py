"""Sweeps whose trials are in a storage of Optuna's, which any number of processes share."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras_tuner

from keras_sparse.distribute.worker_processes import WorkerProcesses
from keras_sparse.messages.arguments import file_path, instance, integer, one_of, text, wrong
from keras_sparse.messages.extras import check_extra
from keras_sparse.storage.lock import FolderInUseError, locked
from keras_sparse.storage.scripts import portable, received
from keras_sparse.tuning.execution import TrialRun
from keras_sparse.tuning.objectives import DIRECTIONS, check_objectives
from keras_sparse.tuning.result import SweepResult
from keras_sparse.tuning.trials import Trial

SEARCHES = ("sobol", "random", "grid", "bayesian")
_PAUSE_SECONDS = 0.05
_WAIT_SECONDS = 1.0
_RESTARTS = 3


class OptunaSweep:
    """A sweep that processes of one or several machines share by an Optuna storage.

    Every process that calls `search` with the same storage and folder takes trials from it, may
    come later and leave at any time: a trial whose process has ended is taken over by another and
    goes on from its last epoch. No process is a server. All objectives count alike.

    ```python
    sweep = ks.tuning.OptunaSweep(
        ks.tuning.SparseHyperModel(build_model, ["gmp"], sparsity=[0.5, 0.9]),
        ("accuracy", "nonzeros"),
        storage="sweep/journal.log",
        directory="sweep",
        max_trials=2,
    )
    sweep.search(x, y, epochs=2, validation_data=(x, y))
    sweep.result().print()
    ```

    Args:
        hypermodel: As for `SparseTuner`.
        objectives: What is looked for: names or `Objective`s.
        storage: A URL such as `"sqlite:///sweep.db"` or `"postgresql://..."`, or the path of a
            journal file, which needs nothing installed and may lie on a shared file system.
        search: `"sobol"`, `"random"`, `"grid"`, or `"bayesian"`, which is Optuna's
            tree-structured Parzen estimator of all objectives.
        max_trials: Trials of all processes together.
        executions_per_trial: As for `SparseTuner`, like the arguments that follow.
        seed: Of the search and of the first execution of every trial.
        keep_models: Models that stay on the disk.
        directory: The folder of the trials, which all processes must reach.
        name: Of the study in the storage.

    Raises:
        MissingExtraError: If Optuna is not installed.
        ValueError: If an argument cannot be used, or the storage has a study of that name of
            another space or other objectives.

    Source: Optuna (Akiba et al., 2019).
    """

    def __init__(
        self,
        hypermodel: keras_tuner.HyperModel,
        objectives: Any = ("accuracy", "nonzeros"),
        storage: str | os.PathLike[str] = "sweep.log",
        *,
        search: str = "sobol",
        max_trials: int = 10,
        executions_per_trial: int = 1,
        seed: int = 0,
        keep_models: int = 10,
        directory: str | os.PathLike[str] = "sweep",
        name: str = "sweep",
    ) -> None:
        allowed = "a keras_tuner.HyperModel, such as ks.tuning.SparseHyperModel(build_model)"
        instance("hypermodel", hypermodel, keras_tuner.HyperModel, allowed)
        self.storage = file_path("storage", storage)
        if search == "hyperband":
            cure = "Optuna's sweeps have several objectives, of which halving needs one."
            raise wrong("search", search, f"one of {', '.join(SEARCHES)}", cure)
        self.search_by = one_of("search", search, SEARCHES)
        self.run = TrialRun(
            hypermodel,
            check_objectives(objectives),
            integer("executions_per_trial", executions_per_trial),
            integer("seed", seed, 0),
            integer("keep_models", keep_models),
        )
        self.max_trials = integer("max_trials", max_trials)
        self.directory = Path(file_path("directory", directory)).expanduser()
        self.name = text("name", name)
        check_extra("optuna", "optuna")
        self._open()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "study"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()

    def _open(self) -> None:
        """The study in the storage, which is made if need be."""
        import optuna

        from keras_sparse.tuning.optuna_storage import grid_of, open_storage

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.space = keras_tuner.HyperParameters()
        self.run.hypermodel.build(self.space)
        if self.search_by == "grid":
            self.max_trials = min(self.max_trials, len(grid_of(self.space)))
        ways = {each: optuna.study.StudyDirection[f"{each.upper()}IMIZE"] for each in DIRECTIONS}
        names = [each.name for each in self.run.objectives]
        with self._alone():
            self.study = optuna.create_study(
                storage=open_storage(self.storage),
                study_name=self.name,
                directions=[ways[each.direction] for each in self.run.objectives],
                load_if_exists=True,
            )
            own = {"space": self.space.get_config()["space"], "objectives": names}
            known = self.study.user_attrs
            if not known:
                for key, value in own.items():
                    self.study.set_user_attr(key, value)
        for key, value in own.items():
            if known and known.get(key) != value:
                raise ValueError(
                    f"Study {self.name!r} in {self.storage!r} has another {key}: "
                    f"{known.get(key)} there, {value} now. Give another name or storage."
                )

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keeps other processes from taking trials meanwhile."""
        while True:
            try:
                with locked(self.directory):
                    yield
                return
            except FolderInUseError:
                time.sleep(_PAUSE_SECONDS)

    def search(self, *fit_args: Any, workers: int = 1, **fit_kwargs: Any) -> None:
        """Makes trials until all have ended, those of other processes included.

        Args:
            *fit_args: As for `SparseTuner.search`, like the others.
            workers: Processes of this machine.
            **fit_kwargs: Further arguments of `fit`.
        """
        if integer("workers", workers) > 1:
            script, contents = portable(self)
            setup = {"script": script, "sweep": contents, "fit": (fit_args, fit_kwargs)}
            function = "keras_sparse.tuning.optuna_sweep:serve"
            with WorkerProcesses(workers, function, setup, restarts=_RESTARTS) as processes:
                processes.ask([({}, b"")] * workers)
            return
        while self._next(fit_args, fit_kwargs):
            pass

    def _next(self, fit_args: Any, fit_kwargs: Any) -> bool:
        """Makes a trial, or waits for those of others; whether there may be more."""
        with contextlib.ExitStack() as holding:
            with self._alone():
                trial, open_trials = self._claim(holding)
            if trial is None:
                if open_trials:
                    time.sleep(_WAIT_SECONDS)
                return open_trials
            from keras_sparse.tuning.optuna_storage import suggest

            hp = suggest(trial, self.space)
            made = self.run.make(self._folder(trial.number), hp, fit_args, fit_kwargs)
            trial.set_user_attr("trial", made._asdict())
            self.study.tell(trial, [made.scores[each.name] for each in self.run.objectives])
        return True

    def _claim(self, holding: contextlib.ExitStack) -> tuple[Any, bool]:
        """A trial whose folder this process now holds, and whether any is not finished.

        One that was left by its process comes first, then a new one.
        """
        import optuna

        from keras_sparse.tuning.optuna_storage import make_sampler

        trials = self.study.get_trials(deepcopy=False)
        running = [t for t in trials if t.state == optuna.trial.TrialState.RUNNING]
        for each in running:
            try:
                holding.enter_context(locked(self._folder(each.number)))
            except FolderInUseError:
                continue
            return optuna.trial.Trial(self.study, each._trial_id), True
        if len(trials) >= self.max_trials:
            return None, bool(running)
        self.study.sampler = make_sampler(self.search_by, self.space, self.run.seed, len(trials))
        trial = self.study.ask()
        holding.enter_context(locked(self._folder(trial.number)))
        return trial, True

    def _folder(self, number: int) -> Path:
        return self.directory / f"trial_{number:04}"

    def result(self) -> SweepResult:
        """The trials that have ended, of all processes."""
        ended = (trial.user_attrs.get("trial") for trial in self.study.get_trials(deepcopy=False))
        trials = tuple(Trial(**each) for each in ended if each is not None)
        return SweepResult(trials, self.run.objectives)


def serve(setup: Any) -> Callable[[dict[str, Any], bytes], tuple[dict[str, Any], bytes]]:
    """Makes a process that searches when it is asked to.

    Args:
        setup: What `OptunaSweep.search` sends.
    """
    sweep = received(setup["script"], setup["sweep"])
    args, kwargs = setup["fit"]

    def answer(words: dict[str, Any], _: bytes) -> tuple[dict[str, Any], bytes]:
        sweep.search(*args, **kwargs)
        return {}, b""

    return answer
