"""What iCaRL and E2EIL have in common: they learn a batch of classes at a time."""

from __future__ import annotations

import abc
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from keras_sparse.messages.arguments import integer, number, wrong
from keras_sparse.streaming.evaluation.orderings import class_numbers
from keras_sparse.streaming.learner.batches import Augment, standardizer
from keras_sparse.streaming.learner.classifier import check_classifier
from keras_sparse.streaming.learner.learner import StreamLearner
from keras_sparse.streaming.learner.model_state import (
    assign_arrays,
    model_arrays,
    uncompiled_copy,
)
from keras_sparse.streaming.learner.offline import OfflineBatches
from keras_sparse.streaming.learner.stream_states import State
from keras_sparse.streaming.rivals.cut import cut, features_in_parts, flat
from keras_sparse.streaming.rivals.herding import herding


class BatchIncremental(StreamLearner):
    """Keeps what arrives until a batch has ended, and trains on it and on exemplars.

    Not streaming: it passes over each batch many times, and learns nothing between.

    Args:
        model: A built classifier of logits, Sequential or functional.
        layer: The name of the layer whose output the features are; maps are averaged.
        memory: Exemplars of all classes together, but at least one of each.
        epochs: Passes over a batch.
        batch_size: Examples of a step.
        learning_rate: Of the first epochs.
        weight_decay: A share of each weight times the learning rate.
        augment: As for `StreamingLearner`.
        standardize: As for `StreamingLearner`.
        seed: Of the order and the augmentation.

    Raises:
        ValueError: If an argument is none that can be used.
    """

    def __init__(
        self,
        model: keras.Model,
        layer: str,
        memory: int = 2000,
        *,
        epochs: int = 70,
        batch_size: int = 128,
        learning_rate: float = 0.1,
        weight_decay: float = 1e-5,
        augment: Augment | None = None,
        standardize: Any = None,
        seed: int = 0,
    ) -> None:
        self.model, self.classes = check_classifier(model, logits=True)
        self.trunk, _ = cut(model, layer)
        self.memory, self.epochs = integer("memory", memory), integer("epochs", epochs)
        self.batch_size = integer("batch_size", batch_size)
        self.learning_rate = number("learning_rate", learning_rate, "(0, inf)")
        self.weight_decay = number("weight_decay", weight_decay, "[0, inf)")
        self.augment, self.standardize = augment, standardizer(standardize)
        self._given, self.seed = standardize, integer("seed", seed, 0)
        self.exemplars: dict[int, np.ndarray] = {}
        # The classes of each batch that was learned.
        self.groups: list[list[int]] = []
        self._x: list[np.ndarray] = []
        self._y: list[int] = []

    @abc.abstractmethod
    def learn(self, x: np.ndarray, y: np.ndarray, known: list[int], arrived: list[int]) -> None:
        """Trains on a batch and the exemplars.

        Args:
            x: All examples.
            y: Their classes.
            known: Classes of earlier batches.
            arrived: Classes of this one.
        """

    def partial_fit(self, x: np.ndarray, y: int) -> None:
        """Keeps an example for the end of its batch."""
        label, example = integer("label", y, 0, self.classes - 1), np.asarray(x)
        if self._x and example.shape != self._x[0].shape:
            raise wrong("example", example.shape, f"of the shape {self._x[0].shape}")
        self._x.append(example)
        self._y.append(label)

    def base_initialize(self, x: np.ndarray, y: ArrayLike) -> None:
        """Learns a first batch.

        Args:
            x: Examples.
            y: Their classes.
        """
        for example, label in zip(x, class_numbers(y, len(x), self.classes).tolist(), strict=True):
            self.partial_fit(example, label)
        self.end_batch()

    def end_batch(self) -> None:
        """Learns from what was kept, and chooses exemplars of it."""
        if not self._x:
            return
        x, y = np.stack(self._x), np.array(self._y)
        kept = dict(sorted(self.exemplars.items()))
        known = list(kept)
        labels = [np.full(len(examples), label) for label, examples in kept.items()]
        arrived = np.unique(y).tolist()
        both = np.concatenate([x, *kept.values()]), np.concatenate([y, *labels])
        self.learn(*both, known, arrived)
        fresh = [label for label in arrived if label not in kept]
        if fresh:
            self.groups.append(fresh)
        each = max(1, self.memory // (len(known) + len(fresh)))
        for label in known:
            self.exemplars[label] = self.exemplars[label][:each]
        for label in arrived:
            of_it = np.concatenate([x[y == label], *([kept[label]] if label in kept else [])])
            self.exemplars[label] = of_it[herding(self.features(of_it), each)]
        self._x, self._y = [], []

    def features(self, x: np.ndarray) -> np.ndarray:
        """Features of length 1."""
        found = flat(features_in_parts(self.trunk, x, self.standardize))
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)

    def batches(self, x: np.ndarray, y: np.ndarray, target: Any = None) -> OfflineBatches:
        """Batches to train on. See `OfflineBatches`."""
        seed = self.seed + len(self.groups)
        return OfflineBatches(
            x, y, self.classes, self.batch_size, self.augment, self._given, seed, target
        )

    def teacher(self) -> keras.Model:
        """A copy of the model as it is now."""
        return uncompiled_copy(self.model)

    def state(self) -> State:
        """The model, the exemplars, and what waits for the end of its batch."""
        own, labels = model_arrays(self.model), sorted(self.exemplars)
        kept = [self.exemplars[label] for label in labels]
        waiting = np.stack(self._x) if self._x else np.empty(0)
        description = {"groups": [*self.groups], "labels": labels, "waiting": [*self._y]}
        return description, [waiting, *kept, *own]

    def restore(self, description: dict[str, Any], arrays: list[np.ndarray]) -> None:
        """Becomes what `state` described."""
        labels = description["labels"]
        self.groups, self._y = [*description["groups"]], [*description["waiting"]]
        self._x = list(arrays[0])
        self.exemplars = dict(zip(labels, arrays[1 : len(labels) + 1], strict=True))
        assign_arrays(self.model, arrays[len(labels) + 1 :])
