"""The whole graph as one batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from keras_sparse.backend.repeated_batch import repeated_batch
from keras_sparse.graphs.data.graph import Graph
from keras_sparse.graphs.data.normalization import normalized
from keras_sparse.graphs.loaders.base import GraphLoader
from keras_sparse.graphs.loaders.batches import Batch, Size, batch_of
from keras_sparse.messages.arguments import integer


class FullGraph(GraphLoader):
    """The whole graph, for `fit`, `evaluate` and `predict`.

    ```python
    graph = ks.graphs.load("synthetic-sbm")
    model = ks.graphs.gcn(graph.num_features, graph.num_classes, dropout=0.5)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, weighted_metrics=["accuracy"])
    model.fit(ks.graphs.FullGraph(graph, "gcn", steps=50), epochs=2)
    model.evaluate(ks.graphs.FullGraph(graph, "gcn", split="test"))
    ```

    Metrics count the split's nodes alone if they are compiled as `weighted_metrics`.

    Args:
        graph: The graph.
        kind: The adjacency that the layers take, as of `ks.graphs.normalized`.
        split: Whose nodes have weight.
        steps: How often an epoch of Keras passes over the graph. Between passes there are no
            callbacks at the end of an epoch, which take longer than a pass over a small graph.
        adjacencies: How often the adjacency is given, as to a network with one for each layer.
        **kwargs: As of `keras.utils.PyDataset`.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        graph: Graph,
        kind: str,
        split: str = "train",
        *,
        steps: int = 1,
        adjacencies: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(graph, kind, split, **kwargs)
        self.steps = integer("steps", steps)
        self.adjacencies = integer("adjacencies", adjacencies)
        self._made: Batch | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_made": None}

    def dataset(self) -> Any:
        """The same for `fit` to read faster: a `tf.data.Dataset` on TensorFlow, itself on JAX."""
        return repeated_batch(self)

    def __len__(self) -> int:
        return self.steps

    def batch(self, epoch: int, index: int, stream: int = 0) -> Batch:
        """The whole graph, made at the first call."""
        if self._made is None:
            graph = self.graph
            values = graph.features.nnz if scipy.sparse.issparse(graph.features) else 0
            size = Size(graph.num_nodes, normalized(graph.adjacency, self.kind).nnz, values)
            nodes = np.arange(graph.num_nodes)
            inputs, labels, weights = batch_of(graph, nodes, self.split, self.kind, size)
            self._made = ((inputs[0], *inputs[1:] * self.adjacencies), labels, weights)
        return self._made
