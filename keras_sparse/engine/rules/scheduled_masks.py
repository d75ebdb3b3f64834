"""Masks by magnitude or another score, chosen anew at planned steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from keras_sparse.engine.rule import Clock, Tensors, Update
from keras_sparse.engine.rules.planned import PlannedUpdates
from keras_sparse.sparsity.granularity import Granularity
from keras_sparse.sparsity.masks import choose_masks


@keras.saving.register_keras_serializable(package="keras_sparse")
class ScheduledMasks(PlannedUpdates):
    """Keeps the weights of the highest scores, as many as a plan says at each of its steps.

    Args:
        steps: Increasing integer steps of the mask updates.
        budgets: What may be kept before the first update and after each: one row of
            `mask_budgets` more than there are steps.
        granularity: The pruning pattern.
        joint: Whether all tensors share one ranking.
        resets: For each update, whether it sets the optimizer's buffers to zero.
        reset_buffers: Which buffers: `"momentum"`, `"all"` or `"none"`.
    """

    def __init__(
        self,
        steps: ArrayLike,
        budgets: ArrayLike,
        granularity: Granularity,
        joint: bool,
        resets: ArrayLike | None = None,
        reset_buffers: str = "none",
    ) -> None:
        super().__init__(steps)
        self.budgets = np.asarray(budgets, "int32")
        self.granularity = granularity
        self.joint = joint
        none = np.zeros(len(self.steps), bool)
        self.resets = none if resets is None else np.asarray(resets, bool)
        self.reset_buffers = reset_buffers

    def scores(self, tensors: Tensors) -> Sequence[Any] | None:
        """What each weight is worth; the highest are kept. `None`, the default: its magnitude."""
        return None

    def update_masks(self, clock: Clock, counters: Mapping[str, Any], tensors: Tensors) -> Update:
        """The highest scores, as many as the plan's latest update says."""
        planned = self.planned(clock.step)
        scores, budget = self.scores(tensors), ops.take(self.budgets, planned, axis=0)
        masks = choose_masks(
            tensors.weights if scores is None else scores,
            self.layouts,
            budget,
            self.granularity,
            self.joint,
            absolute=scores is None,
        )
        resets = np.concatenate([[False], self.resets])
        return Update(masks, {"updates": planned}, ops.take(resets, planned))
