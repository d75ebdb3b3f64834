"""How a transferred model is compiled and fed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from keras_sparse.data import pipeline
from keras_sparse.messages.arguments import integer, number, wrong
from keras_sparse.transfer.labels import class_labels

_FALLS = (1 / 3, 2 / 3)


def step_decay(learning_rate: float, steps_per_epoch: int, epochs: int = 150) -> Any:
    """A learning rate that falls to a tenth after each third of the epochs.

    ```python
    rate = step_decay(0.01, steps_per_epoch=20)  # 0.001 in epochs 50 to 99, then 0.0001
    ```

    Args:
        learning_rate: The first.
        steps_per_epoch: Optimizer steps of an epoch.
        epochs: Epochs in all.

    Returns:
        A Keras learning-rate schedule.

    Source: Peste (2023), B.1.
    """
    number("learning_rate", learning_rate, "(0, inf)")
    steps, epochs = integer("steps_per_epoch", steps_per_epoch), integer("epochs", epochs)
    boundaries = [steps * end - 1 for end in _ends(epochs)]
    values = [learning_rate / 10**k for k in range(len(boundaries) + 1)]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, values)


def check_sgd(learning_rate: Any, momentum: Any, weight_decay: Any) -> None:
    """Checks the settings of `sgd`.

    Raises:
        ValueError: If one is out of range.
    """
    number("learning_rate", learning_rate, "(0, inf)")
    number("momentum", momentum, "[0, 1)")
    number("weight_decay", weight_decay, "[0, inf)")


def sgd(
    learning_rate: float, momentum: float, weight_decay: float, batches: Any, epochs: int
) -> keras.optimizers.Optimizer:
    """SGD with momentum, weight decay and `step_decay`, as the source trains.

    Of data that does not tell its length the rate is to fall by `falling_rate`.
    """
    length = steps_of(batches)
    rate = learning_rate if length is None else step_decay(learning_rate, length, epochs)
    return keras.optimizers.SGD(rate, momentum, weight_decay=weight_decay or None)


def falling_rate(learning_rate: float, batches: Any, epochs: int) -> list[keras.callbacks.Callback]:
    """What `step_decay` does, by epochs, for data that does not tell its length; else nothing."""
    if steps_of(batches) is not None:
        return []
    ends = _ends(epochs)
    return [
        keras.callbacks.LearningRateScheduler(
            lambda epoch: learning_rate / 10 ** sum(epoch >= end for end in ends)
        )
    ]


def _ends(epochs: int) -> list[int]:
    """The epochs at which the rate falls."""
    return sorted({round(part * epochs) for part in _FALLS} - {0})


def steps_of(batches: Any) -> int | None:
    """Batches of an epoch, `None` if the data does not tell."""
    if isinstance(batches, keras.utils.PyDataset):
        return batches.num_batches
    if hasattr(batches, "cardinality"):
        known = int(batches.cardinality())
        return known if known > 0 else None
    return len(batches) if hasattr(batches, "__len__") else None


def classification_loss(from_logits: bool) -> keras.losses.Loss:
    """The cross-entropy of class indices."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)


def accuracy_metrics() -> list[keras.metrics.Metric]:
    """What is measured unless another metric is asked for."""
    return [keras.metrics.SparseCategoricalAccuracy("accuracy")]


def given_data(
    x: Any, y: Any, classes: int | None, batch_size: int, seed: int, indices: bool
) -> tuple[Any, int | None]:
    """Batches to train on, in an order that the seed tells, and how many classes there are.

    Args:
        x: An array of inputs, or batches `(x, y)` if there is no `y`.
        y: Targets.
        classes: As given.
        batch_size: Samples in a batch, for arrays.
        seed: Of the order of arrays.
        indices: Whether targets are class indices.
    """
    integer("batch_size", batch_size)
    integer("seed", seed, 0)
    several = isinstance(x, (tuple, list, Mapping)) and y is not None and len(x) != len(y)
    if several:
        cure = "Give several inputs as batches ((first, second), y), such as a tf.data.Dataset."
        raise wrong("x", type(x).__name__, f"one array of {len(y)} samples", cure)
    if y is None:
        if hasattr(x, "shape") or isinstance(x, str) or not hasattr(x, "__iter__"):
            raise wrong("y", y, "the targets of x, unless x is an iterable of batches (x, y)")
        if indices and classes is None:
            raise wrong("classes", classes, "the number of classes where x is batches (x, y)")
        return x, classes
    if indices:
        y, classes = class_labels(y, classes)
    return pipeline(x, y, batch_size, seed=seed), classes
