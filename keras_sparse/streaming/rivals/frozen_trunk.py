"""Learners whose model is frozen up to a layer, before the stream begins."""

from __future__ import annotations

import abc
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from keras_sparse.messages.arguments import integer
from keras_sparse.streaming.evaluation.orderings import class_numbers
from keras_sparse.streaming.learner.batches import standardizer
from keras_sparse.streaming.learner.classifier import check_classifier
from keras_sparse.streaming.learner.learner import StreamLearner
from keras_sparse.streaming.learner.model_state import assign_arrays, model_arrays
from keras_sparse.streaming.learner.offline import train_offline
from keras_sparse.streaming.rivals.cut import cut, features_in_parts


class FrozenTrunk(StreamLearner):
    """Base of learners on features that a part of the model computes, which stays as it is.

    Args:
        model: A built classifier of logits, Sequential or functional.
        layer: The name of the last frozen layer.
        standardize: As for `StreamingLearner`.

    Attributes:
        trunk: The model up to that layer.
        head: The model behind it.

    Raises:
        ValueError: If there is no such layer, or a connection passes it by.
    """

    def __init__(self, model: keras.Model, layer: str, standardize: Any = None) -> None:
        self.model, self.classes = check_classifier(model, logits=True)
        self.trunk, self.head = cut(model, layer)
        self.standardize, self._given = standardizer(standardize), standardize

    def base_initialize(self, x: np.ndarray, y: ArrayLike, epochs: int = 50) -> None:
        """Trains the whole model offline, freezes its trunk, and begins with its features.

        Args:
            x: Examples.
            y: Their classes.
            epochs: Passes over them.
        """
        labels = class_numbers(y, len(x), self.classes)
        train_offline(
            self.model, x, labels, classes=self.classes, epochs=epochs, standardize=self._given
        )
        self.begin(self.features(x), labels)

    @abc.abstractmethod
    def begin(self, features: np.ndarray, y: np.ndarray) -> None:
        """Stores or fits what it needs of the first examples.

        Args:
            features: Of the examples, as `features` gives them.
            y: Their classes.
        """

    def features(self, x: np.ndarray) -> np.ndarray:
        """What the trunk makes of examples."""
        return features_in_parts(self.trunk, x, self.standardize)

    def label(self, y: int) -> int:
        """A class that is checked."""
        return integer("label", y, 0, self.classes - 1)

    def both_arrays(self) -> tuple[list[int], list[np.ndarray]]:
        """The arrays of the model and of what learns, and how many each has."""
        body, head = model_arrays(self.model), model_arrays(self.head)
        return [len(body), len(head)], [*body, *head]

    def assign_both(self, sizes: list[int], arrays: list[np.ndarray]) -> list[np.ndarray]:
        """Gives the model and what learns the arrays of `both_arrays`.

        Args:
            sizes: How many each has.
            arrays: They, and others behind them.

        Returns:
            The others.
        """
        body, head = sizes
        assign_arrays(self.model, arrays[:body])
        assign_arrays(self.head, arrays[body : body + head])
        return arrays[body + head :]
