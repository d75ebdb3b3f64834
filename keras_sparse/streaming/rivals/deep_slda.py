"""Deep SLDA: linear discriminant analysis of frozen features, updated by each example."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_sparse.messages.arguments import integer, number
from keras_sparse.streaming.learner.classifier import softmax
from keras_sparse.streaming.learner.model_state import assign_arrays, model_arrays
from keras_sparse.streaming.learner.stream_states import State
from keras_sparse.streaming.rivals.cut import flat
from keras_sparse.streaming.rivals.frozen_trunk import FrozenTrunk


class StreamingLDA:
    """Linear discriminant analysis with a shared covariance, one example at a time.

    ```python
    lda = StreamingLDA(dimension=2, classes=2)
    lda.update(np.array([2.0, 0.0]), 0)
    ```

    Args:
        dimension: Of an example.
        classes: Their number.
        shrinkage: The share of the identity in the covariance that is inverted.

    Attributes:
        means: `(classes, dimension)`.
        covariance: `(dimension, dimension)`.
        counts: Examples of each class.

    Raises:
        ValueError: If an argument is out of range.

    Source: Hayes and Kanan (2020); Wolfe (2023), Table 10.
    """

    def __init__(self, dimension: int, classes: int, shrinkage: float = 1e-4) -> None:
        integer("dimension", dimension)
        integer("classes", classes)
        self.shrinkage = number("shrinkage", shrinkage, "[0, 1]")
        self.means = np.zeros((classes, dimension))
        self.covariance = np.zeros((dimension, dimension))
        self.counts = np.zeros(classes, np.int64)
        self.total = 0
        self._precision: np.ndarray | None = None

    def start(self, z: np.ndarray, y: np.ndarray) -> None:
        """Begins with the means of examples and a covariance by oracle approximating shrinkage."""
        from sklearn.covariance import OAS

        for label in np.unique(y):
            self.means[label] = z[y == label].mean(0)
            self.counts[label] = (y == label).sum()
        self.covariance = OAS(assume_centered=True).fit(z - self.means[y]).covariance_
        self.total, self._precision = len(y), None

    def update(self, z: np.ndarray, y: int) -> None:
        """Learns from one example."""
        n, away = self.total, z - self.means[y]
        self.covariance = (n * self.covariance + n / (n + 1) * np.outer(away, away)) / (n + 1)
        self.counts[y] += 1
        self.means[y] += away / self.counts[y]
        self.total, self._precision = n + 1, None

    def scores(self, z: np.ndarray) -> np.ndarray:
        """The discriminants, `(n, classes)`; of classes not met minus infinity."""
        if self._precision is None:
            e = self.shrinkage
            mixed = (1 - e) * self.covariance + e * np.eye(len(self.covariance))
            self._precision = np.linalg.pinv(mixed, hermitian=True)
        directions = self.means @ self._precision
        found = z @ directions.T - (self.means * directions).sum(1) / 2
        return np.where(self.counts > 0, found, -np.inf)


class DeepSLDA(FrozenTrunk):
    """Streaming linear discriminant analysis of a model's frozen features, without replay.

    ```python
    learner = DeepSLDA(model, "stage2_dense")
    learner.base_initialize(x, y, epochs=1)
    learner.partial_fit(x[0], y[0])
    ```

    Args:
        model: A built classifier, Sequential or functional.
        layer: The name of the layer whose output the features are; maps are averaged.
        standardize: As for `StreamingLearner`.
        shrinkage: The share of the identity in the covariance that is inverted.

    Raises:
        ValueError: If an argument is none that can be used.

    Source: Hayes and Kanan (2020); Wolfe (2023), Table 10.
    """

    def __init__(
        self,
        model: keras.Model,
        layer: str,
        *,
        standardize: Any = None,
        shrinkage: float = 1e-4,
    ) -> None:
        super().__init__(model, layer, standardize)
        self.lda = StreamingLDA(self.trunk.output_shape[-1], self.classes, shrinkage)

    def begin(self, features: np.ndarray, y: np.ndarray) -> None:
        """Fits means and covariance."""
        self.lda.start(features, y)

    def partial_fit(self, x: np.ndarray, y: int) -> None:
        """Learns from one example. See `StreamLearner.partial_fit`."""
        label = self.label(y)
        self.lda.update(self.features(np.asarray(x)[None])[0], label)

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """The softmax of the discriminants."""
        if not self.lda.counts.any():
            return np.full((len(x), self.classes), 1 / self.classes, np.float32)
        return softmax(self.lda.scores(self.features(x)).astype(np.float32))

    def features(self, x: np.ndarray) -> np.ndarray:
        """A vector of each example; maps are averaged."""
        return flat(super().features(x)).astype(np.float64)

    def state(self) -> State:
        """The model, the means and the covariance."""
        own = model_arrays(self.model)
        lda = self.lda
        arrays = [*own, lda.means.copy(), lda.covariance, lda.counts.copy()]
        return {"total": lda.total}, arrays

    def restore(self, description: dict[str, Any], arrays: list[np.ndarray]) -> None:
        """Becomes what `state` described."""
        *own, means, covariance, counts = arrays
        self.lda.means, self.lda.covariance = means.copy(), covariance.copy()
        self.lda.counts = counts.copy()
        assign_arrays(self.model, own)
        self.lda.total, self.lda._precision = description["total"], None
