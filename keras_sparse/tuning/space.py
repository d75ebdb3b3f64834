"""Ranges of hyperparameters, each with the scale on which it is searched."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import keras_tuner

from keras_sparse.messages.arguments import integer, is_number, number, text, wrong

# Before the name of a hyperparameter whose distance from 1 is searched.
REVERSED = "one_minus_"


class Range(abc.ABC):
    """Base class: a range of numbers, and a map to it from [0, 1)."""

    @abc.abstractmethod
    def value(self, u: float) -> Any:
        """The value at a place of the unit interval.

        Args:
            u: The place, from 0 to 1.
        """

    @abc.abstractmethod
    def place(self, value: Any) -> float:
        """The place in the unit interval of a value: the inverse of `value`."""

    @abc.abstractmethod
    def declare(self, name: str, hp: keras_tuner.HyperParameters) -> Any:
        """Declares the range in keras-tuner's search space.

        Args:
            name: The hyperparameter's name.
            hp: keras-tuner's hyperparameters.

        Returns:
            The value that `hp` has for it.
        """


@dataclasses.dataclass(frozen=True)
class Uniform(Range):
    """Numbers from a lowest to a highest, all as likely.

    ```python
    ks.tuning.Uniform(0.8, 0.98).value(0.5)  # 0.89
    ```

    Args:
        low: The lowest.
        high: The highest.

    Raises:
        ValueError: If they are no numbers in this order.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        number("low", self.low)
        number("high", self.high, f"({self.low!r}, inf)")

    def value(self, u: float) -> float:
        """`low + u (high - low)`."""
        return self.low + number("u", u, "[0, 1]") * (self.high - self.low)

    def place(self, value: float) -> float:
        """See `Range.place`."""
        return (number("value", value) - self.low) / (self.high - self.low)

    def declare(self, name: str, hp: keras_tuner.HyperParameters) -> float:
        """See `Range.declare`."""
        return hp.Float(name, self.low, self.high)


@dataclasses.dataclass(frozen=True)
class LogUniform(Range):
    """Positive numbers whose logarithm is uniform, such as a learning rate.

    ```python
    ks.tuning.LogUniform(1e-4, 1).value(0.5)  # 1e-2
    ```

    Args:
        low: The lowest, above 0.
        high: The highest.

    Raises:
        ValueError: If they are no positive numbers in this order.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        number("low", self.low, "(0, inf)")
        number("high", self.high, f"({self.low!r}, inf)")

    def value(self, u: float) -> float:
        """`low (high / low)^u`."""
        return self.low * (self.high / self.low) ** number("u", u, "[0, 1]")

    def place(self, value: float) -> float:
        """See `Range.place`."""
        return math.log(number("value", value, "(0, inf)") / self.low) / math.log(
            self.high / self.low
        )

    def declare(self, name: str, hp: keras_tuner.HyperParameters) -> float:
        """See `Range.declare`."""
        return hp.Float(name, self.low, self.high, sampling="log")


@dataclasses.dataclass(frozen=True)
class ReverseLogUniform(Range):
    """Numbers below 1 whose distance from 1 is log-uniform: momentum, or a sparsity.

    keras-tuner's own `sampling="reverse_log"` is another scale, nearly uniform from 0.9 to
    0.9999, so that `one_minus_NAME` is searched there, on a logarithmic scale.

    ```python
    ks.tuning.ReverseLogUniform(0.9, 0.9999).value(0.5)  # 0.9968
    ```

    Args:
        low: The lowest, at the place 1.
        high: The highest, below 1, at the place 0.

    Raises:
        ValueError: If they are no numbers below 1 in this order.

    Source: Lee (2020), Appendix 5.B, after Shallue et al. (2019).
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        number("low", self.low, "(-inf, 1)")
        number("high", self.high, f"({self.low!r}, 1)")

    def _distance(self) -> LogUniform:
        # Written out, 1 - 0.9999 would be 0.00010000000000000009.
        return LogUniform(*(round(1 - end, 15) for end in (self.high, self.low)))

    def value(self, u: float) -> float:
        """`1 - (1 - high) ((1 - low) / (1 - high))^u`."""
        return 1 - self._distance().value(u)

    def place(self, value: float) -> float:
        """See `Range.place`."""
        return self._distance().place(1 - number("value", value, "(-inf, 1)"))

    def declare(self, name: str, hp: keras_tuner.HyperParameters) -> float:
        """Declares `one_minus_NAME`, and gives the value of the range itself."""
        found = self._distance().declare(REVERSED + name, hp)
        # Keras-tuner has no value where the conditions of a hyperparameter do not hold.
        return found if found is None else 1 - found


@dataclasses.dataclass(frozen=True)
class IntUniform(Range):
    """Integers from a lowest to a highest, such as the steps of a decay.

    ```python
    ks.tuning.IntUniform(30000, 60000).value(0.5)  # 45000
    ```

    Args:
        low: The lowest.
        high: The highest, which the place 1 alone has.

    Raises:
        ValueError: If they are no integers in this order.
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        integer("low", self.low, -(2**62))
        integer("high", self.high, self.low + 1)

    def value(self, u: float) -> int:
        """The integer part of `low + u (high - low)`."""
        return int(self.low + number("u", u, "[0, 1]") * (self.high - self.low))

    def place(self, value: float) -> float:
        """See `Range.place`."""
        return (number("value", value) - self.low) / (self.high - self.low)

    def declare(self, name: str, hp: keras_tuner.HyperParameters) -> int:
        """See `Range.declare`."""
        return hp.Int(name, self.low, self.high)


# What a hyperparameter may be: a range, a list to choose from, or one value.
Searched: TypeAlias = Range | Sequence[Any] | float | str | bool


def declared(name: str, searched: Searched, hp: keras_tuner.HyperParameters) -> Any:
    """Declares what a hyperparameter may be, and gives the value that it has.

    Args:
        name: The hyperparameter's name.
        searched: A range, a list of values to choose from, or a fixed value.
        hp: keras-tuner's hyperparameters.
    """
    if isinstance(searched, Range):
        return searched.declare(name, hp)
    if isinstance(searched, (list, tuple)):
        return hp.Choice(name, list(searched))
    return hp.Fixed(name, searched)


def check_searched(name: str, searched: Any, inside: str) -> Searched:
    """Checks that all values that a hyperparameter may have are numbers in an interval.

    Args:
        name: The argument's name.
        searched: See `declared`.
        inside: The interval, such as `"[0, 1)"`.

    Raises:
        ValueError: If one is not, or there is none.
    """
    if isinstance(searched, Range):
        for end in (0, 1):
            number(name, searched.value(end), inside)
        return searched
    values = list(searched) if isinstance(searched, (list, tuple)) else [searched]
    allowed = f"a number in {inside}, a list of them, or a range such as ks.tuning.Uniform(...)"
    if not values or not all(is_number(value) for value in values):
        raise wrong(name, searched, allowed)
    for value in values:
        number(name, value, inside)
    return searched


def check_space(name: str, space: Any) -> dict[str, Range]:
    """Checks a mapping from names to ranges.

    Raises:
        ValueError: If it is none, or empty.
    """
    allowed = "a mapping from names to ranges, such as {'learning_rate': LogUniform(1e-4, 1)}"
    if not isinstance(space, Mapping) or not space:
        raise wrong(name, space, allowed)
    for key, searched in space.items():
        text(name, key)
        if not isinstance(searched, Range):
            raise wrong(name, space, allowed)
    return dict(space)
