"""Models and metrics that are built from the first batch of a training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_sparse.backend.replicas import strategy_scope


class _FirstBatch:
    """Stands in for a model's `train_function` until there is a batch to build the model from."""

    def __init__(self, model: keras.Model, then: Callable[[], None]) -> None:
        self.model, self.then, self.waiting_before = model, then, model.train_function

    def __call__(self, iterator: Any) -> Any:
        model = self.model
        try:
            model._symbolic_build(data_batch=iterator.element_spec)
        except (RuntimeError, ValueError, TypeError) as error:
            raise ValueError(
                f"Model {model.name!r} is not built, and cannot be built from its first batch. "
                "Call it on a batch, call model.build(input_shape), or give it an Input, before "
                f"fit. The reason: {error}"
            ) from error
        self.then()
        if isinstance(self.waiting_before, _FirstBatch):
            return self.waiting_before(iterator)
        model.train_function = None
        model.make_train_function()
        return model.train_function(iterator)


def at_first_batch(model: keras.Model, then: Callable[[], None]) -> None:
    """Builds a model when its training's first batch is at hand, and calls `then`.

    For the time between `on_train_begin` and the first step, on TensorFlow, where Keras leaves
    the building to the step itself. Elsewhere Keras has built the model by then.

    Args:
        model: A compiled model in `fit`, without variables.
        then: Called once, with the model built and its first step not taken.

    Raises:
        ValueError: If the model is still not built elsewhere; in the first step, if it cannot be
            built.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"Model {model.name!r} has no weights: there is nothing to train or prune in it."
        )
    model.train_function = _FirstBatch(model, then)


class _FirstTrace:
    """Stands in for a model's `train_function` until its metrics can be built."""

    def __init__(self, model: keras.Model) -> None:
        self.model, self.function = model, model.train_function

    def __call__(self, iterator: Any) -> Any:
        model = self.model
        if model.train_function is self:
            model.train_function = self.function
        _, targets, _ = keras.utils.unpack_x_y_sample_weight(iterator.element_spec)
        specs = keras.tree.flatten(targets)
        if not model._compile_metrics.built and all(hasattr(spec, "shape") for spec in specs):
            symbols = keras.tree.map_structure(
                lambda spec: keras.KerasTensor(spec.shape, spec.dtype.name), targets
            )
            with strategy_scope(model):
                model._compile_metrics.build(symbols, _returned(model))
        return self.function(iterator)


def _returned(model: keras.Model) -> Any:
    """What a model returns, in symbols."""
    return model.outputs[0] if isinstance(model, keras.Sequential) else model.output


def build_metrics_first(model: keras.Model) -> None:
    """Lets TensorFlow trace a training's first step once.

    A step in which variables come to be is traced a second time without them. Those of the
    optimizer are there once a rule is installed; Keras leaves the metrics' to the step.

    Args:
        model: A compiled model in `fit`, between `on_train_begin` and the first step. One that
            does not say what it returns, or trains in a way of its own, is left alone.
    """
    if keras.backend.backend() != "tensorflow" or not getattr(model, "outputs", None):
        return
    if model.train_function is None:  # A loop of one's own makes it later.
        return
    own = [getattr(type(model), name) for name in ("train_step", "compute_metrics")]
    if own != [keras.Model.train_step, keras.Model.compute_metrics]:
        return
    metrics = model._compile_metrics
    if metrics is not None and not metrics.built and not model.run_eagerly:
        model.train_function = _FirstTrace(model)
