"""Bits that change at given steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_sparse.messages.arguments import boolean, wrong
from keras_sparse.precision.schedules.base import (
    PrecisionSchedule,
    bit_width,
    refuse_low_end,
)


@keras.saving.register_keras_serializable(package="keras_sparse")
class StepPrecision(PrecisionSchedule):
    """Bits that change at given steps, such as a staircase from few to many.

    ```python
    ks.precision.StepPrecision([(0, 4), (1000, 6), (3000, 8)])
    ```

    Args:
        stairs: Pairs of a step and the bits from there on, the first of step 0, in rising order.
        total_steps: Optimizer steps of the training; `PrecisionScheduler` fills it in.
        allow_low_end: Whether the last stair may be below another one.

    Raises:
        ValueError: If the steps do not rise from 0, a number of bits is out of range, or the
            schedule ends low.

    Source: Wolfe (2023), sections 6.1 and 6.2 (the progressive precision of FracTrain).
    """

    def __init__(
        self,
        stairs: Sequence[tuple[int, int]] = ((0, 4), (1000, 8)),
        total_steps: int | None = None,
        allow_low_end: bool = False,
    ) -> None:
        self.stairs = _checked(stairs)
        self.allow_low_end = boolean("allow_low_end", allow_low_end)
        super().__init__(total_steps)
        last = self.stairs[-1][1]
        if last < self.q_max and not self.allow_low_end:
            refuse_low_end("StepPrecision", last, self.q_max)

    @property
    def q_min(self) -> int:
        """The least bits of the forward pass."""
        return min(q for _, q in self.stairs)

    @property
    def q_max(self) -> int:
        """The most bits of the forward pass, and those of the backward pass at all times."""
        return max(q for _, q in self.stairs)

    def values(self, steps: np.ndarray) -> np.ndarray:
        """The bits of the last stair before each step. See `PrecisionSchedule.values`."""
        starts, bits = np.array(self.stairs).T
        return bits[np.searchsorted(starts, steps, side="right") - 1].astype(float)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("stairs", "total_steps", "allow_low_end")
        return {name: getattr(self, name) for name in names}


def _checked(stairs: Any) -> list[list[int]]:
    allowed = "pairs (step, bits) whose steps rise from 0"
    try:
        pairs = [[step, bit_width("the bits of stairs", q)] for step, q in stairs]
    except (TypeError, ValueError) as error:
        raise wrong("stairs", stairs, allowed, f"{error}.") from error
    steps = [step for step, _ in pairs]
    whole = all(isinstance(s, (int, np.integer)) and not isinstance(s, bool) for s in steps)
    if not pairs or not whole or steps[0] != 0 or sorted(set(steps)) != steps:
        raise wrong("stairs", stairs, allowed)
    return [[int(step), q] for step, q in pairs]
