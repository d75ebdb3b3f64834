"""Trials in folders: each training of one goes on from its last epoch, and its scores are kept."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import keras_tuner
import numpy as np

from keras_sparse.data import pipeline
from keras_sparse.engine.backup import Backup
from keras_sparse.storage.files import read_json, remove_leftovers, replace_file
from keras_sparse.storage.keras_archive import packed, saved_members
from keras_sparse.tuning.objectives import Objective, measured
from keras_sparse.tuning.trials import COMPLETE, INFEASIBLE, MODEL, RESULT, Trial, remove_models

VALUES = "values.json"
EPOCHS = "tuner/epochs"  # where keras-tuner's Hyperband says how long a trial is


class TrialRun(NamedTuple):
    """How each trial of a sweep is made.

    Args:
        hypermodel: Builds and trains the models.
        objectives: What is looked for.
        executions: Trainings of each trial, from different seeds.
        seed: Of the first execution of every trial.
        keep_models: Models that stay.
    """

    hypermodel: keras_tuner.HyperModel
    objectives: tuple[Objective, ...]
    executions: int
    seed: int
    keep_models: int

    def make(
        self,
        folder: Path,
        hp: keras_tuner.HyperParameters,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Trial:
        """Makes a trial, or what of it is not made yet.

        Args:
            folder: Of the trial.
            hp: Its hyperparameters.
            args: Arguments of `hypermodel.fit`: the data.
            kwargs: Further ones.

        Returns:
            The trial; what it says is in `result.json` in the folder too.
        """
        if (folder / RESULT).exists():
            return Trial(**read_json(folder / RESULT, "Delete it, and search again."))
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        _check_values(folder / VALUES, dict(hp.values))
        best = self.objectives[0]
        done: list[dict[str, Any]] = []
        for number in range(self.executions):
            path = folder / f"execution_{number}.json"
            if path.exists():
                done.append(read_json(path, "Delete it, and search again."))
                continue
            known = [best.signed(each["scores"][best.name]) for each in done]
            found, model = self._execute(folder, number, hp, args, kwargs)
            if not known or best.signed(found["scores"][best.name]) < min(known):
                replace_file(folder / MODEL, packed(saved_members(model)))
            replace_file(path, (json.dumps(found, indent=1) + "\n").encode())
            shutil.rmtree(folder / f"backup_{number}", ignore_errors=True)
            done.append(found)
        names = [each.name for each in self.objectives]
        trial = Trial(
            folder.name,
            dict(hp.values),
            INFEASIBLE if any(each["status"] == INFEASIBLE for each in done) else COMPLETE,
            {name: float(np.mean([each["scores"][name] for each in done])) for name in names},
            done,
        )
        trial.write(folder)
        remove_models(folder.parent, self.objectives, self.keep_models)
        return trial

    def _execute(
        self,
        folder: Path,
        number: int,
        hp: keras_tuner.HyperParameters,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> tuple[dict[str, Any], keras.Model]:
        """One training: what it came to, and the model."""
        keras.utils.clear_session(free_memory=False)
        seed = self.seed + number
        keras.utils.set_random_seed(seed)
        model = self.hypermodel.build(hp)
        backup = Backup(folder / f"backup_{number}")
        data, fit = reproducible(args, kwargs, seed, backup.epoch)
        fit["epochs"] = int(hp.values.get(EPOCHS, fit.get("epochs", 1)))
        fit["callbacks"] = [*copy.deepcopy(list(fit.pop("callbacks", None) or ())), backup]
        fit["initial_epoch"] = backup.epoch
        status, returned = COMPLETE, None
        try:
            returned = self.hypermodel.fit(hp, model, *data, **fit)
        except FloatingPointError:
            # Not an error of the sweep: three in a row would end keras-tuner's search.
            status = INFEASIBLE
            # It costs what a dense model does.
            model.set_weights([np.ones_like(weight) for weight in model.get_weights()])
        logs = None
        if status == COMPLETE:
            # What a hypermodel returns was measured later than the last epoch.
            logs = {**(backup.rows or [{}])[-1], **(returned if isinstance(returned, dict) else {})}
        found = {
            "execution": number,
            "seed": seed,
            "status": status,
            "scores": measured(self.objectives, model, logs),
            "epochs": len(backup.rows),
            "seconds": sum(row["seconds"] for row in backup.rows),
            "logs": {} if logs is None else _finite(logs),
        }
        return found, model


def _check_values(path: Path, values: dict[str, Any]) -> None:
    """Refuses to go on with a trial of other hyperparameters."""
    if not path.exists():
        replace_file(path, (json.dumps(values, indent=1) + "\n").encode())
        return
    before = read_json(path, "Delete the folder of the trial, and search again.")
    if before != json.loads(json.dumps(values)):
        raise ValueError(
            f"Trial {path.parent.name} in {str(path.parent.parent)!r} was begun with {before} and "
            f"would go on with {values}: that is another space or seed. Search in another folder."
        )


def _finite(logs: Mapping[str, float]) -> dict[str, float | None]:
    return {key: value if np.isfinite(value) else None for key, value in logs.items()}


def reproducible(
    args: Sequence[Any], kwargs: Mapping[str, Any], seed: int, epoch: int
) -> tuple[list[Any], dict[str, Any]]:
    """Arguments of `fit` whose order of samples follows from seed and epoch alone.

    Arrays become a pipeline of batches; any other data stay as they are.

    Args:
        args: Of `fit`: `x` and `y`, or a data set.
        kwargs: Further arguments of `fit`.
        seed: Of the order.
        epoch: The first epoch.

    Returns:
        Both, for `fit`.
    """
    fit = dict(kwargs)
    given: list[Any] = [*args, *(fit.pop(name) for name in ("x", "y") if name in fit)]
    arrays = len(given) == 2 and all(isinstance(each, np.ndarray) for each in given)
    if not arrays or fit.get("sample_weight") is not None or fit.get("class_weight") is not None:
        return given, {"verbose": 0, **fit}
    share = fit.pop("validation_split", 0.0)
    if share:
        # As Keras does: the last samples, before any shuffling.
        cut = int(len(given[0]) * (1 - share))
        fit["validation_data"] = tuple(each[cut:] for each in given)
        given = [each[:cut] for each in given]
    x, y = given
    batches = pipeline(
        x,
        y,
        batch_size=fit.pop("batch_size", None) or 32,
        shuffle=bool(fit.pop("shuffle", True)),
        augment=fit.pop("augment", False),
        seed=seed,
        initial_epoch=epoch,
    )
    return [batches], {"verbose": 0, **fit, "shuffle": False}
