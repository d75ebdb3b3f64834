"""Keras-tuner's oracles, whose files a killed process leaves whole, and one of Sobol's points."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner import oracles

from keras_sparse.messages.arguments import integer, one_of, wrong
from keras_sparse.storage.files import replace_file
from keras_sparse.tuning.points import sobol_points

_MAX_EPOCHS = 30  # of Hyperband, unless it is told


def write_state(fname: str | os.PathLike[str], state: Any) -> None:
    """Writes what keras-tuner keeps of something, whole or not at all."""
    replace_file(Path(fname), json.dumps(state).encode())


class WholeFiles(keras_tuner.Oracle):
    """An oracle that writes each of its files in one step.

    Keras-tuner writes them in place, and a search that is killed meanwhile cannot be resumed.
    """

    def save(self) -> None:
        """Writes the oracle's state."""
        write_state(self._get_oracle_fname(), self.get_state())

    def _save_trial(self, trial: Any) -> None:
        folder = self._get_trial_dir(trial.trial_id)
        write_state(os.path.join(folder, "trial.json"), trial.get_state())


class SobolOracle(WholeFiles):
    """Tries the points of Sobol's sequence, the same in every search of as many hyperparameters.

    ```python
    oracle = ks.tuning.SobolOracle(objective="val_accuracy", max_trials=24)
    tuner = ks.tuning.SparseTuner(hypermodel, objectives="accuracy", oracle=oracle)
    ```

    Args:
        objective: As for `keras_tuner.Oracle`, like the other arguments.
        max_trials: How many points.
        first: Index of the first point; another one gives another search.
        **kwargs: Further arguments of `keras_tuner.Oracle`.

    Source: Lee (2020), section 5.2.1; Bousquet et al. (2017).
    """

    def __init__(
        self, objective: Any = None, max_trials: int = 10, first: int = 1, **kwargs: Any
    ) -> None:
        integer("max_trials", max_trials)
        self.first = integer("first", first, 0)
        super().__init__(objective=objective, max_trials=max_trials, **kwargs)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The values of the point whose number the trial has."""
        point = sobol_points(
            max(1, dimensions(self.hyperparameters)), 1, self.first + int(trial_id)
        )
        return {"status": "RUNNING", "values": values_at(self.hyperparameters, point[0])}

    def get_state(self) -> dict[str, Any]:
        """The state, with the place in the sequence."""
        return {**super().get_state(), "first": self.first}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on where another search was."""
        super().set_state(state)
        self.first = state["first"]


def searched(hp: keras_tuner.HyperParameters) -> list[Any]:
    """The hyperparameters of a space that can have several values."""
    kinds = keras_tuner.engine.hyperparameters
    return [each for each in hp.space if not isinstance(each, kinds.Fixed)]


def dimensions(hp: keras_tuner.HyperParameters) -> int:
    """How many coordinates a point of a space has."""
    return len(searched(hp))


def values_at(hp: keras_tuner.HyperParameters, point: Any) -> dict[str, Any]:
    """The values of hyperparameters at a point of the unit cube.

    Args:
        hp: The space.
        point: A coordinate for each that is no `Fixed`, in the order of the space.

    Returns:
        Values by name, of those whose conditions hold.
    """
    own, coordinates = keras_tuner.HyperParameters(), iter(point)
    several = {id(each) for each in searched(hp)}
    for each in hp.space:
        value = each.prob_to_value(float(next(coordinates))) if id(each) in several else each.value
        own.merge([each])
        if own.is_active(each):
            own.values[each.name] = value
    return dict(own.values)


class _Random(WholeFiles, oracles.RandomSearchOracle):
    """Random search."""


class _Grid(WholeFiles, oracles.GridSearchOracle):
    """Grid search that knows after an interruption which combinations it has tried."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Puts the trials in the order in which keras-tuner goes on from them."""
        super().set_state(state)
        values = {name: trial.hyperparameters.values for name, trial in self.trials.items()}
        in_order = functools.cmp_to_key(lambda a, b: self._compare(values[a], values[b]))
        self._ordered_ids: Any = type(self._ordered_ids)()
        for name in sorted(values, key=in_order):
            self._ordered_ids.insert(name)
        self._populate_next = list(self.start_order)


class _Bayesian(WholeFiles, oracles.BayesianOptimizationOracle):
    """Bayesian optimization."""


class _Hyperband(WholeFiles, oracles.HyperbandOracle):
    """Hyperband."""


ORACLES: dict[str, Any] = {
    "sobol": SobolOracle,
    "random": _Random,
    "grid": _Grid,
    "bayesian": _Bayesian,
    "hyperband": _Hyperband,
}


def make_oracle(
    oracle: Any,
    objective: keras_tuner.Objective,
    max_trials: int,
    seed: int,
    epochs: int | None,
    **more: Any,
) -> keras_tuner.Oracle:
    """An oracle by its name, or the given one.

    Args:
        oracle: A name in `ORACLES` or a `keras_tuner.Oracle`.
        objective: What it looks at.
        max_trials: Trials; Hyperband makes as many as its brackets need.
        seed: Of what is random.
        epochs: Of Hyperband's longest trials.
        **more: Further arguments of the oracle.

    Raises:
        ValueError: If there is no oracle of that name.
    """
    if isinstance(oracle, keras_tuner.Oracle):
        return oracle
    if not isinstance(oracle, str):
        raise wrong("oracle", oracle, f"one of {', '.join(ORACLES)}, or a keras_tuner.Oracle")
    one_of("oracle", oracle, ORACLES)
    # Keras-tuner takes a seed of 0 for none, and draws one.
    common: dict[str, Any] = {"objective": objective, "seed": seed + 1, **more}
    if oracle == "hyperband":
        return ORACLES[oracle](max_epochs=epochs or _MAX_EPOCHS, **common)
    return ORACLES[oracle](max_trials=max_trials, **common)
