"""Few bits for a part of the training: how critical learning periods are found."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_sparse.messages.arguments import integer
from keras_sparse.precision.schedules.base import PrecisionSchedule, check_range, refuse_low_end


@keras.saving.register_keras_serializable(package="keras_sparse")
class DeficitPrecision(PrecisionSchedule):
    """Few bits in the steps `[start, end)`, many before and after.

    With `start=0` it is an initial deficit, otherwise a probe of that window.

    ```python
    ks.precision.DeficitPrecision(0, 400, q_min=3, q_max=8)
    ```

    Args:
        start: The first step of few bits.
        end: The first step after them.
        q_min: The few.
        q_max: The many, and the bits of the backward pass.
        total_steps: Optimizer steps of the training; `PrecisionScheduler` fills it in.

    Raises:
        ValueError: If the window is empty, bits are out of range, or nothing comes after it.

    Source: Wolfe (2023), section 6.5.1.
    """

    def __init__(
        self,
        start: int = 0,
        end: int = 1000,
        q_min: int = 3,
        q_max: int = 8,
        total_steps: int | None = None,
    ) -> None:
        self.start = integer("start", start, 0)
        self.end = integer("end", end, self.start + 1)
        self._q_min, self._q_max = check_range(q_min, q_max)
        super().__init__(total_steps)
        if total_steps is not None:
            self.check()

    def check(self) -> None:
        """Refuses a window that reaches to the end of the training."""
        if self.end >= self.steps and self.q_min < self.q_max:
            what = f"A window until step {self.end} of {self.steps}"
            refuse_low_end(what, self.q_min, self.q_max)

    @property
    def q_min(self) -> int:
        """The bits inside of the window."""
        return self._q_min

    @property
    def q_max(self) -> int:
        """The bits outside of it, and those of the backward pass at all times."""
        return self._q_max

    def values(self, steps: np.ndarray) -> np.ndarray:
        """The bits. See `PrecisionSchedule.values`."""
        inside = (np.asarray(steps) >= self.start) & (np.asarray(steps) < self.end)
        return np.where(inside, float(self.q_min), float(self.q_max))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("start", "end", "q_min", "q_max", "total_steps")
        return {name: getattr(self, name) for name in names}
