"""The base class of sparse-training methods: pure functions on tensors."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import keras
import numpy as np

from keras_sparse.backend.gradients import masked_gradient
from keras_sparse.sparsity.masks import apply_mask
from keras_sparse.sparsity.selection import Target


class Clock(NamedTuple):
    """A step of the training.

    Args:
        step: Integer scalar, steps taken since training began.
        learning_rate: Float scalar, the inner optimizer's at this step; of several optimizers
            (`MultiOptimizer`) that of the one that trains the first pruned tensor.
        learning_rates: Of several optimizers, for each pruned tensor that of its own.
    """

    step: Any
    learning_rate: Any
    learning_rates: Sequence[Any] = ()

    def rate_of(self, index: int) -> Any:
        """The learning rate of a pruned tensor, a float scalar."""
        return self.learning_rates[index] if self.learning_rates else self.learning_rate


class Tensors(NamedTuple):
    """What a rule sees of the pruned tensors.

    Args:
        weights: The weights that the optimizer learns.
        masks: Boolean masks in force, True where a weight is kept.
        gradients: This step's gradients, summed over replicas and unscaled, where the rule
            asks for them (`uses_gradients`); otherwise empty.
        state: The rule's own tensors by name, one for each pruned tensor.
    """

    weights: Sequence[Any]
    masks: Sequence[Any]
    gradients: Sequence[Any] = ()
    state: Mapping[str, Sequence[Any]] = {}

    def each(self, change: Callable[[Sequence[Any]], Sequence[Any]]) -> Tensors:
        """All lists that are not empty, changed alike."""
        weights, masks, gradients = (change(v) if len(v) else v for v in self[:3])
        state = {key: change(values) for key, values in self.state.items()}
        return Tensors(weights, masks, gradients, state)


class Update(NamedTuple):
    """What a mask update changes.

    Args:
        masks: New boolean masks.
        counters: New values of the rule's counters.
        reset: Boolean scalar: whether to set the optimizer's buffers to what they start at.
        state: New values of the rule's own tensors in `changes_with_masks`.
        weights: New learned weights, where the update changes them otherwise than by the masks.
        survivors: Masks of what was never gone in between, where an update prunes and then grows:
            the moments of everything else that is kept start anew (`reset_grown`).
    """

    masks: Sequence[Any]
    counters: Mapping[str, Any]
    reset: Any = False
    state: Mapping[str, Sequence[Any]] = {}
    weights: Sequence[Any] | None = None
    survivors: Sequence[Any] | None = None


@keras.saving.register_keras_serializable(package="keras_sparse")
class Rule:
    """A sparse-training method, seen from the optimizer.

    `SparseOptimizer` calls a rule inside the compiled graph at each step, in this order:
    `update_state`, what the rule learns by itself; `due` and `update_masks`, whether and how
    masks change; `learning_gradients`, what the optimizer sees; and, after the optimizer's step,
    `effective`, what the model's weights become. A rule holds no tensors: all that changes lives
    in the optimizer's variables and is handed in. The base class keeps its masks for ever.

    Attributes:
        uses_gradients: Whether the rule looks at gradients.
        counters: Names and initial values of integer counters kept in the optimizer.
        shadow: Whether the optimizer learns dense weights of its own, of which the model only
            gets the effective values. Otherwise pruned weights are gone.
        masks_follow_step: Whether masks are updated after the optimizer's step rather than
            before, so that the next forward pass sees masks of the weights that it computes with.
        reset_buffers: Which buffers an update's `reset` clears: `"momentum"` (the first
            moment), `"all"` (every moment), `"restart"` (every moment and the iterations, by
            which a learning-rate schedule counts) or `"none"`.
        reset_grown: Whether the optimizer's moments of a weight that is pruned no longer start
            from zero.
        changes_with_masks: Names of the rule's own tensors that `update_masks` gives anew.
        sampled: Whether `effective` draws weights at random for each batch. The model then has
            the `evaluated` ones from the end of an epoch to the beginning of the next.
    """

    uses_gradients: ClassVar[bool] = False
    counters: ClassVar[Mapping[str, int]] = {}
    shadow: ClassVar[bool] = False
    masks_follow_step: ClassVar[bool] = False
    reset_grown: ClassVar[bool] = False
    changes_with_masks: ClassVar[tuple[str, ...]] = ()
    sampled: ClassVar[bool] = False
    reset_buffers: str = "none"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuses a setting by an earlier name, which would have no effect."""
        super().__init_subclass__(**kwargs)
        if "after_step" in vars(cls):
            raise TypeError(f"{cls.__name__}.after_step is now called masks_follow_step.")

    def train_step(self, model: keras.Model, optimizer: Any) -> Any:
        """A `train_step` in place of the model's own, or `None`.

        Args:
            model: The compiled model.
            optimizer: The `SparseOptimizer` in it.

        Raises:
            ValueError: If the model has a `train_step` that cannot be replaced.
        """
        return None

    @property
    def passes(self) -> float:
        """Forward and backward passes that a step takes, on average."""
        return 1.0

    def build(self, targets: Sequence[Target]) -> None:
        """Learns which tensors are pruned, once, before training."""
        self.layouts = [target.layout for target in targets]

    def initial_state(self, weights: Sequence[Any]) -> Mapping[str, Sequence[Any]]:
        """The rule's own tensors at the beginning, by name, one for each pruned tensor.

        Args:
            weights: The weights to prune, float32 or wider tensors.
        """
        return {}

    def update_state(self, clock: Clock, tensors: Tensors) -> Mapping[str, Sequence[Any]]:
        """New values of those of the rule's own tensors that change at each step."""
        return {}

    def due(self, step: Any, counters: Mapping[str, Any]) -> Any:
        """Whether masks are updated at this step, a boolean scalar, or `None` for never.

        Args:
            step: Integer scalar, steps taken since training began.
            counters: The rule's counters.
        """
        return None

    def update_masks(self, clock: Clock, counters: Mapping[str, Any], tensors: Tensors) -> Update:
        """New masks. Called in the graph, its result used when `due`."""
        raise NotImplementedError(f"{type(self).__name__} is due but has no update_masks")

    def learning_gradients(self, gradients: Sequence[Any], tensors: Tensors) -> Sequence[Any]:
        """The gradients that the optimizer sees. By default those of the kept weights.

        Args:
            gradients: This step's gradients; of one replica, scaled, and of a weight that is
                read by gather in slices, unless the rule `uses_gradients`.
            tensors: The pruned tensors.
        """
        return [masked_gradient(g, m) for g, m in zip(gradients, tensors.masks, strict=True)]

    def learned(self, before: Tensors, stepped: Sequence[Any]) -> Sequence[Any]:
        """The dense weights kept apart (`shadow`) after a step. By default the optimizer's.

        Args:
            before: The pruned tensors before the step.
            stepped: What the optimizer's step made of the weights.
        """
        return stepped

    def effective(self, clock: Clock, tensors: Tensors) -> Sequence[Any]:
        """The weights that the model computes with. By default the kept ones.

        Args:
            clock: The step that has just been taken; the weights are those of the next one.
            tensors: The pruned tensors.
        """
        return [apply_mask(w, m) for w, m in zip(tensors.weights, tensors.masks, strict=True)]

    def evaluated(self, tensors: Tensors) -> Sequence[Any]:
        """The weights of a model that is not training, where `effective` ones are `sampled`."""
        raise NotImplementedError(f"{type(self).__name__} is sampled but has no evaluated weights")

    def computed_weights(
        self,
        nonzeros: Sequence[float],
        masks: Sequence[np.ndarray],
        state: Mapping[str, Sequence[np.ndarray]],
    ) -> Sequence[float]:
        """With how many weights of each tensor a step computes, on average.

        Args:
            nonzeros: How many are not zero at the end of an epoch; the default.
            masks: The masks in force.
            state: The rule's own tensors by name.
        """
        return nonzeros

    def trained_weights(
        self, masks: Sequence[np.ndarray], state: Mapping[str, Sequence[np.ndarray]]
    ) -> Sequence[float]:
        """For how many weights of each tensor a step computes gradients, on average."""
        return [float(np.count_nonzero(mask)) for mask in masks]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, serialized.

        A rule keeps each of them in an attribute of its name.
        """
        return {name: _written(getattr(self, name)) for name in _arguments(type(self))}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Rule:
        """Builds the rule from `get_config`."""
        return cls(**{name: _read(value) for name, value in config.items()})


def _arguments(cls: type) -> list[str]:
    """The names of a constructor's arguments."""
    open_ended = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(cls).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind not in open_ended]


def _written(value: Any) -> Any:
    """A constructor's argument as JSON knows it."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_written(item) for item in value]
    if hasattr(value, "get_config"):
        return keras.saving.serialize_keras_object(value)
    return value


def _read(value: Any) -> Any:
    """The argument that `_written` wrote."""
    if isinstance(value, list):
        return [_read(item) for item in value]
    if isinstance(value, dict) and "class_name" in value:
        return keras.saving.deserialize_keras_object(value)
    return value
