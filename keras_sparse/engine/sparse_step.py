"""What a sparse optimizer does before and after the inner optimizer's step, on one replica."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_sparse.backend.graph_tensors import read
from keras_sparse.backend.replicas import assign_if
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


def assign(variables: Sequence[Any], values: Sequence[Any]) -> None:
    """Gives variables new values."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(ops.cast(ops.convert_to_tensor(value), variable.dtype))


def clock_of(step: Any, rates: Sequence[Any]) -> Clock:
    """The step of a training, with one learning rate or one for each pruned tensor."""
    return Clock(step, rates[0], rates if len(rates) > 1 else ())


class Changes(NamedTuple):
    """What a mask update changes: the variables, or their new values (see `assign_if`)."""

    counters: Mapping[str, Any]
    masks: Sequence[Any]
    state: Mapping[str, Sequence[Any]]
    learned: Sequence[Any]
    buffers: Sequence[Any]
    slots: Sequence[Sequence[Any]]


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
        tensors = variables.tensors()
        effective = rule.effective(clock, tensors)
        if effective is not tensors.weights or rule.shadow:
            assign(variables.weights, effective)
        variables.step.assign(ops.convert_to_tensor(variables.step) + 1)

    def _update_masks(self, due: Any, clock: Clock, gradients: Sequence[Any]) -> None:
        rule, variables = self.rule, self.variables
        changing = Changes(
            counters=dict(variables.counters),
            masks=list(variables.masks),
            state={key: list(variables.state[key]) for key in rule.changes_with_masks},
            learned=list(variables.learned),
            buffers=list(variables.buffers),
            slots=[list(group) for group in variables.slots],
        )
        assign_if(due, lambda: self._changed(clock, gradients), changing)

    def _changed(self, clock: Clock, gradients: Sequence[Any]) -> Changes:
        rule, variables = self.rule, self.variables
        before = variables.tensors(gradients)
        new = rule.update_masks(clock, variables.counters, before)
        # The step's end masks them; a copy of all of them now would be in memory at its peak.
        learned = [None] * len(before.weights) if new.weights is None else list(new.weights)
        survivors = before.masks if new.survivors is None else new.survivors
        not_grown = [
            ops.logical_or(old, ops.logical_not(mask))
            for old, mask in zip(survivors, new.masks, strict=True)
        ]
        return Changes(
            counters={key: new.counters[key] for key in variables.counters},
            masks=list(new.masks),
            state={key: list(new.state[key]) for key in rule.changes_with_masks},
            learned=learned,
            buffers=[
                partial(_reset_where, new.reset, start, buffer)
                for start, buffer in zip(self.starts, variables.buffers, strict=True)
            ],
            slots=[
                [partial(_only_where, keep, slot) for slot in group]
                for group, keep in zip(variables.slots, not_grown, strict=True)
            ],
        )


def _reset_where(reset: Any, start: float, buffer: Any) -> Any:
    return ops.where(reset, ops.cast(start, buffer.dtype), ops.convert_to_tensor(buffer))


def _only_where(keep: Any, slot: Any) -> Any:
    return apply_mask(read([slot])[0], keep)
