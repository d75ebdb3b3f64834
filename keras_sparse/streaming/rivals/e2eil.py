"""End-to-end incremental learning: distillation of what was known, then balanced fine-tuning."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.messages.arguments import integer, number
from keras_sparse.streaming.learner.classifier import softmax
from keras_sparse.streaming.learner.offline import fit_offline
from keras_sparse.streaming.rivals.batch_incremental import BatchIncremental


class E2EIL(BatchIncremental):
    """Cross entropy, and for the classes of each earlier batch the softened former outputs.

    After each batch the model is tuned on as many examples of each class.

    ```python
    learner = E2EIL(model, "stage2_dense", memory=20, epochs=1, tuning_epochs=1)
    learner.base_initialize(x, y)
    learner.predict(x).shape  # (96, 4)
    ```

    Args:
        model: As for `BatchIncremental`.
        layer: As for `BatchIncremental`.
        memory: As for `BatchIncremental`.
        temperature: By which logits are divided in distillation.
        tuning_epochs: Passes over the balanced examples.
        **kwargs: As for `BatchIncremental`.

    Raises:
        ValueError: If an argument is none that can be used.

    Source: Castro et al. (2018); Wolfe (2023), D.2.6.
    """

    def __init__(
        self,
        model: keras.Model,
        layer: str,
        memory: int = 2000,
        *,
        temperature: float = 2.0,
        tuning_epochs: int = 30,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, layer, memory, **kwargs)
        self.temperature = number("temperature", temperature, "(0, inf)")
        self.tuning_epochs = integer("tuning_epochs", tuning_epochs)

    def learn(self, x: np.ndarray, y: np.ndarray, known: list[int], arrived: list[int]) -> None:
        """Trains on all examples, then on as many of each class at a tenth of the rate."""
        self._distilled(x, y, self.learning_rate, self.epochs)
        if known:
            chosen = self._balanced(x, y)
            rate = self.learning_rate / 10
            self._distilled(x[chosen], y[chosen], rate, self.tuning_epochs)

    def _balanced(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        labels, counts = np.unique(y, return_counts=True)
        least, chosen = int(counts.min()), []
        random = np.random.default_rng((self.seed, len(self.groups)))
        for label in labels:
            members = np.flatnonzero(y == label)
            chosen.append(random.choice(members, least, replace=False))
        return np.concatenate(chosen)

    def _distilled(self, x: np.ndarray, y: np.ndarray, rate: float, epochs: int) -> None:
        teacher = self.teacher()

        def target(inputs: np.ndarray, soft: np.ndarray) -> np.ndarray:
            return np.concatenate([soft, np.asarray(teacher.predict_on_batch(inputs))], axis=1)

        data = self.batches(x, y, target)
        cosine = keras.optimizers.schedules.CosineDecay(rate, epochs * len(data))
        loss = _Distillation(self.classes, self.groups, self.temperature)
        fit_offline(self.model, data, loss, cosine, epochs, self.weight_decay)

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """How likely each class is, `(n, classes)`, for a batch of examples."""
        return softmax(self.model.predict_on_batch(self.standardize(x)))


class _Distillation(keras.losses.Loss):
    """Of labels and former logits side by side: cross entropy, and one more for each batch.

    Args:
        classes: Their number.
        groups: The classes of each earlier batch.
        temperature: By which logits are divided.
    """

    def __init__(self, classes: int, groups: list[list[int]], temperature: float) -> None:
        super().__init__()
        self.classes, self.groups, self.temperature = classes, groups, temperature

    def call(self, y_true: Any, y_pred: Any) -> Any:
        labels, before = y_true[:, : self.classes], y_true[:, self.classes :]
        total = ops.categorical_crossentropy(labels, y_pred, from_logits=True)
        for group in self.groups:
            theirs = ops.softmax(ops.take(before, group, -1) / self.temperature)
            ours = ops.take(y_pred, group, -1) / self.temperature
            total += ops.categorical_crossentropy(theirs, ours, from_logits=True)
        return total
