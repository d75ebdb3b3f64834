"""Batch-norm tuning: the statistics of a pruned model, measured anew."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.engine.compiled import compiled
from keras_sparse.sparsity.selection import check_built


def batch_norm_tuning(
    model: keras.Model,
    data: Any,
    *,
    batch_size: int = 128,
    steps: int = 100,
    momentum: float = 0.9,
    seed: int = 0,
) -> int:
    """Resets the moving statistics of batch normalization and measures them on data.

    Pruning changes every layer's outputs, and the statistics of the dense model no longer fit.
    They are reset (mean 0, variance 1) and forward passes in training mode fill them anew, with
    the weights left alone. After n steps `momentum ** n` of the reset value is left.

    ```python
    ks.prune(model, sparsity=0.8)
    ks.batch_norm_tuning(model, x_train[:1000])
    ```

    Args:
        model: A built Keras model.
        data: Calibration inputs: an array of shape `(samples,) + input_shape` (1,000 samples are
            enough), or an iterable of batches, inputs alone or `(inputs, ...)` tuples.
        batch_size: Samples in a batch, for an array.
        steps: Forward passes. Data that is shorter is passed over again, an array in new order.
        momentum: Share of the old value that each batch leaves in the moving statistics.
        seed: Seed of the order.

    Returns:
        The number of batch-normalization layers that were tuned.

    Raises:
        ValueError: If the model has no batch normalization, or the data is empty or its batches
            hold one sample only.

    Source: Peste (2023), 5.3.3, 5.4 and C.2 (100 steps of 128, momentum 0.1
    in the convention that weighs the new value).
    """
    check_built(model)
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must be in [0, 1). Received: momentum={momentum}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1. Received: steps={steps}")
    layers = batch_normalizations(model)
    if not layers:
        raise ValueError(
            f"Model {model.name!r} has no batch normalization: there is nothing to tune."
        )
    state = [v for layer in layers for v in (layer.moving_mean, layer.moving_variance)]
    others = [v for v in model.non_trainable_variables if not any(v is s for s in state)]
    before = [ops.convert_to_numpy(v) for v in others]
    settings = [(layer.momentum, layer.trainable) for layer in layers]
    batches = _batches(data, batch_size, steps, seed)
    try:
        for layer in layers:
            layer.momentum, layer.trainable = momentum, True
            layer.moving_mean.assign(ops.zeros(layer.moving_mean.shape))
            layer.moving_variance.assign(ops.ones(layer.moving_variance.shape))
        forward = _training_pass(model)
        for batch in batches:
            forward(batch)
    finally:
        for layer, (old, trainable) in zip(layers, settings, strict=True):
            layer.momentum, layer.trainable = old, trainable
        for variable, value in zip(others, before, strict=True):
            variable.assign(value)
    return len(layers)


def _training_pass(model: keras.Model) -> Callable[[Any], Any]:
    """A forward pass in training mode that leaves its statistics in the model."""
    if keras.backend.backend() == "jax":
        stateless = compiled(
            lambda trained, rest, batch: model.stateless_call(trained, rest, batch, training=True)
        )

        def forward(batch: Any) -> None:
            groups = model.trainable_variables, model.non_trainable_variables
            _, rest = stateless(*([v.value for v in group] for group in groups), batch)
            for variable, value in zip(model.non_trainable_variables, rest, strict=True):
                variable.assign(value)

        return forward

    def call(batch: Any) -> Any:
        return model(batch, training=True)

    return call if model.run_eagerly else compiled(call)


def batch_normalizations(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """The model's batch-normalization layers, those of nested models included."""
    return [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]


def _batches(data: Any, batch_size: int, steps: int, seed: int) -> Any:
    if hasattr(data, "shape"):
        return _array_batches(np.asarray(data), batch_size, steps, seed)
    return _given_batches(data, steps)


def _array_batches(x: np.ndarray, batch_size: int, steps: int, seed: int) -> Any:
    size = min(batch_size, len(x))
    if size < 2:
        raise ValueError(
            "Batch statistics need at least two samples a batch. Received: "
            f"{len(x)} samples, batch_size={batch_size}"
        )
    generator = np.random.default_rng(seed)
    per_pass = len(x) // size
    orders = (generator.permutation(len(x)) for _ in range(math.ceil(steps / per_pass)))
    made = 0
    for order in orders:
        for i in range(per_pass):
            if made == steps:
                return
            made += 1
            yield x[order[i * size : (i + 1) * size]]


def _given_batches(data: Any, steps: int) -> Any:
    made = 0
    while made < steps:
        before = made
        for batch in data:
            inputs = batch[0] if isinstance(batch, (tuple, list)) else batch
            yield inputs
            made += 1
            if made == steps:
                return
        if made == before:
            raise ValueError(
                "The calibration data holds no batch (a generator is used up after one pass: "
                "give an array, a list or a tf.data.Dataset)."
            )
