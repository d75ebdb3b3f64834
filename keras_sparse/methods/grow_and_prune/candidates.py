"""The best of several sparse models that one training passes by, kept in a file."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import keras

from keras_sparse.engine import installation
from keras_sparse.probe.snapshot import borrowed


class BestCandidate:
    """Scores candidates by their loss on validation data and keeps the best one's weights.

    Args:
        model: The model in training.
        validation_data: `(x, y)`, `(x, y, sample_weight)`, or batches as `evaluate` takes them.
        path: The file, ending in `.weights.h5`, that holds the best candidate. Defaults to none:
            candidates are only scored.
        resumed: Whether the training goes on with an earlier one; a file that is there is then
            its best candidate, and is scored anew.
    """

    def __init__(
        self, model: keras.Model, validation_data: Any, path: str | None, resumed: bool
    ) -> None:
        self.model, self.validation_data, self.path = model, validation_data, path
        self.best = math.inf
        if resumed and path is not None and os.path.exists(path):
            self.best = self._loss_in_file(path)

    def offer(self, become: Callable[[], None]) -> float:
        """Scores a candidate, and keeps it if it is the best yet; the model stays as it is.

        Args:
            become: Gives the model the candidate's weights.

        Returns:
            Its loss.
        """
        with borrowed(self.model, self.model.variables):
            become()
            loss = self._loss()
            if loss < self.best:
                self.best = loss
                if self.path is not None:
                    installation.save_plain_weights(self.model, self.path)
        return loss

    def _loss(self) -> float:
        given = self.validation_data
        arguments = given if isinstance(given, tuple) else (given,)
        names = ("x", "y", "sample_weight")[: len(arguments)]
        data = dict(zip(names, arguments, strict=True))
        return float(self.model.evaluate(**data, verbose=0, return_dict=True)["loss"])

    def _loss_in_file(self, path: str) -> float:
        own = installation.own_optimizer(self.model)
        with borrowed(self.model, [*self.model.variables, *own.variables]):
            with installation.without(self.model):
                self.model.load_weights(path)
            return self._loss()
