"""Rules whose optimizer goes on learning weights that are pruned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from keras_sparse.engine.rule import Clock, Rule, Tensors, Update
from keras_sparse.sparsity.granularity import Granularity
from keras_sparse.sparsity.masks import largest_masks


class DenseLearning(Rule):
    """Learns all weights by the gradient at the effective ones (the straight-through gradient).

    Four bytes more for each weight: the optimizer keeps the dense weights, the model gets the
    effective ones.
    """

    shadow: ClassVar[bool] = True
    masks_follow_step: ClassVar[bool] = True

    def learning_gradients(self, gradients: Sequence[Any], tensors: Tensors) -> Sequence[Any]:
        """All gradients, those of pruned weights included."""
        return gradients

    def trained_weights(
        self, masks: Sequence[np.ndarray], state: Mapping[str, Sequence[np.ndarray]]
    ) -> Sequence[float]:
        """All weights."""
        return [float(mask.size) for mask in masks]


@keras.saving.register_keras_serializable(package="keras_sparse")
class TopKMasks(Rule):
    """Keeps the largest weights of all, chosen anew after every so many steps.

    Args:
        budget: What may be kept, one row of `mask_budgets`.
        granularity: The pruning pattern.
        joint: Whether all tensors share one ranking.
        every: Steps between updates.
    """

    masks_follow_step: ClassVar[bool] = True

    def __init__(
        self, budget: ArrayLike, granularity: Granularity, joint: bool, every: int = 1
    ) -> None:
        self.budget = np.asarray(budget, "int32")
        self.granularity = granularity
        self.joint = joint
        self.every = every

    def due(self, step: Any, counters: Mapping[str, Any]) -> Any:
        """At the end of every so many steps."""
        return ops.equal((ops.cast(step, "int32") + 1) % self.every, 0)

    def update_masks(self, clock: Clock, counters: Mapping[str, Any], tensors: Tensors) -> Update:
        """The largest weights."""
        return Update(self.top(tensors.weights, self.budget), {})

    def top(self, weights: Sequence[Any], budget: np.ndarray) -> list[Any]:
        """Masks of the largest weights that a budget allows."""
        return largest_masks(weights, self.layouts, budget, self.granularity, self.joint)
