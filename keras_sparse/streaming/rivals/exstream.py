"""ExStream: prototypes of frozen features, the two closest of a class merged when it is full."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_sparse.backend.any_batch import any_batch_step
from keras_sparse.messages.arguments import integer, number, random_seed
from keras_sparse.streaming.learner.classifier import softmax
from keras_sparse.streaming.learner.stream_states import State
from keras_sparse.streaming.rivals.frozen_trunk import FrozenTrunk


class Prototypes:
    """Weighted means of the examples of one class.

    Args:
        most: How many there may be.

    Attributes:
        vectors: `(n, d)`.
        counts: How many examples each stands for.
    """

    def __init__(self, most: int) -> None:
        self.most = integer("most", most)
        self.vectors = np.empty((0, 0), np.float32)
        self.counts = np.empty(0, np.int64)

    def add(self, vector: np.ndarray) -> None:
        """Stores an example; if there is no room, the two closest become one before."""
        if not len(self.counts):
            self.vectors = np.empty((0, len(vector)), np.float32)
        if len(self.counts) == self.most:
            self.merge()
        self.vectors = np.concatenate([self.vectors, vector[None]])
        self.counts = np.append(self.counts, 1)

    def merge(self) -> None:
        """Makes one of the two closest, or room where there is but one."""
        if self.most == 1:
            self.vectors, self.counts = self.vectors[:0], self.counts[:0]
            return
        squares = (self.vectors**2).sum(1)
        distances = squares[:, None] + squares - 2 * self.vectors @ self.vectors.T
        distances[np.tril_indices(len(squares))] = np.inf
        one, other = np.unravel_index(np.argmin(distances), distances.shape)
        count = self.counts[one] + self.counts[other]
        weighted = self.counts[one] * self.vectors[one] + self.counts[other] * self.vectors[other]
        self.vectors[one], self.counts[one] = weighted / count, count
        self.vectors = np.delete(self.vectors, other, 0)
        self.counts = np.delete(self.counts, other)


class ExStream(FrozenTrunk):
    """Trains what is behind a model's frozen features on prototypes of each class.

    After each example the rest of the model passes once over all prototypes.

    ```python
    learner = ExStream(model, "stage2_dense", per_class=5)
    learner.base_initialize(x, y, epochs=1)
    learner.partial_fit(x[0], y[0])
    ```

    Args:
        model: A built classifier of logits, Sequential or functional.
        layer: The name of the last frozen layer.
        per_class: Prototypes of a class.
        standardize: As for `StreamingLearner`.
        learning_rate: Of Adam.
        batch_size: Prototypes of a step.
        seed: Of their order.

    Raises:
        ValueError: If an argument is none that can be used.

    Source: Hayes et al. (2019); Wolfe (2023), Table 10.
    """

    def __init__(
        self,
        model: keras.Model,
        layer: str,
        per_class: int = 20,
        *,
        standardize: Any = None,
        learning_rate: float = 2e-3,
        batch_size: int = 128,
        seed: int | None = 0,
    ) -> None:
        super().__init__(model, layer, standardize)
        self.batch_size = integer("batch_size", batch_size)
        self.random = np.random.default_rng(random_seed("seed", seed))
        integer("per_class", per_class)
        self.prototypes = [Prototypes(per_class) for _ in range(self.classes)]
        number("learning_rate", learning_rate, "(0, inf)")
        self.head.compile(
            keras.optimizers.Adam(learning_rate),
            keras.losses.CategoricalCrossentropy(from_logits=True),
        )
        self._step = any_batch_step(self.head)

    def begin(self, features: np.ndarray, y: np.ndarray) -> None:
        """Stores prototypes."""
        for vector, label in zip(features, y.tolist(), strict=True):
            self.prototypes[label].add(vector)

    def partial_fit(self, x: np.ndarray, y: int) -> None:
        """Learns from one example. See `StreamLearner.partial_fit`."""
        label = self.label(y)
        self.prototypes[label].add(self.features(np.asarray(x)[None])[0])
        held = [each for each in self.prototypes if len(each.counts)]
        vectors = np.concatenate([each.vectors for each in held])
        sizes = [len(each.counts) for each in self.prototypes]
        soft = np.eye(self.classes, dtype=np.float32)[np.repeat(np.arange(self.classes), sizes)]
        order = self.random.permutation(len(vectors))
        for i in range(0, len(order), self.batch_size):
            chosen = order[i : i + self.batch_size]
            shape = (len(chosen), *self.head.input_shape[1:])
            self._step(vectors[chosen].reshape(shape), soft[chosen])

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """How likely each class is, `(n, classes)`, for a batch of examples."""
        return softmax(self.model.predict_on_batch(self.standardize(x)))

    def features(self, x: np.ndarray) -> np.ndarray:
        """A vector of each example."""
        found = super().features(x)
        return found.reshape(len(found), -1)

    def state(self) -> State:
        """The model, the optimizer, and the prototypes."""
        sizes, models = self.both_arrays()
        arrays = [array.copy() for each in self.prototypes for array in (each.vectors, each.counts)]
        return {"sizes": sizes, "random": self.random.bit_generator.state}, [*models, *arrays]

    def restore(self, description: dict[str, Any], arrays: list[np.ndarray]) -> None:
        """Becomes what `state` described."""
        rest = self.assign_both(description["sizes"], arrays)
        for each, vectors, counts in zip(self.prototypes, rest[::2], rest[1::2], strict=True):
            each.vectors, each.counts = vectors, counts
        self.random.bit_generator.state = description["random"]
