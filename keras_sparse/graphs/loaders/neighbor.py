"""Batches of nodes with some of their neighbors, and some of theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse

from keras_sparse.graphs.data.graph import Graph
from keras_sparse.graphs.loaders.batches import Batch, Size, assembled, largest_rows
from keras_sparse.graphs.loaders.node_batches import NodeBatches
from keras_sparse.messages.arguments import integer, wrong


class NeighborLoader(NodeBatches):
    """Batches of nodes, some neighbors of each, some neighbors of each of those, and so on.

    A node's neighbors are drawn once without replacement, and all layers see them. What is kept
    of a row of the adjacency is scaled up to stand for all of it; a node's own entry is kept.

    ```python
    graph = ks.graphs.load("synthetic-sbm")
    model = ks.graphs.sage(graph.num_features, graph.num_classes, (32,), sparse_features=True)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(ks.graphs.NeighborLoader(graph, "mean", [10, 5], batch_size=20), epochs=2)
    ```

    Args:
        graph: The graph.
        kind: The adjacency that the layers take, as of `ks.graphs.normalized`.
        fanouts: How many neighbors are drawn at each distance, one for each layer.
        batch_size: Nodes of a batch that have weight.
        split: Whose nodes have weight.
        shuffle: Whether they are shuffled every epoch.
        seed: Seed of all draws.
        **kwargs: As of `keras.utils.PyDataset`.

    Raises:
        ValueError: If an argument is out of range.

    Source: Hamilton et al. (2017), Algorithm 2.
    """

    def __init__(
        self,
        graph: Graph,
        kind: str,
        fanouts: Sequence[int] = (25, 10),
        batch_size: int = 512,
        *,
        split: str = "train",
        shuffle: bool = True,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(graph, kind, split, batch_size, shuffle, seed, **kwargs)
        if not len(fanouts):
            raise wrong("fanouts", fanouts, "a list of numbers of neighbors, one for each layer")
        self.fanouts = [integer("fanouts", each) for each in fanouts]
        nodes, edges, front = batch_size, 0, batch_size
        for fanout in self.fanouts:
            edges += front * (fanout + 1)
            front = min(front * fanout, graph.num_nodes)
            nodes = min(nodes + front, graph.num_nodes)
        edges = min(edges + nodes, largest_rows(self.links, nodes))
        self.size = Size(nodes, edges, self.stored_features(nodes))

    def batch(self, epoch: int, index: int, stream: int = 0) -> Batch:
        """Some nodes and what is drawn around them."""
        draw = self.generator(stream, epoch, index)
        targets = self.targets(epoch, index, stream)
        nodes, front = targets, targets
        found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for fanout in self.fanouts:
            found.append(self._drawn(front, fanout, draw))
            front = np.setdiff1d(found[-1][1], nodes)
            nodes = np.concatenate([nodes, front])
        # The last ones draw no neighbors, but they have themselves.
        found.append(self._drawn(front, 0, draw))
        place = np.full(self.graph.num_nodes, -1)
        place[nodes] = np.arange(len(nodes))
        rows, columns, values = (np.concatenate(each) for each in zip(*found, strict=True))
        shape = (len(nodes), len(nodes))
        links = scipy.sparse.csr_array((values, (place[rows], place[columns])), shape)
        weights = np.arange(len(nodes)) < len(targets)
        return assembled(self.graph, nodes, [links], weights, self.size)

    def _drawn(
        self, nodes: np.ndarray, fanout: int, draw: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows, columns and values of the entries that are kept of some nodes' rows."""
        rows = self.links[nodes]
        of = np.repeat(np.arange(len(nodes)), np.diff(rows.indptr))
        own = nodes[of] == rows.indices
        # In each row the entries in a random order, its own first: the first ones are kept.
        order = np.lexsort((np.where(own, -1.0, draw.random(len(of))), of))
        has_own = np.bincount(of[own], minlength=len(nodes))
        rank = np.arange(len(of)) - rows.indptr[:-1][of] - has_own[of]
        degree = np.diff(rows.indptr) - has_own
        scale = np.where(own, 1.0, (degree / np.clip(degree, 1, max(fanout, 1)))[of])
        # `rank` counts along the rows, so that it is of the entries in their new order.
        kept = order[rank < fanout]
        return nodes[of[kept]], rows.indices[kept], (rows.data * scale)[kept].astype(np.float32)
