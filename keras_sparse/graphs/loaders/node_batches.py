"""Batches of some nodes of a split at a time, with others that they take from."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_sparse.graphs.data.graph import Graph
from keras_sparse.graphs.data.normalization import normalized
from keras_sparse.graphs.loaders.base import GraphLoader
from keras_sparse.messages.arguments import boolean, integer


class NodeBatches(GraphLoader):
    """Base of loaders that go through the nodes of a split, in another order each epoch.

    Nodes that do not fill a batch are left out until the next epoch.

    Args:
        graph: The graph.
        kind: The adjacency that the layers take, as of `ks.graphs.normalized`.
        split: Whose nodes have weight.
        batch_size: Nodes of a batch, at most as many as the split has.
        shuffle: Whether they are shuffled every epoch.
        seed: Seed of all draws.
        **kwargs: As of `keras.utils.PyDataset`.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        graph: Graph,
        kind: str,
        split: str,
        batch_size: int,
        shuffle: bool,
        seed: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(graph, kind, split, seed, **kwargs)
        self.nodes = getattr(graph, split)
        integer("batch_size", batch_size, 1, len(self.nodes), f"{split} has so many nodes")
        self.batch_size = batch_size
        self.shuffle = boolean("shuffle", shuffle)
        self.links = normalized(graph.adjacency, kind)

    def __len__(self) -> int:
        return len(self.nodes) // self.batch_size

    def targets(self, epoch: int, index: int, stream: int) -> np.ndarray:
        """The nodes of a batch that have weight.

        Args:
            epoch: Number of the epoch.
            index: Number of the batch in it.
            stream: Number of the worker.
        """
        order = self.nodes
        if self.shuffle:
            order = self.generator(stream, epoch).permutation(order)
        return order[index * self.batch_size : (index + 1) * self.batch_size]

    def stored_features(self, nodes: int) -> int:
        """How many values sparse features of some nodes store at most, 0 for dense ones.

        Args:
            nodes: Number of nodes.
        """
        features = self.graph.features
        if not hasattr(features, "indptr"):
            return 0
        return int(np.sort(np.diff(features.indptr))[-nodes:].sum())
