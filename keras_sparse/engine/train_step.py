"""Who replaces a model's `train_step` for the length of a `fit`, and who stands around it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeAlias

import keras

Around: TypeAlias = Callable[..., contextlib.AbstractContextManager[None]]


class TrainStep:
    """Stands for a model's `train_step`, so that several callbacks may have a part in it.

    Args:
        model: The model.

    Attributes:
        replaced: What computes the step in place of the model's own, if anything.
        around: Context managers of the step's arguments, which it is computed within.
    """

    def __init__(self, model: keras.Model) -> None:
        self.before = vars(model).get("train_step")
        self.own = model.train_step
        self.replaced: Any = None
        self.around: list[Around] = []

    def __call__(self, *args: Any) -> Any:
        """Takes the step."""
        with contextlib.ExitStack() as stack:
            for around in self.around:
                stack.enter_context(around(*args))
            return (self.replaced or self.own)(*args)


def replace_step(model: keras.Model, step: Any) -> None:
    """Lets something else compute a model's training steps; `None` for the model itself."""
    _slot(model).replaced = step
    _tidy(model)


def surround_step(model: keras.Model, around: Around) -> None:
    """Lets a model's training steps be computed within a context manager of their arguments."""
    _slot(model).around.append(around)


def leave_step(model: keras.Model, around: Around) -> None:
    """Takes away what `surround_step` has put there, if it is there."""
    slot = _slot(model)
    slot.around = [each for each in slot.around if each != around]
    _tidy(model)


def _slot(model: keras.Model) -> TrainStep:
    current = vars(model).get("train_step")
    if isinstance(current, TrainStep):
        return current
    slot = TrainStep(model)
    model.train_step = slot
    return slot


def _tidy(model: keras.Model) -> None:
    slot = _slot(model)
    if slot.replaced is None and not slot.around:
        vars(model).pop("train_step")
        if slot.before is not None:
            model.train_step = slot.before


def standing_around(model: keras.Model) -> list[Around]:
    """What a model's training steps are computed within."""
    current = vars(model).get("train_step")
    return list(current.around) if isinstance(current, TrainStep) else []
