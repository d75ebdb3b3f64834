"""LADIES: nodes drawn for each layer from the neighbors of the layer above."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from keras_sparse.graphs.loaders.layerwise import LayerwiseLoader, squared_share


class LadiesLoader(LayerwiseLoader):
    """Layer-dependent importance sampling.

    For each layer nodes are drawn without replacement, with probabilities that follow the sums of
    squares in their columns of the rows above, and those of the batch are added. What is kept of
    the adjacency is divided by the probabilities, and its rows are brought to the sum 1.

    ```python
    graph = ks.graphs.load("synthetic-sbm")
    model = ks.graphs.gcn(graph.num_features, graph.num_classes, (32,), own_adjacency=True)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(ks.graphs.LadiesLoader(graph, "gcn", [64, 64], batch_size=20), epochs=2)
    model.evaluate(ks.graphs.FullGraph(graph, "gcn", split="test", adjacencies=2))
    ```

    The arguments are those of `LayerwiseLoader`.

    Source: Zou et al. (2019), Algorithm 1.
    """

    def probabilities(self, rows: np.ndarray) -> np.ndarray:
        """Shares in the sum of squares of the rows."""
        return squared_share(self.links[rows])

    def drawn(
        self, draw: np.random.Generator, chances: np.ndarray, samples: int, targets: np.ndarray
    ) -> np.ndarray:
        """Different nodes, and the batch's."""
        count = min(samples, int((chances > 0).sum()))
        found = draw.choice(len(chances), count, replace=False, p=chances)
        return np.union1d(found, targets)

    def reweighted(self, part: Any, chances: np.ndarray, samples: int) -> Any:
        """Divided by the probabilities, with rows of sum 1."""
        # A node of the batch that no row takes from has no chance and no entry.
        scaled = part @ scipy.sparse.diags_array(1 / np.where(chances > 0, chances, 1))
        sums = np.asarray(scaled.sum(axis=1)).ravel()
        return scipy.sparse.diags_array(1 / np.where(sums > 0, sums, 1)) @ scaled
