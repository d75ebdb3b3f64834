"""GraphSAINT: subgraphs around random walks, with weights for what is drawn more often."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from keras_sparse.graphs.data.graph import Graph
from keras_sparse.graphs.data.normalization import normalized
from keras_sparse.graphs.loaders.base import GraphLoader
from keras_sparse.graphs.loaders.batches import Batch, Size, assembled, largest_rows
from keras_sparse.messages.arguments import integer


class SaintLoader(GraphLoader):
    """Batches that are the subgraphs which random walks touch.

    How often nodes and edges come is counted in subgraphs that are drawn beforehand. An edge's
    entry is divided by the share of its node's subgraphs that have it, and a node's loss by the
    share of subgraphs that have the node, so that both are right in the mean.

    ```python
    graph = ks.graphs.load("synthetic-sbm")
    model = ks.graphs.gcn(graph.num_features, graph.num_classes, (32,))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(ks.graphs.SaintLoader(graph, "gcn", roots=50, walk_length=2, steps=5), epochs=2)
    ```

    Args:
        graph: The graph.
        kind: The adjacency that the layers take, as of `ks.graphs.normalized`.
        roots: Number of walks of a subgraph; each begins at a random node.
        walk_length: Steps of a walk.
        steps: Subgraphs of an epoch. Defaults to as many as have the split's nodes once over.
        presampled: Subgraphs that are counted beforehand.
        split: Whose nodes have weight.
        seed: Seed of all draws.
        **kwargs: As of `keras.utils.PyDataset`.

    Raises:
        ValueError: If an argument is out of range.

    Source: Zeng et al. (2020), Algorithms 1 and 2, section 3.2.
    """

    def __init__(
        self,
        graph: Graph,
        kind: str,
        roots: int = 500,
        walk_length: int = 2,
        *,
        steps: int | None = None,
        presampled: int = 50,
        split: str = "train",
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(graph, kind, split, seed, **kwargs)
        self.roots = integer("roots", roots)
        self.walk_length = integer("walk_length", walk_length, 0)
        nodes = min(roots * (walk_length + 1), graph.num_nodes)
        self.steps = max(1, graph.num_nodes // nodes) if steps is None else integer("steps", steps)
        self.links = normalized(graph.adjacency, kind)
        edges = min(largest_rows(self.links, nodes), nodes * nodes)
        features = graph.features
        values = largest_rows(features, nodes) if hasattr(features, "indptr") else 0
        self.size = Size(nodes, edges, values)
        self._count(integer("presampled", presampled))

    def _count(self, presampled: int) -> None:
        """Counts how often nodes and edges come, and weighs both by it."""
        nodes = np.zeros(self.graph.num_nodes)
        of_row = np.repeat(np.arange(self.graph.num_nodes), np.diff(self.links.indptr))
        edges = np.zeros(self.links.nnz)
        for number in range(presampled):
            there = np.zeros(self.graph.num_nodes, bool)
            there[self._walked(self.generator(0, number))] = True
            nodes += there
            edges += there[of_row] & there[self.links.indices]
        # What never came is weighed as if it had come once.
        seen = np.maximum(nodes, 1)
        share = np.maximum(edges, 1) / seen[of_row]
        self._weighed = scipy.sparse.csr_array(
            ((self.links.data / share).astype(np.float32), self.links.indices, self.links.indptr),
            self.links.shape,
        )
        self._node_weights = self.graph.mask(self.split) * presampled / seen

    def _walked(self, draw: np.random.Generator) -> np.ndarray:
        """The nodes of a subgraph."""
        edges = self.graph.adjacency
        at = draw.integers(0, self.graph.num_nodes, self.roots)
        found = [at]
        for _ in range(self.walk_length):
            degree = edges.indptr[at + 1] - edges.indptr[at]
            chosen = edges.indptr[at] + (draw.random(len(at)) * degree).astype(np.int64)
            # Who has no neighbor stays where it is.
            at = np.where(degree > 0, edges.indices[np.minimum(chosen, edges.nnz - 1)], at)
            found.append(at)
        return np.unique(np.concatenate(found))

    def __len__(self) -> int:
        return self.steps

    def batch(self, epoch: int, index: int, stream: int = 0) -> Batch:
        """The subgraph of some walks."""
        # Beside those that were counted.
        nodes = self._walked(self.generator(1, stream, epoch, index))
        links = self._weighed[nodes][:, nodes]
        total = float(len(getattr(self.graph, self.split)))
        return assembled(self.graph, nodes, [links], self._node_weights[nodes], self.size, total)
