"""Batches of clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from keras_sparse.graphs.data.graph import Graph
from keras_sparse.graphs.data.normalization import normalized
from keras_sparse.graphs.loaders.base import GraphLoader
from keras_sparse.graphs.loaders.batches import Batch, Size, batch_of
from keras_sparse.graphs.loaders.partitioning import chosen_partitioner, partition_nodes
from keras_sparse.messages.arguments import boolean, integer


class ClusterLoader(GraphLoader):
    """Batches that are the union of several clusters, with the edges between them.

    The graph is cut once; each epoch the clusters are shuffled and taken several at a time, and
    those that do not fill a batch are left out until the next epoch. All batches are padded to
    one size, that of the largest which can come, so that nothing is traced anew.

    ```python
    graph = ks.graphs.load("synthetic-sbm")
    model = ks.graphs.sage(graph.num_features, graph.num_classes, sparse_features=True)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    loader = ks.graphs.ClusterLoader(
        graph, "mean", num_parts=20, parts_per_batch=4, partitioner="ldg"
    )
    model.fit(loader, epochs=5)
    ```

    Args:
        graph: The graph.
        kind: The adjacency that the layers take, as of `ks.graphs.normalized`.
        num_parts: Number of clusters, from 1 to the number of nodes. METIS may make fewer.
        parts_per_batch: How many of them a batch unites, at most `num_parts`.
        partitioner: `"metis"` (of the extra `graphs`), `"ldg"` or `"random"`, as of
            `ks.graphs.partition_nodes`. The attribute `partitioner` says which it became.
        split: Whose nodes have weight.
        shuffle: Whether clusters are shuffled every epoch.
        seed: Seed of the cut and of the order.
        **kwargs: As of `keras.utils.PyDataset`.

    Raises:
        ValueError: If an argument is out of range.
        MissingExtraError: If METIS is asked for and not installed.

    Source: Chiang et al. (2019), Algorithm 1; Wolfe (2023), section 2.4.2.
    """

    def __init__(
        self,
        graph: Graph,
        kind: str,
        *,
        num_parts: int,
        parts_per_batch: int = 1,
        partitioner: str | None = None,
        split: str = "train",
        shuffle: bool = True,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(graph, kind, split, seed, **kwargs)
        integer("num_parts", num_parts, 1, graph.num_nodes)
        integer("parts_per_batch", parts_per_batch, 1, num_parts)
        self.partitioner = chosen_partitioner(partitioner)
        self.parts = partition_nodes(graph.adjacency, num_parts, self.partitioner, seed)
        self.parts_per_batch = min(parts_per_batch, len(self.parts))
        self.size = self._largest()
        self.shuffle = boolean("shuffle", shuffle)

    def __len__(self) -> int:
        return len(self.parts) // self.parts_per_batch

    def batch(self, epoch: int, index: int, stream: int = 0) -> Batch:
        """The union of the clusters whose turn it is."""
        order = np.arange(len(self.parts))
        if self.shuffle:
            order = self.generator(stream, epoch).permutation(order)
        first = index * self.parts_per_batch
        chosen = order[first : first + self.parts_per_batch]
        nodes = np.sort(np.concatenate([self.parts[each] for each in chosen]))
        return batch_of(self.graph, nodes, self.split, self.kind, self.size)

    def _largest(self) -> Size:
        """What no batch exceeds: the largest clusters together, with all of their edges."""
        edges = np.diff(normalized(self.graph.adjacency, self.kind).indptr)
        sparse = scipy.sparse.issparse(self.graph.features)
        values = np.diff(self.graph.features.indptr) if sparse else np.zeros(len(edges), int)
        counts = [np.ones(len(edges), int), edges, values]
        totals = (sorted(int(each[part].sum()) for part in self.parts) for each in counts)
        return Size(*(sum(each[-self.parts_per_batch :]) for each in totals))
