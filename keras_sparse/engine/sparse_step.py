"""What a sparse optimizer does before and after the inner optimizer's step, on one replica."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_sparse.backend.replicas import Stage, assign_if
from keras_sparse.engine.rule import Clock, Rule, Tensors
from keras_sparse.sparsity.masks import apply_mask
from keras_sparse.sparsity.saliency import widened


class Variables(NamedTuple):
    """The variables that a step may change, of one replica.

    Args:
        learned: What the inner optimizer learns: the model's weights, or dense ones kept apart.
        masks: The masks in force.
        state: The rule's own tensors by name.
        weights: The model's weights.
        step: Steps taken.
        counters: The rule's counters by name.
        buffers: Moments that an update may reset.
        slots: For each pruned tensor the moments that start anew where a weight grows.
    """

    learned: Sequence[Any]
    masks: Sequence[Any]
    state: Mapping[str, Sequence[Any]]
    weights: Sequence[Any]
    step: Any
    counters: Mapping[str, Any]
    buffers: Sequence[Any]
    slots: Sequence[Sequence[Any]]

    def tensors(self, gradients: Sequence[Any] = ()) -> Tensors:
        """What a rule sees of them: floats in the weights' type, in float32 where that is half."""
        weights = [widened(weight) for weight in read(self.learned)]

        def as_weights(values: Sequence[Any]) -> list[Any]:
            return [
                ops.cast(value, weight.dtype) if _is_float(value) else value
                for value, weight in zip(values, weights, strict=True)
            ]

        state = {key: as_weights(read(variables)) for key, variables in self.state.items()}
        gradients = as_weights(gradients) if gradients else ()
        return Tensors(weights, read(self.masks), gradients, state)


def _is_float(value: Any) -> bool:
    return keras.backend.is_float_dtype(value.dtype)


def read(variables: Sequence[Any]) -> list[Any]:
    """The values of variables."""
    return [ops.convert_to_tensor(variable) for variable in variables]


def assign(variables: Sequence[Any], values: Sequence[Any]) -> None:
    """Gives variables new values."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(ops.cast(ops.convert_to_tensor(value), variable.dtype))


def clock_of(step: Any, rates: Sequence[Any]) -> Clock:
    """The step of a training, with one learning rate or one for each pruned tensor."""
    return Clock(step, rates[0], rates if len(rates) > 1 else ())


class Step:
    """One step of one replica, but for the inner optimizer's part in it.

    Args:
        rule: The method.
        starts: What a reset sets each of the buffers to.
        variables: What may change.
    """

    def __init__(self, rule: Rule, starts: Sequence[float], variables: Variables) -> None:
        self.rule, self.starts, self.variables = rule, starts, variables

    def before(self, due: Any, rates: Sequence[Any], gradients: Sequence[Any]) -> None:
        """Lets the rule learn, updates the masks and shows the inner optimizer the learned weights.

        Args:
            due: Whether masks are updated in this step: a boolean scalar, or `None` for never.
            rates: The inner optimizer's learning rate, or those of each tensor's own optimizer.
            gradients: Gradients of the pruned tensors, where the rule uses them.
        """
        rule, variables = self.rule, self.variables
        clock = clock_of(variables.step, rates)
        if variables.state:
            new = rule.update_state(clock, variables.tensors(gradients))
            for key, values in new.items():
                assign(variables.state[key], values)
        if due is not None and not rule.masks_follow_step:
            self._update_masks(due, clock, gradients)
        if rule.shadow:
            assign(variables.weights, variables.learned)

    def after(self, due: Any, rates: Sequence[Any], gradients: Sequence[Any]) -> None:
        """Takes the learned weights over and gives the model the effective ones.

        The arguments are those of `before`.
        """
        rule, variables = self.rule, self.variables
        clock = clock_of(variables.step, rates)
        if rule.shadow:
            before = variables.tensors(gradients)
            assign(variables.learned, rule.learned(before, read(variables.weights)))
        if due is not None and rule.masks_follow_step:
            self._update_masks(due, clock, gradients)
        assign(variables.weights, rule.effective(clock, variables.tensors()))
        variables.step.assign(ops.convert_to_tensor(variables.step) + 1)

    def _update_masks(self, due: Any, clock: Clock, gradients: Sequence[Any]) -> None:
        variables, update = self.variables, _MaskUpdate(self, clock, gradients)
        state = {key: list(variables.state[key]) for key in self.rule.changes_with_masks}
        masks = (dict(variables.counters), list(variables.masks), state)
        stages = [
            Stage(masks, update.masks),
            Stage(list(variables.learned), update.learned),
            *(
                Stage(buffer, partial(update.buffer, buffer, start))
                for start, buffer in zip(self.starts, variables.buffers, strict=True)
            ),
            *(
                Stage(slot, partial(update.slot, slot, i))
                for i, group in enumerate(variables.slots)
                for slot in group
            ),
        ]
        assign_if(due, stages)


class _MaskUpdate:
    """New values of what a mask update changes, in the order in which it asks for them.

    Args:
        step: The step that it is part of.
        clock: The step's.
        gradients: Gradients of the pruned tensors, where the rule uses them.
    """

    def __init__(self, step: Step, clock: Clock, gradients: Sequence[Any]) -> None:
        self._step, self._clock, self._gradients = step, clock, gradients

    def masks(self) -> tuple[Mapping[str, Any], list[Any], Mapping[str, list[Any]]]:
        """Counters, masks and the rule's state."""
        rule, variables = self._step.rule, self._step.variables
        self._before = variables.tensors(self._gradients)
        self._new = new = rule.update_masks(self._clock, variables.counters, self._before)
        # Now: TensorFlow reads a variable where it is used, which is after its assignment.
        survivors = self._before.masks if new.survivors is None else new.survivors
        pairs = zip(survivors, new.masks, strict=True) if any(variables.slots) else ()
        self._not_grown = [ops.logical_or(old, ops.logical_not(mask)) for old, mask in pairs]
        return (
            {key: new.counters[key] for key in variables.counters},
            list(new.masks),
            {key: list(new.state[key]) for key in rule.changes_with_masks},
        )

    def learned(self) -> list[Any]:
        """The learned weights."""
        rule, before, new = self._step.rule, self._before, self._new
        learned = before.weights if new.weights is None else new.weights
        if rule.shadow:
            return list(learned)
        after = Tensors(learned, new.masks, (), {**before.state, **new.state})
        return list(rule.effective(self._clock, after))

    def buffer(self, buffer: Any, start: float) -> Any:
        """A moment of the optimizer, reset if the update says so."""
        fresh = ops.cast(start, buffer.dtype)
        return ops.where(self._new.reset, fresh, ops.convert_to_tensor(buffer))

    def slot(self, slot: Any, of: int) -> Any:
        """A moment of a pruned tensor, zero where a weight has grown."""
        return apply_mask(ops.convert_to_tensor(slot), self._not_grown[of])
