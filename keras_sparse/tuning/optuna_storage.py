"""What a sweep needs of Optuna: storages, and samplers that follow from a trial's number."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
import optuna
from optuna.storages.journal import JournalFileBackend

from keras_sparse.tuning.oracles import dimensions, searched, values_at
from keras_sparse.tuning.points import sobol_points

Values = Callable[[int], Mapping[str, Any]]
# Trials that are drawn at random before there is anything to learn from.
_FIRST_TRIALS = 10


def open_storage(storage: str | os.PathLike[str]) -> optuna.storages.BaseStorage:
    """The storage at a URL of an SQL database, or else in a journal file.

    Args:
        storage: Such as `"sqlite:///sweep.db"`, or the path of a file.
    """
    place = os.fspath(storage)
    if "://" in place:
        return optuna.storages.RDBStorage(place)
    path = Path(place).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    backend = JournalFileBackend(os.fspath(path))
    return optuna.storages.JournalStorage(backend)


class PointSampler(optuna.samplers.BaseSampler):
    """Gives a trial the values that belong to its number, whichever process makes it.

    Args:
        values: Values by name, of a trial's number.
    """

    def __init__(self, values: Values) -> None:
        self.values = values

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        """Nothing: each value is given by itself."""
        return {}

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        """Nothing, as above."""
        return {}

    def sample_independent(self, study: Any, trial: Any, param_name: str, distribution: Any) -> Any:
        """The value of a hyperparameter."""
        return self.values(trial.number)[param_name]


def grid_of(hp: keras_tuner.HyperParameters) -> list[dict[str, Any]]:
    """All combinations of the values that keras-tuner's grid search tries."""
    found: dict[str, dict[str, Any]] = {}
    sides = [_grid_places(each) for each in searched(hp)]
    for point in itertools.product(*sides):
        values = values_at(hp, point)
        found[repr(sorted(values.items()))] = values
    return list(found.values())


def _grid_places(hp: Any) -> list[float]:
    return sorted(hp.value_to_prob(value) for value in hp.values)


def make_sampler(
    search: str, hp: keras_tuner.HyperParameters, seed: int, number: int
) -> optuna.samplers.BaseSampler:
    """The sampler of one trial.

    Args:
        search: `"sobol"`, `"random"`, `"grid"` or `"bayesian"`.
        hp: The space.
        seed: Of the sweep.
        number: The trial's.
    """
    size = max(1, dimensions(hp))
    if search == "sobol":
        return PointSampler(lambda n: values_at(hp, sobol_points(size, 1, n + 1)[0]))
    if search == "random":
        return PointSampler(lambda n: values_at(hp, np.random.default_rng((seed, n)).random(size)))
    if search == "grid":
        grid = grid_of(hp)
        return PointSampler(lambda n: grid[n])
    # A sampler of its own for each trial: processes with one seed would try the same.
    return optuna.samplers.TPESampler(seed=seed + number, n_startup_trials=_FIRST_TRIALS)


def suggest(trial: optuna.Trial, hp: keras_tuner.HyperParameters) -> keras_tuner.HyperParameters:
    """Keras-tuner's hyperparameters with the values that Optuna has for a trial.

    Args:
        trial: Optuna's trial.
        hp: The space.
    """
    kinds = keras_tuner.engine.hyperparameters
    own = keras_tuner.HyperParameters()
    for each in hp.space:
        own.merge([each])
        if not own.is_active(each):
            continue
        if isinstance(each, kinds.Fixed):
            value = each.value
        elif isinstance(each, (kinds.Float, kinds.Int)):
            take = trial.suggest_float if isinstance(each, kinds.Float) else trial.suggest_int
            log = each.sampling == "log"
            step = None if log or not each.step else each.step
            more = {"step": step} if step else {}
            value = take(each.name, each.min_value, each.max_value, log=log, **more)
        else:
            value = trial.suggest_categorical(each.name, list(each.values))
        own.values[each.name] = value
    return own
