"""The layer of GraphSAGE."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_sparse.backend.sparse_tensors import dense, is_sparse
from keras_sparse.graphs.layers.base import GraphLayer
from keras_sparse.graphs.layers.cuts import Cut, WeightCuts


@keras.saving.register_keras_serializable(package="keras_sparse")
class SAGEConv(GraphLayer):
    """GraphSAGE with the mean of the neighbors, `activation([X, A X] W + b)`.

    It is called with features `(n, d)` and an adjacency `(n, n)`, sparse, which
    `ks.graphs.normalized(adjacency, "mean")` makes from a graph's own. The first `d` rows of the
    kernel are for the node itself, the others for its neighbors. Dropout is drawn for each of
    them. Sparse features are made dense, since those of neighbors are.

    Args:
        units: Number of output features.
        **kwargs: As of `GraphConv`; `dropout` is of the joined features.

    Source: Hamilton et al. (2017), Algorithm 1, with the mean aggregator.
    """

    @property
    def weight_cuts(self) -> WeightCuts:
        """For each axis of each weight the group of features that cuts it, `None` if none does."""
        return {"kernel": (Cut("in", repeats=2), Cut("out")), "bias": (Cut("out"),)}

    def multiplications(self, nodes: int, edges: int) -> int:
        """Multiplications of a forward pass, as of `GraphLayer`."""
        return edges * (self.kernel.shape[0] // 2) + nodes * self.kernel.shape[0] * self.units

    def build(self, features_shape: Any, adjacency_shape: Any) -> None:
        """Makes the weights for features `(n, d)`."""
        self.add_kernel((2 * features_shape[-1], self.units))
        self.add_bias(self.units)

    def call(self, features: Any, adjacency: Any, training: bool | None = None) -> Any:
        """Features `(n, units)`."""
        own = dense(features) if is_sparse(features) else features
        joined = ops.concatenate([own, self.gather(adjacency, own)], axis=-1)
        return self.finish(self.times(self.drop(joined, training), self.kernel))
