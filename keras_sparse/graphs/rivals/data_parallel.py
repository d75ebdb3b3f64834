"""Synchronous data parallelism: one step of all workers on the mean of their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.graphs.gist.backends import Part
from keras_sparse.graphs.gist.cutting import model_weights
from keras_sparse.graphs.gist.worker import Answer
from keras_sparse.graphs.rivals.local_sgd import LocalSGD


class DataParallel(LocalSGD):
    """Synchronous data parallelism: in each step workers compute gradients on batches of theirs.

    ```python
    graph = ks.graphs.load("synthetic-sbm")
    model = ks.graphs.gcn(graph.num_features, graph.num_classes, (64, 64))
    parallel = ks.graphs.DataParallel(model, num_subgcns=2)
    parallel.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    parallel.fit(ks.graphs.FullGraph(graph, "gcn"), epochs=40)
    ```

    Args:
        model: The model.
        num_subgcns: Number of workers.
        **kwargs: As of `GIST`, without what is about cuts, rounds and the optimizer's state.

    Source: Zinkevich et al. (2010); Wolfe (2023), section 2.2.4.
    """

    def __init__(self, model: keras.Model, num_subgcns: int = 2, **kwargs: Any) -> None:
        super().__init__(model, num_subgcns, 1, **kwargs)
        self.kept = "gradients"

    def part(self, round: int, rank: int) -> Part:
        """The weights; gradients are handed back."""
        weights = [np.asarray(ops.convert_to_numpy(each)) for each in model_weights(self.model)]
        like = [np.asarray(ops.convert_to_numpy(each)) for each in self._handed_back()]
        return Part(weights, like)

    def put_together(self, round: int, answers: Sequence[Answer]) -> None:
        """Makes a step on the mean of the gradients."""
        means = [
            np.mean(values, axis=0, dtype=np.float64).astype(values[0].dtype)
            for values in zip(*(answer.values for answer in answers), strict=True)
        ]
        trained = self.model.trainable_variables
        self.model.optimizer.apply(
            [ops.convert_to_tensor(each) for each in means[: len(trained)]], trained
        )
        others = self.model.non_trainable_weights
        for variable, value in zip(others, means[len(trained) :], strict=True):
            variable.assign(value)

    def _handed_back(self) -> list[Any]:
        return [*self.model.trainable_variables, *self.model.non_trainable_weights]
