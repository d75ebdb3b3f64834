"""Batch-norm tuning: the statistics of a pruned model, measured anew."""

from __future__ import annotations

import contextlib
import math
import operator
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.backend.compiled import compiled
from keras_sparse.backend.replicas import strategy_scope
from keras_sparse.messages.arguments import integer, number, optional
from keras_sparse.probe.calibration import arrays_of, check_data, check_inputs, given_batches
from keras_sparse.probe.variables import check_built

# The share of earlier statistics that is worth a warning.
_STALE = 0.25


def batch_norm_tuning(
    model: keras.Model,
    data: Any,
    *,
    batch_size: int = 128,
    steps: int | None = 100,
    momentum: float | None = 0.9,
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
            enough), or `(x, y)`; a list or dict of arrays for several inputs; or an iterable of
            batches, inputs alone or `(inputs, ...)` tuples, such as a `tf.data.Dataset`.
        batch_size: Samples in a batch, for arrays.
        steps: Forward passes. Data that is shorter is passed over again, an array in new order.
            `None` for the batches that there are.
        momentum: Share of the old value that each batch leaves in the moving statistics. `None`
            for the mean over all batches, to which `steps=None` is enough: about as good as a
            hundred steps, in a tenth of the time.
        seed: Seed of the order.

    Returns:
        The number of batch-normalization layers that were tuned.

    Raises:
        ValueError: If the model has no batch normalization, or the data is empty or its batches
            hold one sample only.

    Source: Peste (2023), 5.3.3, 5.4 and C.2 (100 steps of 128, momentum 0.1
    in the convention that weighs the new value).
    """
    integer("batch_size", batch_size, 2)
    optional(integer, "steps", steps)
    integer("seed", seed, 0)
    tuner = StatisticsTuner(model, momentum)
    tuner.tune(tuning_batches(model, data, batch_size, steps, seed))
    return len(tuner.layers)


class StatisticsTuner:
    """Measures the moving statistics of batch normalization, by a pass that is compiled once.

    Args:
        model: A built Keras model, whose weights may change between two tunings.
        momentum: Share of the old value that each batch leaves in the moving statistics, or `None`
            for the mean over all batches.

    Raises:
        ValueError: If the model has no batch normalization, or the momentum is out of range.
    """

    def __init__(self, model: keras.Model, momentum: float | None) -> None:
        check_built(model)
        self.model, self.momentum = model, optional(number, "momentum", momentum, "[0, 1)")
        self.layers = batch_normalizations(model)
        if not self.layers:
            raise ValueError(
                f"Model {model.name!r} has no batch normalization: there is nothing to tune. "
                "Evaluate it as it is, without batch_norm_tuning or calibration data."
            )
        self._pass = self._forward if model.run_eagerly else compiled(self._forward)

    def _forward(self, weights: Any, state: Any, batch: Any) -> Any:
        return self.model.stateless_call(weights, state, batch, training=True)[1]

    def tune(self, batches: Iterable[Any]) -> None:
        """Resets the statistics and fills them anew; nothing else of the model changes.

        Args:
            batches: Inputs.
        """
        with self._settings(), strategy_scope(self.model):
            reset = {id(layer.moving_mean): 0.0 for layer in self.layers}
            reset |= {id(layer.moving_variance): 1.0 for layer in self.layers}
            weights = _values(self.model.trainable_variables)
            variables = self.model.non_trainable_variables
            places = [i for i, v in enumerate(variables) if id(v) in reset]
            state = _values(variables)
            for i in places:
                state[i] = ops.full(state[i].shape, reset[id(variables[i])], state[i].dtype)
            sums, count = [0.0] * len(places), 0
            for batch in batches:
                inputs = keras.tree.map_structure(ops.convert_to_tensor, batch)
                state = self._pass(weights, state, inputs)
                sums = [total + state[i] for total, i in zip(sums, places, strict=True)]
                count += 1
            for total, i in zip(sums, places, strict=True):
                variables[i].assign(total / count if self.momentum is None else state[i])

    def tune_if_better(self, batches: Iterable[Any], worth: Callable[[], float]) -> bool:
        """Tunes, and takes it back where the model was better before.

        Samples that are unlike those of the training can have statistics that the weights do not
        fit, as those of another data set under a new head.

        Args:
            batches: Inputs.
            worth: What the model is worth as it is, the more the better.

        Returns:
            Whether the statistics are the tuned ones.
        """
        statistics = [
            v for layer in self.layers for v in (layer.moving_mean, layer.moving_variance)
        ]
        before, old = worth(), [ops.convert_to_numpy(v).copy() for v in statistics]
        self.tune(batches)
        if worth() >= before:
            return True
        for variable, value in zip(statistics, old, strict=True):
            variable.assign(value)
        return False

    @contextlib.contextmanager
    def _settings(self) -> Iterator[None]:
        before = [(layer.momentum, layer.trainable) for layer in self.layers]
        try:
            for layer in self.layers:
                layer.momentum, layer.trainable = self.momentum or 0.0, True
            yield
        finally:
            for layer, (momentum, trainable) in zip(self.layers, before, strict=True):
                layer.momentum, layer.trainable = momentum, trainable


def _values(variables: Sequence[Any]) -> list[Any]:
    return [ops.convert_to_tensor(ops.convert_to_numpy(v), v.dtype) for v in variables]


def batch_normalizations(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """The model's batch-normalization layers, those of nested models included."""
    return [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]


def warn_of_stale_statistics(
    model: keras.Model, steps: float, when: str, whose: str, cure: str = "", stacklevel: int = 2
) -> None:
    """Says if steps are too few for moving statistics to become those of what is learned.

    Args:
        model: The model that is trained.
        steps: How many there are.
        when: After what, the beginning of a sentence.
        whose: Of what the statistics are that are left, its end.
        cure: What else helps, the end of the next one.
        stacklevel: As of `warnings.warn`, from the caller.
    """
    momenta = [layer.momentum for layer in batch_normalizations(model) if layer.trainable]
    left = max(momenta, default=0.0) ** steps
    if left > _STALE:
        warnings.warn(
            f"{when} the batch normalization of {model.name!r}, of momentum {max(momenta):g}, "
            f"still tests with {left:.0%} of the statistics of {whose}. Call "
            f"keras_sparse.models.set_batch_norm_momentum(model, 0.9) before{cure}.",
            stacklevel=stacklevel + 1,
        )


def tuning_batches(
    model: keras.Model, data: Any, batch_size: int, steps: int | None, seed: int
) -> Iterator[Any]:
    """Batches of calibration inputs, passed over again until there are enough.

    Args:
        model: The model that the samples are for.
        data: Arrays or batches: see `batch_norm_tuning`.
        batch_size: Samples in a batch, for arrays.
        steps: How many batches, or `None` for those of one pass.
        seed: Seed of the order of arrays.

    Yields:
        The inputs of a batch.

    Raises:
        ValueError: If the data is empty or unsuitable, or of arrays a batch holds one sample only.
    """
    check_data(data)
    arrays = arrays_of(model, data)
    if arrays is None:
        return _given_batches(model, data, steps)
    check_inputs(model, arrays[0])
    return _array_batches(arrays[0], batch_size, steps, seed)


def _array_batches(x: Any, batch_size: int, steps: int | None, seed: int) -> Iterator[Any]:
    samples = len(keras.tree.flatten(x)[0])
    size = min(batch_size, samples)
    if size < 2:
        raise ValueError(
            "Batch statistics need at least two samples a batch, and better a hundred. Received: "
            f"{samples} calibration samples, batch_size={batch_size}. Give about 1,000 samples of "
            "the training data, and a batch_size of at least 2."
        )
    x = keras.tree.map_structure(np.asarray, x)
    generator = np.random.default_rng(seed)
    per_pass = samples // size
    steps = steps or per_pass
    orders = (generator.permutation(samples) for _ in range(math.ceil(steps / per_pass)))
    made = 0
    for order in orders:
        for i in range(per_pass):
            if made == steps:
                return
            made += 1
            part = operator.itemgetter(order[i * size : (i + 1) * size])
            yield keras.tree.map_structure(part, x)


def _given_batches(model: keras.Model, data: Any, steps: int | None) -> Iterator[Any]:
    made = 0
    while made == 0 or (steps is not None and made < steps):
        before = made
        for inputs, _ in given_batches(model, data, endless=steps is not None):
            if made == 0:
                check_inputs(model, inputs)
            yield inputs
            made += 1
            if made == steps:
                return
        if made == before:
            raise ValueError(
                "The calibration data holds no batch (a generator is used up after one pass: "
                "give an array, a list or a tf.data.Dataset)."
            )
