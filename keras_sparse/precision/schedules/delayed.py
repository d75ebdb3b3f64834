"""A schedule that begins late."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_sparse.messages.arguments import integer
from keras_sparse.precision.schedules.base import PrecisionSchedule, check_schedule


@keras.saving.register_keras_serializable(package="keras_sparse")
class DelayedPrecision(PrecisionSchedule):
    """`q_max` for the first steps, and another schedule over those that are left.

    Few bits do the most harm early in training, while a network learns fast.

    ```python
    ks.precision.DelayedPrecision(ks.precision.CyclicPrecision("rex"), delay=1000)
    ```

    Args:
        schedule: What begins late.
        delay: Steps at `q_max` before it.
        total_steps: Optimizer steps of the whole training; `PrecisionScheduler` fills it in.

    Raises:
        ValueError: If nothing of the training is left for the schedule.

    Source: Wolfe (2023), section 6.5.1, its last sentence.
    """

    def __init__(
        self, schedule: PrecisionSchedule, delay: int = 1000, total_steps: int | None = None
    ) -> None:
        self.schedule = check_schedule("schedule", schedule)
        self.delay = integer("delay", delay, 0)
        super().__init__(total_steps)
        if total_steps is not None:
            self.check()

    def check(self) -> None:
        """Gives the schedule the steps that are left."""
        if self.delay >= self.steps:
            raise ValueError(
                f"delay={self.delay} leaves nothing of {self.steps} steps for the schedule. Give "
                "fewer."
            )
        self.schedule = self.schedule.over(self.steps - self.delay)

    @property
    def q_min(self) -> int:
        """The least bits of the schedule."""
        return self.schedule.q_min

    @property
    def q_max(self) -> int:
        """The most bits of the schedule."""
        return self.schedule.q_max

    @property
    def group(self) -> str | None:
        """That of the schedule."""
        return self.schedule.group

    def values(self, steps: np.ndarray) -> np.ndarray:
        """The schedule's, from `delay` on. See `PrecisionSchedule.values`."""
        own = np.asarray(steps, "int64") - self.delay
        later = self.schedule.values(np.maximum(own, 0))
        return np.where(own < 0, float(self.q_max), later)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, serialized."""
        return {
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "delay": self.delay,
            "total_steps": self.total_steps,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DelayedPrecision:
        """Builds the schedule from `get_config`."""
        schedule = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(**{**config, "schedule": schedule})

    def __str__(self) -> str:
        return f"{self.schedule} delayed by {self.delay}"
