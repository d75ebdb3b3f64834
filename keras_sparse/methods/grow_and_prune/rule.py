"""Masks that open whole tensors at planned steps and close them again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from keras_sparse.engine.rule import Clock, Tensors, Update
from keras_sparse.engine.rules.planned import PlannedUpdates
from keras_sparse.sparsity.granularity import Granularity
from keras_sparse.sparsity.masks import apply_mask, kept_counts, prune_further


@keras.saving.register_keras_serializable(package="keras_sparse")
class GrowAndPrune(PlannedUpdates):
    """Prunes what was dense, then grows what is dense next, at planned steps.

    What is pruned is set to zero, and what grows starts from there: growing alone changes no
    output. It happens in this order, so that a tensor which is dense twice in a row loses its
    smallest weights in between. The counter `peak` is the largest number of weights that were
    not pruned at the same time.

    Args:
        steps: Increasing integer steps of the updates.
        dense: Which tensors are dense: booleans of shape `(updates + 1, tensors)`, the first row
            before the first update.
        budget: What pruning keeps: one row of `mask_budgets`.
        granularity: The pruning pattern.
        joint: Whether all tensors share one ranking; pruning then ranks all of them anew.
        reset_buffers: What of the optimizer each update resets: see `Rule`.
        closing: Which tensors each update prunes: booleans of shape `(updates, tensors)`. Defaults
            to what was dense before it; more where other trainings have grown the rest.
    """

    counters: ClassVar[Mapping[str, int]] = {"updates": 0, "peak": 0}

    def __init__(
        self,
        steps: ArrayLike,
        dense: ArrayLike,
        budget: ArrayLike,
        granularity: Granularity,
        joint: bool,
        reset_buffers: str = "none",
        closing: ArrayLike | None = None,
    ) -> None:
        super().__init__(steps)
        self.dense = np.asarray(dense, bool)
        self.closing = self.dense[:-1] if closing is None else np.asarray(closing, bool)
        self.budget = np.asarray(budget, "int32")
        self.granularity = granularity
        self.joint = joint
        self.reset_buffers = reset_buffers

    def pruned(self, dense: Any, tensors: Tensors) -> list[Any]:
        """The masks once the tensors that are dense are pruned.

        Args:
            dense: Which tensors are dense, booleans of shape `(tensors,)`.
            tensors: The tensors.
        """
        smaller = prune_further(
            tensors.weights,
            tensors.masks,
            self.layouts,
            self.budget,
            self.granularity,
            self.joint,
        )
        # One ranking for all: a tensor that was sparse may lose weights to one that was dense.
        chosen = [ops.any(dense) if self.joint else dense[i] for i in range(len(smaller))]
        return [
            ops.where(choose, new, mask)
            for choose, new, mask in zip(chosen, smaller, tensors.masks, strict=True)
        ]

    def update_masks(self, clock: Clock, counters: Mapping[str, Any], tensors: Tensors) -> Update:
        """Prunes what has been dense since the latest update, and grows what the plan says now."""
        planned = self.planned(clock.step)
        before = ops.take(self.closing, ops.cast(counters["updates"], "int32"), axis=0)
        grown = ops.take(self.dense, planned, axis=0)
        kept = self.pruned(before, tensors)
        weights = [apply_mask(w, m) for w, m in zip(tensors.weights, kept, strict=True)]
        masks = [ops.logical_or(mask, grown[i]) for i, mask in enumerate(kept)]
        peak = ops.maximum(ops.cast(counters["peak"], "int32"), ops.sum(kept_counts(masks)))
        new = {"updates": planned, "peak": peak}
        return Update(masks, new, self.reset_buffers != "none", weights=weights)
