"""What the loaders share: batches that are known by their place in the training."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_sparse.graphs.data.graph import SPLITS, Graph
from keras_sparse.graphs.data.normalization import KINDS
from keras_sparse.graphs.loaders.batches import Batch
from keras_sparse.messages.arguments import instance, integer, one_of


class GraphLoader(keras.utils.PyDataset):
    """Base of loaders, whose batches depend on nothing but seed, stream, epoch and number.

    So workers can draw batches apart from each other, and a training that was interrupted goes on
    with the batches that it would have had. A subclass implements `batch` and `__len__`.

    Args:
        graph: The graph.
        kind: The adjacency that the layers take, as of `ks.graphs.normalized`.
        split: Whose nodes have weight.
        seed: Seed of all draws.
        **kwargs: As of `keras.utils.PyDataset`.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(self, graph: Graph, kind: str, split: str, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.graph = instance("graph", graph, Graph, "a Graph")
        self.kind = one_of("kind", kind, KINDS)
        self.split = one_of("split", split, SPLITS)
        self.seed = integer("seed", seed, 0)
        self.epoch = 0

    def batch(self, epoch: int, index: int, stream: int = 0) -> Batch:
        """A batch by its place.

        Args:
            epoch: Number of the epoch.
            index: Number of the batch in it.
            stream: Number of the worker: each has an order or draws of its own.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement batch")

    def batch_at(self, step: int, stream: int = 0) -> Batch:
        """The batch of a step of a training, counted over all its epochs.

        Args:
            step: Number of the step.
            stream: Number of the worker.
        """
        return self.batch(*divmod(step, len(self)), stream)

    def __getitem__(self, index: int) -> Batch:
        return self.batch(self.epoch, index)

    def on_epoch_end(self) -> None:
        """Goes on to the draws of the next epoch."""
        self.epoch += 1

    def generator(self, *place: int) -> np.random.Generator:
        """The random numbers of a place, such as `(stream, epoch)`."""
        return np.random.default_rng([self.seed, *place])
