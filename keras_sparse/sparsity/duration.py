"""Lengths of time in a training run: epochs, optimizer steps or a fraction of the run."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

_UNITS = {"ep": "epochs", "epochs": "epochs", "st": "steps", "steps": "steps", "%": "percent"}


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
        if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
            raise ValueError(f"A Duration is a number of {unit}. Received: {unit}={value!r}")
        if value < 0 or (unit == "fraction" and value > 1) or (unit == "steps" and value % 1):
            allowed = {
                "epochs": "a number >= 0",
                "steps": "a whole number >= 0",
                "fraction": "a number in [0, 1]",
            }[unit]
            raise ValueError(f"{unit} must be {allowed}. Received: {unit}={value}")

    @classmethod
    def of(cls, value: Any) -> Duration:
        """Reads a duration from a number (epochs), a string with a unit, or a `Duration`."""
        if isinstance(value, Duration):
            return value
        if isinstance(value, dict):
            return cls(**value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return cls(epochs=value)
        if isinstance(value, str):
            found = re.fullmatch(r"\s*([0-9.]+)\s*(ep|epochs|st|steps|%)\s*", value)
            if found:
                number, unit = float(found[1]), _UNITS[found[2]]
                if unit == "percent":
                    return cls(fraction=number / 100)
                if unit == "steps":
                    return cls(steps=int(number) if number.is_integer() else number)  # type: ignore[arg-type]
                return cls(epochs=number)
        raise ValueError(
            "A time is a number of epochs, a string such as '3ep', '500st' or '75%', or a "
            f"Duration. Received: {value!r}"
        )

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
