"""Critical learning periods: what few bits at different times cost a network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from keras_sparse.messages.arguments import function, instance, integer, text, wrong
from keras_sparse.precision.scheduler import PrecisionScheduler
from keras_sparse.precision.schedules.base import PrecisionSchedule, check_range
from keras_sparse.precision.schedules.constant import ConstantPrecision
from keras_sparse.precision.schedules.deficit import DeficitPrecision


@dataclasses.dataclass(frozen=True)
class PeriodResult:
    """A training with few bits for a while.

    Args:
        window: The steps of few bits, from the first to the one after the last; `None` for none.
        steps: Steps of the whole training.
        metric: What it came to.
    """

    window: tuple[int, int] | None
    steps: int
    metric: float


def critical_period_sweep(
    build: Callable[[int], keras.Model],
    data: tuple[Any, Any],
    validation_data: tuple[Any, Any],
    *,
    steps: int,
    deficits: Sequence[int] = (),
    windows: Sequence[tuple[int, int]] = (),
    q_min: int = 3,
    q_max: int = 8,
    batch_size: int = 32,
    lr_decay: str = "total",
    monitor: str = "accuracy",
    seed: int = 0,
    **precision: Any,
) -> list[PeriodResult]:
    """Trains a network anew with few bits in different windows, and once without any.

    ```python
    ks.precision.critical_period_sweep(
        build, (x, y), (x, y), steps=80, deficits=[20, 40], windows=[(0, 20), (60, 79)]
    )
    ```

    Args:
        build: Makes a compiled model for a training of so many steps, for which its learning
            rate may decay. Equal initial weights make the results comparable.
        data: Inputs and targets to train on.
        validation_data: Those to measure on.
        steps: Steps of a normal training.
        deficits: Lengths of initial deficits: few bits for so many steps, and then a normal
            training.
        windows: Windows `(first, one after the last)` of few bits within a normal training.
        q_min: The few bits.
        q_max: The many, and those of the backward pass.
        batch_size: Samples in a batch.
        lr_decay: Of a deficit: whether `build` is told the `"total"` number of steps, or that
            `"after_deficit"`.
        monitor: The name of the metric in what `evaluate` returns.
        seed: Seed of the order of samples and of rounding.
        **precision: Further arguments of `PrecisionScheduler`.

    Returns:
        A result for each, the one without a window first.

    Raises:
        ValueError: If an argument is out of range.

    Source: Wolfe (2023), section 6.5.1, Figure 22 and Table 16.
    """
    function("build", build, "a function build(steps) that makes a compiled model")
    integer("steps", steps)
    integer("batch_size", batch_size)
    integer("seed", seed, 0)
    text("monitor", monitor)
    check_range(q_min, q_max)
    if lr_decay not in ("total", "after_deficit"):
        raise wrong("lr_decay", lr_decay, "'total' or 'after_deficit'")
    plans: list[tuple[tuple[int, int] | None, int, PrecisionSchedule]] = [
        (None, steps, ConstantPrecision(q_max))
    ]
    several = isinstance(deficits, Sequence) and not isinstance(deficits, str)
    lengths: Sequence[Any] = deficits if several else [deficits]
    for length in [integer("deficits", each) for each in lengths]:
        plans.append(((0, length), length + steps, DeficitPrecision(0, length, q_min, q_max)))
    for first, end in _windows(windows):
        planned = DeficitPrecision(first, end, q_min, q_max, total_steps=steps)
        plans.append(((first, end), steps, planned))
    found = []
    for name, pair in (("data", data), ("validation_data", validation_data)):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise wrong(name, pair, "(inputs, targets)")
    for window, total, schedule in plans:
        decays = steps if lr_decay == "after_deficit" else total
        model = instance("build(steps)", build(decays), keras.Model, "a compiled keras.Model")
        keras.utils.set_random_seed(seed)
        scheduler = PrecisionScheduler(schedule, **{"seed": seed, **precision})
        per_epoch = -(-len(data[0]) // batch_size)
        _train(model, data, total, per_epoch, batch_size, scheduler)
        measured = model.evaluate(*validation_data, verbose=0, return_dict=True)
        found.append(PeriodResult(window, total, _chosen(measured, monitor)))
    return found


def _windows(windows: Any) -> list[tuple[int, int]]:
    pairs = isinstance(windows, Sequence) and not isinstance(windows, str)
    if not pairs or not all(isinstance(w, (tuple, list)) and len(w) == 2 for w in windows):
        raise wrong("windows", windows, "a list of pairs (first step, step after the last)")
    return [(first, end) for first, end in windows]


def _train(
    model: keras.Model,
    data: tuple[Any, Any],
    total: int,
    per_epoch: int,
    batch_size: int,
    scheduler: PrecisionScheduler,
) -> None:
    """Trains for a number of steps that need not be whole epochs."""

    class Stop(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.taken = 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.taken += 1
            self.model.stop_training = self.taken >= total

    scheduler.total_steps = total
    epochs = -(-total // per_epoch)
    fit: dict[str, Any] = {"batch_size": batch_size, "epochs": epochs, "verbose": 0}
    model.fit(*data, callbacks=[scheduler, Stop()], **fit)


def _chosen(measured: Mapping[str, float], monitor: str) -> float:
    if monitor not in measured:
        raise wrong("monitor", monitor, f"one of {list(measured)}")
    return float(measured[monitor])
