"""The precision range test: the fewest bits that a network learns with."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure

from keras_sparse.backend.random_state import undisturbed_random
from keras_sparse.backend.replicas import strategy_scope
from keras_sparse.messages.arguments import boolean, integer, number, one_of, optional, text, wrong
from keras_sparse.messages.warning import SparsityWarning
from keras_sparse.plots.drawing import BLUE, GREY, PicturePath, new_figure, written
from keras_sparse.precision.scheduler import PrecisionScheduler
from keras_sparse.precision.schedules.constant import ConstantPrecision
from keras_sparse.probe.calibration import arrays_of, check_data, given_batches
from keras_sparse.probe.snapshot import Snapshot
from keras_sparse.probe.variables import check_built

CRITERIA = ("above_chance", "jump")
_FEWEST = 2


@dataclasses.dataclass(frozen=True)
class PrecisionRange:
    """What a precision range test found.

    Args:
        q_min: The fewest bits that the network learned with.
        curve: For each number of bits the mean training accuracy of the last steps.
        chance: The accuracy of guessing.
        found: Whether any of them met the criterion; `q_min` is the most bits otherwise.
    """

    q_min: int
    curve: dict[int, float]
    chance: float
    found: bool = True

    def plot(self, path: PicturePath = None) -> Figure:
        """Draws the accuracy over the bits.

        Args:
            path: The picture to write, ending in `.png`. Defaults to none.

        Returns:
            The matplotlib `Figure`.
        """
        figure, axes = new_figure(5.5, 3.5)
        axes.plot(list(self.curve), list(self.curve.values()), "o-", color=BLUE)
        axes.axhline(self.chance, color=GREY, linestyle=":", label="chance")
        axes.axvline(self.q_min, color=GREY, linestyle="--", label=f"q_min = {self.q_min}")
        axes.set(xlabel="bits of the forward pass", ylabel="training accuracy")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(frameon=False)
        return written(figure, path)


def precision_range_test(
    model: keras.Model,
    data: Any,
    *,
    q_max: int = 8,
    steps: int = 100,
    last: int = 20,
    criterion: str = "above_chance",
    threshold: float = 0.1,
    chance: float | None = None,
    monitor: str = "accuracy",
    restore: bool = True,
    batch_size: int = 32,
    seed: int = 0,
    **precision: Any,
) -> PrecisionRange:
    """Finds the bits to begin cycles with, by training for some steps with 2, 3, ... bits.

    Model, optimizer, metrics and random numbers are afterwards as they were.

    ```python
    found = ks.precision_range_test(model, (x_train, y_train))
    low = ks.PrecisionScheduler("CR", q_min=found.q_min)
    model.fit(x_train, y_train, epochs=60, callbacks=[low])
    ```

    Args:
        model: A built, compiled model with a metric of accuracy.
        data: `(x, y)` as arrays, or an iterable of batches `(x, y)` without an end or long enough.
        q_max: The most bits, and those of the backward pass.
        steps: Steps of training with each number of bits, a multiple of `last`.
        last: Steps at their end whose accuracy counts.
        criterion: The first number of bits whose accuracy is `"above_chance"` by the threshold,
            or a `"jump"` of the threshold above that of one bit less.
        threshold: See there.
        chance: The accuracy of guessing. Defaults to one over the number of outputs.
        monitor: The name of the accuracy in the logs.
        restore: Whether each number of bits starts with the model as it was, rather than where
            the one before has ended.
        batch_size: Samples in a batch, for arrays.
        seed: Seed of the order of samples, for arrays, and of rounding.
        **precision: Further arguments of `PrecisionScheduler`, such as `keep_float`.

    Returns:
        A `PrecisionRange`, with a warning if no number of bits met the criterion.

    Raises:
        ValueError: If an argument is out of range, or the model or data do not suit.

    Source: Wolfe (2023), section 6.3.1, which takes the test from Fu et al. (2021), section 3.3.
    """
    integer("q_max", q_max, _FEWEST, 32)
    integer("last", last)
    if integer("steps", steps) % last:
        raise wrong("steps", steps, f"a multiple of last={last}")
    one_of("criterion", criterion, CRITERIA)
    number("threshold", threshold, "(0, 1)")
    optional(number, "chance", chance, "[0, 1)")
    text("monitor", monitor)
    boolean("restore", restore)
    integer("batch_size", batch_size)
    integer("seed", seed, 0)
    check_built(model)
    check_data(data)
    if model.optimizer is None:
        raise ValueError(f"Model {model.name!r} is not compiled. Compile it with an accuracy.")
    guessing = 1 / int(model.output_shape[-1]) if chance is None else chance
    curve: dict[int, float] = {}
    with _left_alone(model) as before:
        for bits in range(_FEWEST, q_max + 1):
            if restore:
                before.restore()
            schedule = ConstantPrecision(bits, q_max)
            scheduler = PrecisionScheduler(schedule, **{"seed": seed, **precision})
            logs = model.fit(
                _endless(model, data, batch_size, seed),
                steps_per_epoch=last,
                epochs=steps // last,
                shuffle=False,
                verbose=0,
                callbacks=[scheduler],
            ).history
            if monitor not in logs:
                known = [name for name in logs if name not in scheduler.epoch_logs(0, {})]
                raise wrong("monitor", monitor, f"one of the model's metrics, {known}")
            curve[bits] = float(logs[monitor][-1])
    return _decided(curve, guessing, criterion, threshold, q_max)


def _decided(
    curve: dict[int, float], chance: float, criterion: str, threshold: float, q_max: int
) -> PrecisionRange:
    below = chance
    for bits, accuracy in curve.items():
        if accuracy - (chance if criterion == "above_chance" else below) >= threshold:
            return PrecisionRange(bits, curve, chance)
        below = accuracy
    warnings.warn(
        f"With no number of bits up to {q_max} did the accuracy rise by {threshold:g} "
        f"({criterion}; {curve}). Train for more steps, at another learning rate.",
        SparsityWarning,
        stacklevel=3,
    )
    return PrecisionRange(q_max, curve, chance, found=False)


@contextlib.contextmanager
def _left_alone(model: keras.Model) -> Iterator[Snapshot]:
    """A model that may be trained for a while; nothing of that stays."""
    optimizer = model.optimizer
    if not optimizer.built:
        with strategy_scope(model):
            optimizer.build(model.trainable_variables)
    variables = [*model.variables, *optimizer.variables, *model.metrics_variables]
    before = Snapshot(model, list({id(v): v for v in variables}.values()))
    history, stopped = vars(model).get("history"), model.stop_training
    with undisturbed_random():
        try:
            yield before
        finally:
            before.restore()
            model.stop_training = stopped
            model.history = history


def _endless(model: keras.Model, data: Any, batch_size: int, seed: int) -> Iterator[Any]:
    """Batches, arrays over and over in new order, the same at each call."""
    arrays = arrays_of(model, data)
    if arrays is None:
        yield from given_batches(model, data, endless=True)
        return
    if arrays[1] is None:
        raise ValueError("The data has inputs alone. Give (x, y), or batches (x, y).")
    generator, samples = np.random.default_rng(seed), len(keras.tree.flatten(arrays[0])[0])
    while True:
        order = generator.permutation(samples)
        for first in range(0, max(samples - batch_size, 0) + 1, batch_size):
            part = order[first : first + batch_size]
            yield keras.tree.map_structure(lambda side, part=part: np.asarray(side)[part], arrays)
