"""How many bits a training computes with at each of its steps."""

from __future__ import annotations

import abc
import copy
import json
from typing import Any, TypeVar

import numpy as np
from matplotlib.figure import Figure

from keras_sparse.messages.arguments import instance, integer, optional
from keras_sparse.plots.drawing import PicturePath
from keras_sparse.plots.precision import precision_curve

Schedule = TypeVar("Schedule", bound="PrecisionSchedule")
LEAST_BITS, MOST_BITS = 1, 32


def bit_width(name: str, value: Any) -> int:
    """A number of bits.

    Raises:
        ValueError: If it is no integer from 1 to 32.
    """
    return integer(name, value, LEAST_BITS, MOST_BITS)


class PrecisionSchedule(abc.ABC):
    """Base class: the width of the forward pass at each step; the backward pass has `q_max`.

    A schedule is a value: it depends on the step alone, and two of equal configuration are equal.
    What it says is computed in float64 and rounded half to even.

    Args:
        total_steps: Optimizer steps of the whole training, which `PrecisionScheduler` fills in
            where it is `None`.
    """

    def __init__(self, total_steps: int | None = None) -> None:
        self.total_steps = optional(integer, "total_steps", total_steps)

    @property
    @abc.abstractmethod
    def q_min(self) -> int:
        """The least bits of the forward pass."""

    @property
    @abc.abstractmethod
    def q_max(self) -> int:
        """The most bits of the forward pass, and those of the backward pass at all times."""

    @abc.abstractmethod
    def values(self, steps: np.ndarray) -> np.ndarray:
        """S(t) before it is rounded.

        Args:
            steps: Integers from 0, an array.

        Returns:
            A float64 array of its shape.
        """

    @property
    def steps(self) -> int:
        """`total_steps`.

        Raises:
            ValueError: If it was left open.
        """
        if self.total_steps is None:
            raise ValueError(
                f"{type(self).__name__} does not know the length of the training. Give "
                "total_steps=..., or schedule.over(total_steps)."
            )
        return self.total_steps

    def over(self: Schedule, total_steps: int) -> Schedule:
        """The same schedule over a training of so many steps.

        Args:
            total_steps: Optimizer steps of the whole training.
        """
        new = copy.copy(self)
        new.total_steps = integer("total_steps", total_steps)
        new.check()
        return new

    def check(self) -> None:  # noqa: B027 - most schedules suit any length
        """Looks at a schedule whose length is known.

        Raises:
            ValueError: If it cannot be.
        """

    def value(self, step: int) -> float:
        """S(t), a number of bits that may lie between integers."""
        return float(self.values(np.array(integer("step", step, 0))))

    def __call__(self, step: int) -> int:
        """The bits of the forward pass at a step."""
        return int(self.bits(np.array(integer("step", step, 0))))

    def bits(self, steps: np.ndarray | None = None) -> np.ndarray:
        """The bits of the forward pass at several steps, by default all there are."""
        at = np.arange(self.steps) if steps is None else np.asarray(steps)
        return np.rint(self.values(at)).astype("int32")

    def relative_cost(self) -> float:
        """Bit operations of the training, relative to one at `q_max` throughout.

        Source: Wolfe (2023), section 6.4.1: the mean of `q^2 + 2 q q_max` over `3 q_max^2`.
        """
        q = self.bits().astype(float)
        return float(np.mean(q * (q + 2 * self.q_max)) / (3 * self.q_max**2))

    def bit_histogram(self) -> dict[int, float]:
        """The share of the steps that each number of bits has."""
        found, count = np.unique(self.bits(), return_counts=True)
        return {int(q): float(n / self.steps) for q, n in zip(found, count, strict=True)}

    @property
    def group(self) -> str | None:
        """`"I"`, `"II"` or `"III"`, by what it saves; `None` for one that is not of the suite."""
        return None

    @property
    def savings(self) -> str | None:
        """`"large"` for group I, `"medium"` for II and `"small"` for III."""
        return {"I": "large", "II": "medium", "III": "small"}.get(self.group or "")

    def plot(self, path: PicturePath = None) -> Figure:
        """Draws the bits over the steps.

        Args:
            path: The picture to write, ending in `.png`. Defaults to none.

        Returns:
            The matplotlib `Figure`.
        """
        steps = np.arange(self.steps)
        return precision_curve({str(self): (self.values(steps), self.bits(steps))}, path)

    @abc.abstractmethod
    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, serializable."""

    @classmethod
    def from_config(cls: type[Schedule], config: dict[str, Any]) -> Schedule:
        """Builds the schedule from `get_config`."""
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((type(self).__name__, json.dumps(self.get_config(), sort_keys=True)))

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"

    def __str__(self) -> str:
        return type(self).__name__


def check_schedule(name: str, value: Any) -> PrecisionSchedule:
    """A schedule.

    Raises:
        ValueError: If it is none.
    """
    return instance(name, value, PrecisionSchedule, "a schedule such as CyclicPrecision('cosine')")


def check_range(q_min: Any, q_max: Any) -> tuple[int, int]:
    """Two numbers of bits, the second not below the first.

    Raises:
        ValueError: If they are not.
    """
    q_min, q_max = bit_width("q_min", q_min), bit_width("q_max", q_max)
    if q_min > q_max:
        raise ValueError(
            "q_min must be at most q_max, which the backward pass has at all times. Received: "
            f"q_min={q_min}, q_max={q_max}"
        )
    return q_min, q_max


def refuse_low_end(what: str, low: int, high: int) -> None:
    """Refuses a schedule that ends below its most bits.

    Raises:
        ValueError: Always.
    """
    raise ValueError(
        f"{what} ends at {low} bits, below its q_max={high}: what the network has learned with "
        "more bits is lost again. Let it rise at its end, or give allow_low_end=True."
    )
