"""Ordinary training over several epochs: the reference, and what rivals begin with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from keras_sparse.messages.arguments import integer, number
from keras_sparse.streaming.learner.batches import Augment, standardizer
from keras_sparse.streaming.learner.model_state import uncompiled_copy


class OfflineBatches(keras.utils.PyDataset):
    """All examples in batches, shuffled and varied anew in each epoch.

    Args:
        x: Examples as they stream.
        y: Their classes.
        classes: Their number.
        batch_size: Examples of a step.
        augment: As for `StreamingLearner`.
        standardize: As for `StreamingLearner`.
        seed: Of the order and the augmentation.
        target: What the loss is given, of a model's inputs and one-hot or soft labels, in place of
            the labels.
    """

    def __init__(
        self,
        x: np.ndarray,
        y: ArrayLike,
        classes: int,
        batch_size: int = 128,
        augment: Augment | None = None,
        standardize: Any = None,
        seed: int = 0,
        target: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    ) -> None:
        super().__init__(workers=1)
        self.x, self.y = x, np.asarray(y)
        self.classes, self.batch_size, self.augment = classes, batch_size, augment
        self.standardize, self.seed, self.epoch = standardizer(standardize), seed, 0
        self.target = target

    def __len__(self) -> int:
        return -(-len(self.y) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(len(self.y))
        chosen = order[index * self.batch_size : (index + 1) * self.batch_size]
        x, soft = self.x[chosen], np.eye(self.classes, dtype=np.float32)[self.y[chosen]]
        if self.augment is not None:
            random = np.random.default_rng((self.seed, self.epoch, index))
            x, soft = self.augment(x, soft, random)
        inputs = self.standardize(x)
        return inputs, soft if self.target is None else self.target(inputs, soft)

    def on_epoch_end(self) -> None:
        """Begins another order."""
        self.epoch += 1


def train_offline(
    model: keras.Model,
    x: np.ndarray,
    y: ArrayLike,
    *,
    classes: int,
    epochs: int = 50,
    batch_size: int = 128,
    learning_rate: float = 0.1,
    weight_decay: float = 5e-4,
    augment: Augment | None = None,
    standardize: Any = None,
    from_logits: bool = True,
    seed: int = 0,
) -> None:
    """Trains a model as offline references are: SGD with momentum 0.9 and a cosine.

    The model's own optimizer is not touched.

    Args:
        model: A built model of one output, `(n, classes)`.
        x: Examples as they stream.
        y: Their classes.
        classes: Their number.
        epochs: Passes over the examples.
        batch_size: Examples of a step.
        learning_rate: Of the first step.
        weight_decay: A share of each weight times the learning rate.
        augment: As for `StreamingLearner`.
        standardize: As for `StreamingLearner`.
        from_logits: Whether the model's outputs are logits.
        seed: Of the order and the augmentation.

    Raises:
        ValueError: If a number is out of range.

    Source: Wolfe (2023), D.1.1.
    """
    integer("epochs", epochs)
    integer("batch_size", batch_size)
    number("learning_rate", learning_rate, "(0, inf)")
    data = OfflineBatches(x, y, classes, batch_size, augment, standardize, seed)
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * len(data))
    loss = keras.losses.CategoricalCrossentropy(from_logits=from_logits)
    fit_offline(model, data, loss, rate, epochs, weight_decay)


def fit_offline(
    model: keras.Model,
    data: keras.utils.PyDataset,
    loss: keras.losses.Loss,
    rate: Any,
    epochs: int,
    weight_decay: float,
) -> None:
    """Trains a model by SGD with momentum 0.9, and does not touch its own optimizer.

    Args:
        model: A built model.
        data: Batches.
        loss: What is minimized.
        rate: The learning rate or its schedule.
        epochs: Passes over the batches.
        weight_decay: A share of each weight times the learning rate.
    """
    trained = uncompiled_copy(model)
    trained.compile(keras.optimizers.SGD(rate, momentum=0.9, weight_decay=weight_decay), loss)
    trained.fit(data, epochs=epochs, shuffle=False, verbose=0)
    model.set_weights(trained.get_weights())
