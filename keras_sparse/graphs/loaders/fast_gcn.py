"""FastGCN: nodes drawn for each layer, with one probability for all of them."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import scipy.sparse

from keras_sparse.graphs.loaders.layerwise import LayerwiseLoader, squared_share


class FastGCNLoader(LayerwiseLoader):
    """Importance sampling of nodes, independent for each layer.

    Nodes are drawn with replacement, with probabilities that follow the sums of squares in the
    columns of the adjacency. What is kept of it is divided by the expected number of draws, so
    that its products with features are right in the mean.

    ```python
    graph = ks.graphs.load("synthetic-sbm")
    model = ks.graphs.gcn(graph.num_features, graph.num_classes, (32,), own_adjacency=True)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(ks.graphs.FastGCNLoader(graph, "gcn", [200, 200], batch_size=20), epochs=2)
    ```

    The arguments are those of `LayerwiseLoader`.

    Source: Chen et al. (2018), equations 4 and 10, Algorithm 2.
    """

    @functools.cached_property
    def chances(self) -> np.ndarray:
        """The probability of each node."""
        return squared_share(self.links)

    def probabilities(self, rows: np.ndarray) -> np.ndarray:
        """The same for all rows."""
        return self.chances

    def drawn(
        self, draw: np.random.Generator, chances: np.ndarray, samples: int, targets: np.ndarray
    ) -> np.ndarray:
        """Nodes in the order of their draws, some of them several times."""
        return draw.choice(len(chances), samples, p=chances)

    def reweighted(self, part: Any, chances: np.ndarray, samples: int) -> Any:
        """Divided by the expected number of draws."""
        return part @ scipy.sparse.diags_array(1 / (samples * chances))
