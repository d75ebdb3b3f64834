"""The base class of sparse-training methods: pure functions on tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import keras

from keras_sparse.sparsity.masks import apply_mask
from keras_sparse.sparsity.selection import Target


class Tensors(NamedTuple):
    """What a rule sees of the pruned tensors when masks are updated.

    Args:
        weights: Current weights.
        masks: Boolean masks in force, True where a weight is kept.
        gradients: This step's gradients, averaged over replicas and unscaled, where the rule
            asks for them (`uses_gradients`); otherwise empty.
    """

    weights: Sequence[Any]
    masks: Sequence[Any]
    gradients: Sequence[Any] = ()


class Update(NamedTuple):
    """What a mask update changes.

    Args:
        masks: New boolean masks.
        counters: New values of the rule's counters.
        reset: Boolean scalar: whether to set the optimizer's buffers to zero.
    """

    masks: Sequence[Any]
    counters: Mapping[str, Any]
    reset: Any


@keras.saving.register_keras_serializable(package="keras_sparse")
class Rule:
    """A sparse-training method, seen from the optimizer.

    `SparseOptimizer` calls a rule inside the compiled graph at each step: `due` says whether
    masks change now, `update_masks` how, `mask_gradient` and `effective_weight` what becomes of
    each gradient and weight. A rule holds no tensors: all that changes lives in the optimizer's
    variables and is handed in. The base class keeps its masks for ever.

    Attributes:
        uses_gradients: Whether `update_masks` looks at gradients.
        counters: Names and initial values of integer counters kept in the optimizer.
        reset_buffers: Which buffers an update's `reset` clears: `"momentum"` (the first
            moment), `"all"` (every moment) or `"none"`.
    """

    uses_gradients: ClassVar[bool] = False
    counters: ClassVar[Mapping[str, int]] = {}
    reset_buffers: str = "none"

    def build(self, targets: Sequence[Target]) -> None:
        """Learns which tensors are pruned, once, before training."""
        self.layouts = [target.layout for target in targets]

    def due(self, step: Any, counters: Mapping[str, Any]) -> Any:
        """Whether masks are updated at this step, a boolean scalar, or `None` for never.

        Args:
            step: Integer scalar, steps taken since training began.
            counters: The rule's counters.
        """
        return None

    def update_masks(self, step: Any, counters: Mapping[str, Any], tensors: Tensors) -> Update:
        """New masks. Called in the graph, its result used when `due`."""
        raise NotImplementedError(f"{type(self).__name__} is due but has no update_masks")

    def mask_gradient(self, gradient: Any, mask: Any) -> Any:
        """The gradient that the optimizer sees. By default that of the kept weights."""
        return apply_mask(gradient, mask)

    def effective_weight(self, weight: Any, mask: Any) -> Any:
        """The weight that the model gets after the optimizer's step. By default masked."""
        return apply_mask(weight, mask)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, serialisable."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Rule:
        """Builds the rule from `get_config`."""
        return cls(**config)
