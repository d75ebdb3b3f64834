"""The same bits at every step."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_sparse.precision.schedules.base import PrecisionSchedule, bit_width


@keras.saving.register_keras_serializable(package="keras_sparse")
class ConstantPrecision(PrecisionSchedule):
    """The same bits throughout: what cyclic training is compared with.

    ```python
    ks.PrecisionScheduler(ks.precision.ConstantPrecision(8))
    ```

    Args:
        q: Bits of the forward pass.
        q_max: Bits of the backward pass. Defaults to `q`.
        total_steps: Optimizer steps of the training; `PrecisionScheduler` fills it in.

    Raises:
        ValueError: If a number of bits is out of range, or `q_max` is below `q`.

    Source: Wolfe (2023), section 6.4.1 (the static baseline).
    """

    def __init__(
        self, q: int = 8, q_max: int | None = None, total_steps: int | None = None
    ) -> None:
        self.q = bit_width("q", q)
        self._q_max = self.q if q_max is None else bit_width("q_max", q_max)
        if self._q_max < self.q:
            raise ValueError(f"q_max must be at least q={self.q}. Received: q_max={q_max}")
        super().__init__(total_steps)

    @property
    def q_min(self) -> int:
        """The bits of the forward pass."""
        return self.q

    @property
    def q_max(self) -> int:
        """The bits of the backward pass."""
        return self._q_max

    def values(self, steps: np.ndarray) -> np.ndarray:
        """The bits. See `PrecisionSchedule.values`."""
        return np.full(np.shape(steps), float(self.q))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"q": self.q, "q_max": self._q_max, "total_steps": self.total_steps}

    def __str__(self) -> str:
        return f"static {self.q}"
