"""What a sweep of the command line trains and searches."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import keras
import keras_tuner

from keras_sparse import data
from keras_sparse.experiments.catalog import METHODS
from keras_sparse.experiments.config import RunConfig
from keras_sparse.experiments.run import CALIBRATION, compiled_model
from keras_sparse.messages.arguments import number, one_of, wrong
from keras_sparse.messages.names import unknown_name
from keras_sparse.tuning import LogUniform, ReverseLogUniform, SparseHyperModel
from keras_sparse.tuning.space import Range, Searched, check_searched

# What of a run can be searched, and where.
RANGES: dict[str, Range] = {
    "learning_rate": LogUniform(0.005, 0.5),
    "weight_decay": LogUniform(1e-5, 1e-2),
    "momentum": ReverseLogUniform(0.5, 0.99),
}
VALIDATION = 0.1  # of the training images, which the search looks at


def tuned_range(name: str, given: str | None = None) -> Range:
    """The range of a setting of a run.

    Args:
        name: One of `RANGES`.
        given: `"LOW..HIGH"`, in place of the usual ends.

    Raises:
        ValueError: If it cannot be searched.
    """
    if name in ("batch_size", "epochs", "seed"):
        raise ValueError(
            f"{name!r} is no hyperparameter of a sweep: trials of unequal {name} are not "
            "comparable. Give --batch-size or --epochs for all; for how large a batch pays see "
            "ks.tuning.BatchSizeStudy."
        )
    one_of("tune", name, RANGES)
    if given is None:
        return RANGES[name]
    return type(RANGES[name])(*range_ends("tune", given))  # type: ignore[call-arg]


def range_ends(name: str, given: str) -> tuple[float, float]:
    """The ends of `"LOW..HIGH"`.

    Raises:
        ValueError: If they are no two numbers.
    """
    low, _, high = given.partition("..")
    try:
        return float(low), float(high)
    except ValueError:
        raise wrong(name, given, "LOW..HIGH, such as 0.8..0.98") from None


@functools.lru_cache(maxsize=1)
def split_data(name: str, limit: int | None, seed: int) -> tuple[data.Dataset, tuple[Any, Any]]:
    """A data set without its validation images, and those.

    Args:
        name: Of the data set.
        limit: Training images to take; `None` for all.
        seed: Of which these are.
    """
    whole = data.load(name, limit=limit, seed=seed)
    kept = len(whole.x_train) - max(1, int(VALIDATION * len(whole.x_train)))
    x, y = whole.train
    return dataclasses.replace(whole, x_train=x[:kept], y_train=y[:kept]), (x[kept:], y[kept:])


class RunHyperModel(SparseHyperModel):
    """Trains as `keras-sparse train` does.

    Args:
        methods: Names in `METHODS`.
        sparsity: A number, a list, or a range.
        tune: Ranges of some of `RANGES`.
        common: Fields of `RunConfig` that all trials share.

    Raises:
        ValueError: If a setting cannot be used.
    """

    def __init__(
        self,
        methods: tuple[str, ...],
        sparsity: Searched,
        tune: Mapping[str, Range],
        common: Mapping[str, Any],
    ) -> None:
        for name in methods:
            if name not in METHODS:
                raise unknown_name("method", name, METHODS)
        takes = {name: METHODS[name].takes_sparsity and name != "dense" for name in methods}
        super().__init__(
            self._untold, {name: _Named(takes[name]) for name in methods} or None, sparsity
        )
        check_searched("sparsity", sparsity, "[0, 1)")
        self.tune, self.common = dict(tune), dict(common)
        for field in self.tune.keys() & self.common.keys():
            raise ValueError(f"{field!r} is both given and searched. Leave one of the two out.")
        self.config(keras_tuner.HyperParameters())

    @staticmethod
    def _untold(hp: keras_tuner.HyperParameters) -> keras.Model:
        raise NotImplementedError("build makes the model of a configuration")

    def config(self, hp: keras_tuner.HyperParameters) -> RunConfig:
        """The settings of a trial."""
        name, sparsity = self.choice(hp)
        tuned = {field: searched.declare(field, hp) for field, searched in self.tune.items()}
        return RunConfig(**self.common, **tuned, method=name, sparsity=sparsity)

    def dataset(self) -> tuple[data.Dataset, tuple[Any, Any]]:
        """The data set without its validation images, and those."""
        first = RunConfig(**self.common)
        return split_data(first.data, first.limit, first.seed)

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """The model of a trial."""
        return compiled_model(self.config(hp), self.dataset()[0])

    def fit(
        self, hp: keras_tuner.HyperParameters, model: keras.Model, *args: Any, **kwargs: Any
    ) -> dict[str, float]:
        """Trains and prunes as the configuration says.

        Returns:
            The accuracies and the loss of the model at its end.
        """
        config, (dataset, validation) = self.config(hp), self.dataset()
        calibration = dataset.x_train[:CALIBRATION], dataset.y_train[:CALIBRATION]
        own = (config.precision_callback(), config.callback(calibration))
        callbacks = [*(each for each in own if each), *kwargs.pop("callbacks")]
        model.fit(*args, callbacks=callbacks, **kwargs)
        config.prune_trained(model, calibration)
        loss, accuracy = model.evaluate(*validation, batch_size=500, verbose=0)
        test = model.evaluate(*dataset.test, batch_size=500, verbose=0)[1]
        return {"val_accuracy": accuracy, "val_loss": loss, "test_accuracy": test}


class _Named:
    """Stands for a method that the configuration makes.

    Args:
        takes_sparsity: Whether it takes a sparsity.
    """

    def __init__(self, takes_sparsity: bool) -> None:
        self.takes_sparsity = takes_sparsity

    def __call__(self, sparsity: float) -> None:
        number("sparsity", sparsity, "[0, 1)")
