"""A training step that takes two gradients on one batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import keras
from keras import ops

from keras_sparse.backend.gradients import as_dense, gradient
from keras_sparse.backend.graph_tensors import read
from keras_sparse.backend.replicas import (
    assign_if,
    assign_on_replicas,
    replica_count,
    sum_over_replicas,
)
from keras_sparse.backend.training_state import steps_are_pure
from keras_sparse.engine.sparse_optimizer import SparseOptimizer
from keras_sparse.engine.sparse_step import clock_of

if TYPE_CHECKING:
    from keras_sparse.methods.compression_aware.two_gradients import Point, TwoGradientRule

_SEED = "seed_generator_state"
Given = list[tuple[Any, Any]]


class _Recorder:
    """Stands in for a model's optimizer: keeps the gradients and takes no step."""

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = optimizer
        self.gradients: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._optimizer, name)

    def apply_gradients(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        self.gradients = [slope for slope, _ in pairs]

    def stateless_apply(self, variables: Any, gradients: Any, weights: Any) -> tuple[Any, Any]:
        self.gradients = list(gradients)
        return weights, variables


class _Watched:
    """A model as Keras's own `train_step` sees it, with a recorder for its optimizer.

    The model itself is not touched, so that replicas may trace their steps side by side.
    """

    def __init__(self, model: keras.Model, recorder: _Recorder) -> None:
        self._model, self.optimizer = model, recorder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._model(*args, **kwargs)


class TwoGradientStep:
    """Keras's `train_step` of a model, with a second gradient before the optimizer's step.

    The first pass is Keras's own: it updates the moving statistics, the metrics and the logs. The
    second one computes with other values in place of the weights and leaves no trace; the weights
    are never overwritten. Both draw the same random numbers, so that dropout and augmentation
    layers show them the same batch.

    Args:
        model: A compiled model.
        optimizer: The `SparseOptimizer` in it, whose rule is a `TwoGradientRule`.

    Raises:
        ValueError: If the model has a `train_step` of its own.
    """

    def __init__(self, model: keras.Model, optimizer: SparseOptimizer) -> None:
        own = type(model).train_step
        if own is not keras.Model.train_step:
            raise ValueError(
                f"{type(optimizer.rule).__name__.removesuffix('Rule')} takes two gradients in a "
                f"step of Keras's own, and {type(model).__name__} defines a train_step of its "
                "own. Override compute_loss instead, which both gradients are taken of."
            )
        self.model, self.optimizer, self._own = model, optimizer, own
        self.step = self._on_jax if steps_are_pure() else self._on_tensorflow

    @property
    def rule(self) -> TwoGradientRule:
        """The method."""
        return cast("TwoGradientRule", self.optimizer.rule)

    def _on_tensorflow(self, data: Any) -> Any:
        model, recorder = self.model, _Recorder(self.model.optimizer)
        seeds = [v for v in model.non_trainable_variables if v.name == _SEED]
        given = list(zip(seeds, read(seeds), strict=True))
        logs = self._own(_Watched(model, recorder), data)
        combined = self._combined(recorder.gradients, data, given)
        model.optimizer.apply_gradients(zip(combined, model.trainable_variables, strict=True))
        return logs

    def _on_jax(self, state: Any, data: Any) -> Any:
        model, recorder = self.model, _Recorder(self.model.optimizer)
        logs, (weights, others, _, metrics) = self._own(_Watched(model, recorder), state, data)
        optimizer, variables = model.optimizer, model.optimizer.variables
        # The second pass begins with what the first one began with, random seeds included.
        given = [
            *zip(model.non_trainable_variables, state[1], strict=True),
            *zip(variables, state[2], strict=True),
            *zip(model.metrics_variables, state[3], strict=True),
        ]
        trained = zip(model.trainable_variables, weights, strict=True)
        with keras.StatelessScope(state_mapping=[*trained, *given]) as scope:
            combined = self._combined(recorder.gradients, data, given)
        changed = [scope.get_current_value(variable) for variable in variables]
        weights, changed = optimizer.stateless_apply(changed, combined, weights)
        return logs, (weights, others, changed, metrics)

    def _combined(self, recorded: Sequence[Any], data: Any, given: Given) -> list[Any]:
        """What the optimizer gets: scaled as the recorded gradients are, and of one replica."""
        rule, model = self.rule, self.model
        weights = read(model.trainable_variables)
        found = [
            ops.zeros_like(w) if g is None else as_dense(g)
            for g, w in zip(recorded, weights, strict=True)
        ]
        scale = model.optimizer.scale_loss(1.0)
        penalties = self._penalties(weights)
        clock = clock_of(ops.convert_to_tensor(self.optimizer.step), self.optimizer.rates())
        tensors = self.optimizer.tensors

        def gradient_at(point: Point) -> list[Any]:
            slopes = gradient(lambda values: self._loss(values, data, given), point.values)
            return rule.masked(slopes, point.masks)

        first = rule.first_point(clock, weights, tensors)
        if first is None:
            shared = _unscaled(sum_over_replicas(found), scale)
            for i, penalty in penalties.items():
                shared[i] = shared[i] - penalty
        else:
            shared = _unscaled(sum_over_replicas(gradient_at(first)), scale)
        second = rule.second_point(clock, weights, shared, tensors)
        self._remember(second)

        def both() -> list[Any]:
            slopes = gradient_at(second)
            if rule.plus:
                return [g + slope for g, slope in zip(found, slopes, strict=True)]
            for i, penalty in penalties.items():
                slopes[i] = slopes[i] + penalty * (scale / replica_count())
            return slopes

        if rule.base_probability == 0:
            combined = both()
        elif rule.base_probability == 1:
            combined = found
        else:
            combined = ops.cond(rule.is_plain(clock), lambda: found, both)
        pairs = zip(recorded, combined, strict=True)
        return [None if before is None else after for before, after in pairs]

    def _loss(self, values: Sequence[Any], data: Any, given: Given) -> Any:
        """The scaled loss of a batch, without regularizers, at other values of the weights."""
        model = self.model
        variables = model.trainable_variables
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        mapping = [*zip(variables, values, strict=True), *given]
        training = {"training": True} if model._call_has_training_arg else {}
        with (
            _without_regularizers(variables),
            keras.StatelessScope(state_mapping=mapping, collect_losses=True),
        ):
            outputs = model(x, **training)
            loss = model._compute_loss(
                x=x, y=y, y_pred=outputs, sample_weight=sample_weight, training=True
            )
            return model.optimizer.scale_loss(loss)

    def _penalties(self, weights: Sequence[Any]) -> dict[int, Any]:
        """The gradients of the layers' regularizers, by the places of their weights."""
        variables = self.model.trainable_variables
        regularized = [i for i, v in enumerate(variables) if v.regularizer is not None]

        def penalty(values: Sequence[Any]) -> Any:
            pairs = zip(regularized, values, strict=True)
            return sum(variables[i].regularizer(value) for i, value in pairs)

        slopes = gradient(penalty, [weights[i] for i in regularized]) if regularized else []
        return dict(zip(regularized, slopes, strict=True))

    def _remember(self, point: Point) -> None:
        if point.due is None:
            return
        names = list(point.memory)
        variables = [v for name in names for v in self.optimizer.state[name]]
        values = [value for name in names for value in point.memory[name]]

        def write(due: Any, values: Sequence[Any], variables: Sequence[Any]) -> None:
            assign_if(due, lambda: values, variables)

        strategy = getattr(self.optimizer, "_distribution_strategy", None)
        assign_on_replicas(strategy, write, self.optimizer.step, point.due, values, variables)


@contextmanager
def _without_regularizers(variables: Sequence[Any]) -> Iterator[None]:
    before = [variable.regularizer for variable in variables]
    for variable in variables:
        variable.regularizer = None
    try:
        yield
    finally:
        for variable, regularizer in zip(variables, before, strict=True):
            variable.regularizer = regularizer


def _unscaled(gradients: Sequence[Any], scale: Any) -> list[Any]:
    if isinstance(scale, float) and scale == 1:
        return list(gradients)
    return [slope / ops.cast(scale, slope.dtype) for slope in gradients]
