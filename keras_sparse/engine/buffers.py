"""The moment buffers of Keras's optimizers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

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
    return "momentum" if isinstance(optimizer, keras.optimizers.SGD) else "none"


def resettable_buffers(optimizer: keras.optimizers.Optimizer, which: str) -> list[Any]:
    """The variables of a built optimizer that a reset clears.

    Args:
        optimizer: A built optimizer.
        which: `"momentum"` for first moments, `"all"` for every moment, `"none"` for nothing,
            `"restart"` for everything but the learning rate: the iterations too, and with them a
            learning-rate schedule and Adam's bias correction, begin anew.

    Raises:
        ValueError: If something is to be reset and the optimizer keeps weights among its moments.
    """
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
        own = [v for v in optimizer.variables if v is not rate]
        return list({id(v): v for v in own + extra}.values())
    if which == "momentum":
        names = [name for name in _FIRST_MOMENTS if hasattr(optimizer, name)]
        return [v for name in names for v in getattr(optimizer, name) if v is not None]
    kept = {id(v) for name in _NOT_MOMENTS for v in getattr(optimizer, name, ()) if v is not None}
    return [v for v in optimizer.variables if len(v.shape) and id(v) not in kept]


def start_values(optimizer: keras.optimizers.Optimizer, buffers: Sequence[Any]) -> list[float]:
    """The number that each of some buffers of a built optimizer starts at."""
    starts: dict[int, float] = {}
    for name, start in _STARTS.items():
        held = getattr(optimizer, name, None)
        if held is not None:
            each = held if isinstance(held, (list, tuple)) else [held]
            starts.update({id(v): float(start(optimizer)) for v in each})
    return [starts.get(id(buffer), 0.0) for buffer in buffers]


def slots_of(optimizer: keras.optimizers.Optimizer, index: int) -> list[Any]:
    """The moments that a built optimizer keeps of one weight tensor.

    Args:
        optimizer: A built optimizer.
        index: The tensor's place among the variables that it was built with.

    Returns:
        Variables of the tensor's shape.
    """
    weights = optimizer._trainable_variables
    shape = weights[index].shape
    found = []
    for name, value in vars(optimizer).items():
        aligned = isinstance(value, (list, tuple)) and len(value) == len(weights)
        if aligned and value is not weights and name not in (*_NOT_MOMENTS, "_trainable_variables"):
            slot = value[index]
            if isinstance(slot, keras.Variable) and slot.shape == shape:
                found.append(slot)
    return list({id(slot): slot for slot in found}.values())


class HostCopies(Sequence[np.ndarray]):
    """Variables as arrays, each of which is copied to the host only when it is asked for.

    Args:
        variables: The variables, in order.
    """

    def __init__(self, variables: Sequence[Any]) -> None:
        self._variables = variables

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, index: slice) -> HostCopies: ...

    def __getitem__(self, index: int | slice) -> np.ndarray | HostCopies:
        """The array of one variable, or the copies of several to come."""
        if isinstance(index, slice):
            return HostCopies(self._variables[index])
        return ops.convert_to_numpy(self._variables[index])

    def __len__(self) -> int:
        """How many variables there are."""
        return len(self._variables)
