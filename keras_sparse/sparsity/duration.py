"""Lengths of time in a training run: epochs, optimizer steps or a fraction of the run."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from keras_sparse.messages.arguments import integer, is_number, number, wrong

_UNITS = {"ep": "epochs", "epochs": "epochs", "st": "steps", "steps": "steps", "%": "percent"}
_WITH_UNIT = re.compile(r"\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*(ep|epochs|st|steps|%)\s*")


@dataclasses.dataclass(frozen=True)
class Run:
    """The length of one `fit`: what schedules are resolved against.

    Args:
        epochs: Integer, epochs in the whole run.
        steps_per_epoch: Integer, batches (optimizer steps) in an epoch.
    """

    epochs: int
    steps_per_epoch: int

    @property
    def steps(self) -> int:
        """Optimizer steps in the whole run."""
        return self.epochs * self.steps_per_epoch


@dataclasses.dataclass(frozen=True)
class Duration:
    """A point in time or a length of time, in exactly one unit.

    Schedules take a `Duration` wherever they take a time, or what `Duration.of` understands:
    a number is epochs, a string names its unit (`"3ep"`, `"500st"`, `"75%"`).

    ```python
    Duration(epochs=3).to_steps(Run(epochs=10, steps_per_epoch=100))  # 300
    Duration.of("75%").to_steps(Run(epochs=10, steps_per_epoch=100))  # 750
    ```

    Args:
        epochs: Number of epochs, may be fractional.
        steps: Integer number of optimizer steps.
        fraction: Fraction of the whole run, in [0, 1].

    Raises:
        ValueError: If not exactly one unit is given, or its value is out of range.
    """

    epochs: float | None = None
    steps: int | None = None
    fraction: float | None = None

    def __post_init__(self) -> None:
        given = {k: v for k, v in dataclasses.asdict(self).items() if v is not None}
        if len(given) != 1:
            raise ValueError(
                "A Duration has exactly one unit: Duration(epochs=...), Duration(steps=...) or "
                f"Duration(fraction=...). Received: {given or 'none'}"
            )
        ((unit, value),) = given.items()
        checked = {
            "epochs": lambda: number(unit, value, "[0, inf)"),
            "steps": lambda: integer(unit, value, 0),
            "fraction": lambda: number(unit, value, "[0, 1]"),
        }
        object.__setattr__(self, unit, checked[unit]())

    @classmethod
    def of(cls, value: Any, name: str = "time") -> Duration:
        """Reads a duration from a number (epochs), a string with a unit, or a `Duration`.

        Args:
            value: What was given.
            name: The name of the argument, for errors.

        Raises:
            ValueError: If it is none of these, or out of range.
        """
        if isinstance(value, Duration):
            return value
        allowed = "a number of epochs, a string such as '3ep', '500st' or '75%', or a Duration"
        unit = _unit(value)
        if unit is None:
            raise wrong(name, value, allowed)
        try:
            return cls(**unit)
        except (TypeError, ValueError) as error:
            raise wrong(name, value, allowed, f"{error}.") from error

    def to_steps(self, run: Run) -> int:
        """Optimizer steps of this duration within `run`, rounded to the nearest step."""
        if self.steps is not None:
            return int(self.steps)
        if self.epochs is not None:
            return round(self.epochs * run.steps_per_epoch)
        return round((self.fraction or 0.0) * run.steps)

    def get_config(self) -> dict[str, float]:
        """The one unit that is set, as a dictionary for `Duration.of`."""
        return {k: v for k, v in dataclasses.asdict(self).items() if v is not None}

    def __str__(self) -> str:
        if self.steps is not None:
            return f"{self.steps} steps"
        if self.epochs is not None:
            return f"{self.epochs:g} epochs"
        return f"{100 * (self.fraction or 0.0):g} % of the run"


def _unit(value: Any) -> dict[str, Any] | None:
    """The arguments of the `Duration` that a value stands for, `None` if it stands for none."""
    if isinstance(value, dict):
        return value
    if is_number(value):
        return {"epochs": value}
    found = _WITH_UNIT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    amount, unit = float(found[1]), _UNITS[found[2]]
    if unit == "percent":
        return {"fraction": amount / 100}
    whole = unit == "steps" and amount.is_integer()
    return {unit: int(amount) if whole else amount}
