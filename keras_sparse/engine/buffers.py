"""The moment buffers of Keras's optimizers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.messages.names import unknown_name

RESETS = ("auto", "momentum", "all", "none")
_FIRST_MOMENTS = ("momentums", "_momentums")
_NOT_MOMENTS = ("_model_variables_moving_average", "_accumulated_gradients")
# `()`, which nothing is an instance of, in versions of Keras that do not have it.
_HOLDS_WEIGHTS = getattr(keras.optimizers, "ScheduleFreeAdamW", ())
# Buffers that an optimizer does not start at zero, and what it starts them at.
_STARTS: Mapping[str, Callable[[Any], float]] = {
    "_accumulators": lambda optimizer: optimizer.initial_accumulator_value,
    "_u_product": lambda optimizer: 1.0,
}


def parts(optimizer: keras.optimizers.Optimizer) -> list[Any]:
    """The optimizers that take the steps: those in a `MultiOptimizer`, or the one itself."""
    return list(getattr(optimizer, "optimizers", None) or [optimizer])


def _place(part: keras.optimizers.Optimizer, variable: Any) -> int | None:
    """Where among the variables that a part was built with one stands."""
    if not part.built:
        return None
    return next((i for i, v in enumerate(part._trainable_variables) if v is variable), None)


def trainer_of(optimizer: keras.optimizers.Optimizer, variable: Any) -> Any:
    """Of a built optimizer's parts the one that trains a variable."""
    every = parts(optimizer)
    return next((part for part in every if _place(part, variable) is not None), every[0])


def most_used(optimizer: keras.optimizers.Optimizer, variables: Sequence[Any]) -> Any:
    """Of a built optimizer's parts the one that trains most of some weights."""
    weights: dict[int, int] = {}
    for variable in variables:
        key = id(trainer_of(optimizer, variable))
        weights[key] = weights.get(key, 0) + math.prod(variable.shape)
    return max(parts(optimizer), key=lambda part: weights.get(id(part), 0))


def learning_rates(
    optimizer: keras.optimizers.Optimizer, steps: int, variables: Sequence[Any]
) -> np.ndarray:
    """The learning rate of every step of a run, from at most 200 samples of its schedule.

    A rate that callbacks change is taken as it is now.

    Args:
        optimizer: An optimizer; a `MultiOptimizer` must be built.
        steps: Length of the run.
        variables: Weights. Of several optimizers the one that trains most of these counts.
    """
    rate = most_used(optimizer, variables)._learning_rate
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        at = np.linspace(0, steps - 1, min(steps, 200)).astype(int)
        values = [float(ops.convert_to_numpy(rate(int(step)))) for step in at]
        return np.interp(np.arange(steps), at, values)
    value = rate() if callable(rate) else rate
    return np.full(steps, float(ops.convert_to_numpy(value)))


def average_of(part: keras.optimizers.Optimizer, variable: Any) -> Any:
    """The moving average that an optimizer keeps of a weight, or `None`."""
    place = _place(part, variable)
    return (
        None if place is None or not part.use_ema else part._model_variables_moving_average[place]
    )


def resolve_reset(reset: str, optimizer: keras.optimizers.Optimizer) -> str:
    """What `"auto"` means for an optimizer: SGD's momentum is reset, Adam's moments are not.

    Source: Peste (2023), 3.3.2 and 3.5.2.

    Raises:
        ValueError: If `reset` is not one of `RESETS`.
    """
    if reset not in RESETS:
        raise unknown_name("reset_optimizer_state", reset, RESETS)
    if reset != "auto":
        return reset
    of_each = {_automatic(part) for part in parts(optimizer)}
    return of_each.pop() if len(of_each) == 1 else "auto"


def _automatic(part: keras.optimizers.Optimizer) -> str:
    return "momentum" if isinstance(part, keras.optimizers.SGD) else "none"


def resettable_buffers(optimizer: keras.optimizers.Optimizer, which: str) -> list[Any]:
    """The variables of a built optimizer that a reset clears.

    Args:
        optimizer: A built optimizer.
        which: `"momentum"` for first moments, `"all"` for every moment, `"none"` for nothing,
            `"restart"` for everything but the learning rate: the iterations too, and with them a
            learning-rate schedule and Adam's bias correction, begin anew. `"auto"` for first
            moments of the parts of a `MultiOptimizer` that are SGD.

    Raises:
        ValueError: If something is to be reset and the optimizer keeps weights among its moments.
    """
    every = parts(optimizer)
    found = [v for part in every if part.built for v in _buffers_of_part(part, which)]
    if which == "restart" and optimizer not in every:
        found.append(optimizer.iterations)
    return list({id(v): v for v in found}.values())


def _buffers_of_part(optimizer: keras.optimizers.Optimizer, which: str) -> list[Any]:
    if which == "auto":
        which = _automatic(optimizer)
    if which == "none":
        return []
    if isinstance(optimizer, _HOLDS_WEIGHTS):
        raise ValueError(
            f"Optimizer {optimizer.name!r} is a {type(optimizer).__name__}, which keeps weights "
            "among its moments: a reset would lose them. Reset nothing "
            "(reset_optimizer_state='none', restart=False) or train with another optimizer."
        )
    if which == "restart":
        rate = optimizer._learning_rate
        extra = [v for v in (getattr(optimizer, "_u_product", None),) if v is not None]
        return [v for v in optimizer.variables + extra if v is not rate]
    if which == "momentum":
        names = [name for name in _FIRST_MOMENTS if hasattr(optimizer, name)]
        return [v for name in names for v in getattr(optimizer, name) if v is not None]
    kept = {id(v) for name in _NOT_MOMENTS for v in getattr(optimizer, name, ()) if v is not None}
    return [v for v in optimizer.variables if len(v.shape) and id(v) not in kept]


def start_values(optimizer: keras.optimizers.Optimizer, buffers: Sequence[Any]) -> list[float]:
    """The number that each of some buffers of a built optimizer starts at."""
    starts: dict[int, float] = {}
    for part in parts(optimizer):
        for name, start in _STARTS.items():
            held = getattr(part, name, None)
            if held is not None:
                each = held if isinstance(held, (list, tuple)) else [held]
                starts.update({id(v): float(start(part)) for v in each})
    return [starts.get(id(buffer), 0.0) for buffer in buffers]


def slots_of(optimizer: keras.optimizers.Optimizer, variable: Any) -> list[Any]:
    """The moments that a built optimizer keeps of one weight tensor.

    Args:
        optimizer: A built optimizer.
        variable: A variable that it was built with.

    Returns:
        Variables of the tensor's shape.
    """
    part = trainer_of(optimizer, variable)
    place = _place(part, variable)
    if place is None:
        return []
    weights = part._trainable_variables
    found = []
    for name, value in vars(part).items():
        aligned = isinstance(value, (list, tuple)) and len(value) == len(weights)
        if aligned and value is not weights and name not in (*_NOT_MOMENTS, "_trainable_variables"):
            slot = value[place]
            if isinstance(slot, keras.Variable) and slot.shape == variable.shape:
                found.append(slot)
    return list({id(slot): slot for slot in found}.values())
