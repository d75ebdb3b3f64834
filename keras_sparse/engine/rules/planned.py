"""Rules whose mask updates are planned ahead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from keras_sparse.engine.rule import Rule


class PlannedUpdates(Rule):
    """Updates masks at given steps.

    Which update is in force is a counter, not a comparison with the clock: a run that is resumed
    or that skips steps catches up with the plan at its next step.

    Args:
        steps: Increasing integer steps of the mask updates.
    """

    counters: ClassVar[Mapping[str, int]] = {"updates": 0}

    def __init__(self, steps: ArrayLike) -> None:
        self.steps = np.asarray(steps, "int32")

    def planned(self, step: Any) -> Any:
        """How many updates the plan has made by a step, the step's own included."""
        return ops.sum(ops.cast(self.steps <= ops.cast(step, "int32"), "int32"))

    def due(self, step: Any, counters: Mapping[str, Any]) -> Any:
        """True when the plan is ahead of what was done."""
        return ops.not_equal(self.planned(step), ops.cast(counters["updates"], "int32"))
