"""Cyclic precision: the bits grow from `q_min` to `q_max` in each of several cycles."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_sparse.messages.arguments import boolean, integer, number, one_of, optional
from keras_sparse.messages.warning import SparsityWarning
from keras_sparse.precision.schedules.base import PrecisionSchedule, check_range, refuse_low_end

PROFILES = ("linear", "cosine", "exponential", "rex")
FORMS = ("repeated", "triangular")
REFLECTIONS = ("vertical", "horizontal")
# Profile, form and reflection; the group, by what is saved. Wolfe (2023), end of section 6.3.2.
SUITE: dict[str, tuple[str, str, str | None, str]] = {
    "RR": ("rex", "repeated", None, "I"),
    "RTH": ("rex", "triangular", "horizontal", "I"),
    "LR": ("linear", "repeated", None, "II"),
    "LT": ("linear", "triangular", None, "II"),
    "CR": ("cosine", "repeated", None, "II"),
    "CT": ("cosine", "triangular", None, "II"),
    "RTV": ("rex", "triangular", "vertical", "II"),
    "ETV": ("exponential", "triangular", "vertical", "II"),
    "ER": ("exponential", "repeated", None, "III"),
    "ETH": ("exponential", "triangular", "horizontal", "III"),
}
_SYMMETRIC = ("linear", "cosine")
_LONG = 2**40


@keras.saving.register_keras_serializable(package="keras_sparse")
class CyclicPrecision(PrecisionSchedule):
    """Cycles in which the bits grow along a profile, or fall and grow in turn.

    At step t of T with n cycles, `i = t n // T` is the cycle and `u = (t n mod T) / T` the place
    in it; `S(t) = q_min + (q_max - q_min) f(u)`. Profiles f(u): `"linear"` u, `"cosine"`
    `(1 - cos(pi u)) / 2`, `"exponential"` `1 - exp(-k u)`, `"rex"` `1 - (1 - u) / (1 - b u)`.
    The triangular form reflects every other cycle, beginning with the first: vertically,
    `1 - f(u)`, or horizontally, `f(1 - u)`. From step T on it stays at `q_max`.

    ```python
    schedule = ks.precision.CyclicPrecision("rex", "triangular", "horizontal", total_steps=8000)
    schedule.relative_cost()
    ```

    Args:
        profile: `"linear"`, `"cosine"`, `"exponential"` or `"rex"`.
        form: `"repeated"` or `"triangular"`.
        reflection: `"vertical"` or `"horizontal"`; the profiles linear and cosine have one
            reflection only, and need none named. A repeated form that is reflected falls in each
            cycle.
        num_cycles: n, even for a triangular form.
        q_min: Bits that a cycle begins with.
        q_max: Bits that it grows to, and bits of the backward pass.
        total_steps: T; `PrecisionScheduler` fills it in.
        rex_beta: b, in [0, 1).
        exp_rate: k, greater than 0.
        allow_low_end: Whether the last cycle may fall.

    Raises:
        ValueError: If an argument is out of range, a triangular form has an odd number of cycles,
            or the schedule ends low.

    Source: Wolfe (2023), section 6.3.2; the constants 0.9 and 4 from its public code.
    """

    def __init__(
        self,
        profile: str = "cosine",
        form: str = "repeated",
        reflection: str | None = None,
        num_cycles: int = 8,
        q_min: int = 3,
        q_max: int = 8,
        total_steps: int | None = None,
        *,
        rex_beta: float = 0.9,
        exp_rate: float = 4.0,
        allow_low_end: bool = False,
    ) -> None:
        self.profile = one_of("profile", profile, PROFILES)
        self.form = one_of("form", form, FORMS)
        self.reflection = optional(one_of, "reflection", reflection, REFLECTIONS)
        self.num_cycles = integer("num_cycles", num_cycles)
        self._q_min, self._q_max = check_range(q_min, q_max)
        self.rex_beta = number("rex_beta", rex_beta, "[0, 1)")
        self.exp_rate = number("exp_rate", exp_rate, "(0, inf)")
        self.allow_low_end = boolean("allow_low_end", allow_low_end)
        super().__init__(total_steps)
        self._check_form()
        if total_steps is not None:
            self.check()

    def _check_form(self) -> None:
        if self.form == "triangular":
            if self.num_cycles % 2:
                raise ValueError(
                    "num_cycles must be even for a triangular form, whose cycles fall and grow in "
                    f"turn: with an odd number it ends at q_min. Received: "
                    f"num_cycles={self.num_cycles}"
                )
            if self.reflection is None and self.profile not in _SYMMETRIC:
                raise ValueError(
                    f"reflection must be 'vertical' or 'horizontal' for the profile "
                    f"{self.profile!r}, which the two reflect differently. Received: "
                    "reflection=None"
                )
        elif self.reflection is not None and not self.allow_low_end and self.q_min < self.q_max:
            refuse_low_end("A repeated form that is reflected", self.q_min, self.q_max)

    @classmethod
    def from_name(cls, name: str, **arguments: Any) -> CyclicPrecision:
        """A schedule of the suite.

        ```python
        ks.precision.CyclicPrecision.from_name("RTH", q_min=3, q_max=8)
        ```

        Args:
            name: `"RR"`, `"RTH"`, `"LR"`, `"LT"`, `"CR"`, `"CT"`, `"RTV"`, `"ETV"`, `"ER"` or
                `"ETH"`: the profile's first letter, R for repeated or T for triangular, V or H.
            **arguments: As of `CyclicPrecision`.

        Raises:
            ValueError: If it is none of these.
        """
        profile, form, reflection, _ = SUITE[one_of("name", name, SUITE)]
        return cls(profile, form, reflection, **arguments)

    @property
    def q_min(self) -> int:
        """The least bits of the forward pass."""
        return self._q_min

    @property
    def q_max(self) -> int:
        """The most bits of the forward pass, and those of the backward pass at all times."""
        return self._q_max

    @property
    def name(self) -> str | None:
        """The name in the suite, `None` for one that is not of it."""
        for name, (profile, form, reflection, _) in SUITE.items():
            same = reflection == self.reflection or profile in _SYMMETRIC
            if (profile, form) == (self.profile, self.form) and same:
                return None if form == "repeated" and self.reflection else name
        return None

    @property
    def group(self) -> str | None:
        """`"I"`, `"II"` or `"III"`, by what it saves; `None` for one that is not of the suite."""
        return SUITE[self.name][3] if self.name else None

    def _growth(self) -> Callable[[np.ndarray], np.ndarray]:
        b, k = self.rex_beta, self.exp_rate
        return {
            "linear": lambda u: u,
            "cosine": lambda u: (1 - np.cos(math.pi * u)) / 2,
            "exponential": lambda u: 1 - np.exp(-k * u),
            "rex": lambda u: 1 - (1 - u) / ((1 - b) + b * (1 - u)),
        }[self.profile]

    def values(self, steps: np.ndarray) -> np.ndarray:
        """S(t) before it is rounded. See `PrecisionSchedule.values`."""
        total, f = self.steps, self._growth()
        steps = np.asarray(steps, "int64")
        cycle, place = steps * self.num_cycles // total, steps * self.num_cycles % total / total
        reflected = f(1 - place) if self.reflection == "horizontal" else 1 - f(place)
        if self.form == "triangular":
            share = np.where(cycle % 2 == 0, reflected, f(place))
        else:
            share = f(place) if self.reflection is None else reflected
        grown = self.q_min + (self.q_max - self.q_min) * share
        return np.where(steps >= total, float(self.q_max), grown)

    def check(self) -> None:
        """Warns if cycles are too short for the profile to reach `q_max`."""
        needed, length = self.steps_to_reach_q_max(), self.steps / self.num_cycles
        if self.allow_low_end or length >= needed:
            return
        cure = (
            f"which takes {needed}: train for at least {math.ceil(needed * self.num_cycles)} "
            "steps, or with fewer cycles"
            if needed < math.inf
            else f"which it never does with exp_rate={self.exp_rate:g}: give a larger one"
        )
        last = int(self.bits(np.array([self.steps - 1]))[0])
        warnings.warn(
            f"Cycles of {length:g} steps are too short for the profile {self.profile!r} to reach "
            f"{self.q_max} bits, {cure}. The last step has {last} bits; the model is evaluated "
            f"at {self.q_max} all the same.",
            SparsityWarning,
            stacklevel=2,
        )

    def steps_to_reach_q_max(self) -> float:
        """Steps that a cycle needs for its last one to be rounded to `q_max`, may be infinite."""
        bits, f = self.q_max - self.q_min, self._growth()
        if bits == 0:
            return 1

        def reaches(length: int) -> bool:
            last = np.array(1 - 1 / length)
            return bool(np.rint(self.q_min + bits * f(last)) == self.q_max)

        if not reaches(_LONG):
            return math.inf
        low, high = 0, _LONG
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if reaches(middle) else (middle, high)
        return high

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("profile", "form", "reflection", "num_cycles", "q_min", "q_max", "total_steps")
        more = ("rex_beta", "exp_rate", "allow_low_end")
        return {name: getattr(self, name) for name in (*names, *more)}

    def __str__(self) -> str:
        return self.name or f"{self.form} {self.profile}"


def cpt_suite(**arguments: Any) -> dict[str, CyclicPrecision]:
    """The ten schedules by their names, from the cheapest group to the dearest.

    ```python
    suite = ks.precision.cpt_suite(q_min=3, q_max=8, total_steps=64000)
    {name: schedule.relative_cost() for name, schedule in suite.items()}
    ```

    Args:
        **arguments: As of `CyclicPrecision`.

    Source: Wolfe (2023), section 6.3.2.
    """
    return {name: CyclicPrecision.from_name(name, **arguments) for name in SUITE}
