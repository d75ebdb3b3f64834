"""Keras-tuner's tuner for sparse training."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras
import keras_tuner

from keras_sparse.messages.arguments import boolean, file_path, instance, integer, optional, text
from keras_sparse.tuning.execution import TrialRun
from keras_sparse.tuning.objectives import check_objectives
from keras_sparse.tuning.oracles import make_oracle, write_state
from keras_sparse.tuning.parallel import search_in_parallel
from keras_sparse.tuning.result import SweepResult
from keras_sparse.tuning.trials import MODEL


class SparseTuner(keras_tuner.Tuner):
    """Searches hyperparameters with several objectives, and goes on wherever it was interrupted.

    It is a tuner of keras-tuner, and searches, resumes and runs on several machines as others do.
    Beyond them a trial that was killed goes on from its last epoch; the scores of each execution
    are kept; the same seed gives the same trials, each with the same initial weights and order of
    samples; and of all models only the best stay on the disk. A training that diverges is an
    `"infeasible"` trial and no failure. Oracles look at the first objective alone; `result` has the
    trials that no other one dominates in all of them.

    ```python
    def build_model(hp):
        model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(4)])
        rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
        return model


    sparse = ks.tuning.SparseHyperModel(build_model, ["gmp", "rigl"], sparsity=[0.5, 0.9])
    tuner = ks.tuning.SparseTuner(sparse, ("accuracy", "nonzeros"), max_trials=2, directory="sweep")
    tuner.search(x, y, epochs=2, validation_data=(x, y))
    tuner.result().print()
    ```

    Args:
        hypermodel: A `SparseHyperModel`, or any hypermodel of keras-tuner's whose `fit` hands on
            what it is given to `model.fit`.
        objectives: What is looked for, the first one by the oracle: names or `Objective`s.
        oracle: `"sobol"`, `"random"`, `"grid"`, `"bayesian"`, `"hyperband"` (whose longer trials
            begin anew, since a method plans for their length) or a `keras_tuner.Oracle`.
        max_trials: Trials; of Hyperband as many as its brackets need.
        max_epochs: Epochs of Hyperband's longest trials. Defaults to 30.
        executions_per_trial: Trainings of each trial, from seeds that follow each other.
        seed: Of the search and of the first execution of every trial.
        keep_models: Models that stay on the disk, of the Pareto front first.
        directory: The folder of all sweeps.
        project_name: The folder of this one in it.
        overwrite: Whether to begin anew where there is a sweep.
        **kwargs: Further arguments of `keras_tuner.Tuner`.

    Raises:
        ValueError: If an argument cannot be used, or the folder holds a sweep of another space.

    Source: keras-tuner (O'Malley et al., 2019).
    """

    def __init__(
        self,
        hypermodel: keras_tuner.HyperModel,
        objectives: Any = ("accuracy", "nonzeros"),
        *,
        oracle: Any = "sobol",
        max_trials: int = 10,
        max_epochs: int | None = None,
        executions_per_trial: int = 1,
        seed: int = 0,
        keep_models: int = 10,
        directory: str | os.PathLike[str] = "sweeps",
        project_name: str = "sweep",
        overwrite: bool = False,
        **kwargs: Any,
    ) -> None:
        allowed = "a keras_tuner.HyperModel, such as ks.tuning.SparseHyperModel(build_model)"
        instance("hypermodel", hypermodel, keras_tuner.HyperModel, allowed)
        found = check_objectives(objectives)
        self.run = TrialRun(
            hypermodel,
            found,
            integer("executions_per_trial", executions_per_trial),
            integer("seed", seed, 0),
            integer("keep_models", keep_models),
        )
        optional(integer, "max_epochs", max_epochs)
        first = keras_tuner.Objective(found[0].name, found[0].direction)
        super().__init__(
            make_oracle(oracle, first, integer("max_trials", max_trials), seed, max_epochs),
            hypermodel,
            directory=file_path("directory", directory),
            project_name=text("project_name", project_name),
            overwrite=boolean("overwrite", overwrite),
            executions_per_trial=executions_per_trial,
            **kwargs,
        )
        self._check_space()

    def _check_space(self) -> None:
        """Refuses a folder whose trials are of other hyperparameters."""
        if not hasattr(self.oracle, "hyperparameters") or not self.oracle.trials:
            return
        own = keras_tuner.HyperParameters()
        self.hypermodel.build(own)
        before = {each.name: each.get_config() for each in self.oracle.hyperparameters.space}
        now = {each.name: each.get_config() for each in own.space}
        differing = sorted(
            name
            for name in before.keys() | now.keys()
            if name[:6] != "tuner/" and before.get(name) != now.get(name)
        )
        if differing:
            raise ValueError(
                f"The sweep in {self.project_dir!r} searches another space: {', '.join(differing)} "
                "differ. Give another project_name, or overwrite=True to begin anew."
            )

    @property
    def objectives(self) -> tuple[Any, ...]:
        """What is looked for."""
        return self.run.objectives

    def search(self, *fit_args: Any, workers: int = 1, **fit_kwargs: Any) -> None:
        """Searches, and goes on with a search that was interrupted.

        Arrays are read in an order that follows from seed and epoch alone, so that a trial that
        was interrupted ends as if it had not been; of other data that is up to them.

        Args:
            *fit_args: Arguments of `fit`, data first.
            workers: Processes of this machine that trials run in, one thread each. What they are
                given must be picklable, and a script must search under
                `if __name__ == "__main__":`.
            **fit_kwargs: Further arguments of `fit`, such as `epochs` and `validation_data`.

        Raises:
            RuntimeError: If three trials in a row fail by an error, with that of the last.
        """
        fit_kwargs.setdefault("verbose", 0)
        # A worker of keras-tuner's own protocol is one of several already.
        if integer("workers", workers) == 1 or "KERASTUNER_ORACLE_IP" in os.environ:
            super().search(*fit_args, **fit_kwargs)
        else:
            self.oracle.verbose = fit_kwargs["verbose"]
            search_in_parallel(self, workers, fit_args, fit_kwargs)

    def run_trial(self, trial: Any, *fit_args: Any, **fit_kwargs: Any) -> dict[str, float]:
        """Makes a trial, or what of it is not made yet.

        Returns:
            The value of each objective.
        """
        folder = Path(self.get_trial_dir(trial.trial_id))
        return self.run.make(folder, trial.hyperparameters, fit_args, fit_kwargs).scores

    def on_search_begin(self) -> None:
        """Leaves word of the search, so that it can be resumed from its first trial."""
        self.save()

    def save(self) -> None:
        """Writes the states of tuner and oracle, whole or not at all."""
        if not self._is_worker():
            self.oracle.save()
        write_state(self._get_tuner_fname(), self.get_state())

    def result(self) -> SweepResult:
        """The trials that have ended, of all workers."""
        return SweepResult.read(self.project_dir, self.objectives)

    def load_model(self, trial: Any) -> keras.Model:
        """The model that a trial ended with.

        Raises:
            FileNotFoundError: If it was not among those that stay.
        """
        path = Path(self.get_trial_dir(trial.trial_id)) / MODEL
        if not path.exists():
            raise FileNotFoundError(
                f"The model of trial {trial.trial_id} was not among the {self.run.keep_models} "
                "best and is deleted. Search with a larger keep_models, or train it again with "
                "its hyperparameters."
            )
        return keras.saving.load_model(path)
