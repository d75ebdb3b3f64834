"""The layer of a graph convolutional network."""

from __future__ import annotations

from typing import Any

import keras

from keras_sparse.graphs.layers.base import GraphLayer
from keras_sparse.graphs.layers.cuts import Cut, WeightCuts


@keras.saving.register_keras_serializable(package="keras_sparse")
class GraphConv(GraphLayer):
    """Graph convolution, `activation(A X W + b)`.

    ```python
    features = keras.Input((1433,), sparse=True)
    adjacency = keras.Input((None,), sparse=True)
    hidden = ks.graphs.GraphConv(16, activation="relu")(features, adjacency)
    ```

    It is called with features `(n, d)`, dense or sparse, and an adjacency `(n, n)`, sparse, which
    `ks.graphs.normalized(adjacency, "gcn")` makes from a graph's own.

    Args:
        units: Number of output features.
        activation: Applied to the output.
        use_bias: Whether a bias is added.
        dropout: Share of the input's features dropped in training, in [0, 1).
        aggregation: `"product"` for the backend's sparse product, or `"segment_sum"`, which
            compiles with XLA on TensorFlow too.
        kernel_initializer: Of the kernel.
        kernel_regularizer: Of the kernel.
        bias_regularizer: Of the bias.
        seed: Seed of dropout.
        **kwargs: As of `keras.layers.Layer`.

    Source: Kipf and Welling (2017), equation 2; Wolfe (2023), equation 1.
    """

    @property
    def weight_cuts(self) -> WeightCuts:
        """For each axis of each weight the group of features that cuts it, `None` if none does."""
        return {"kernel": (Cut("in"), Cut("out")), "bias": (Cut("out"),)}

    def multiplications(self, nodes: int, edges: int) -> int:
        """Multiplications of a forward pass, as of `GraphLayer`."""
        return nodes * self.kernel.shape[0] * self.units + edges * self.units

    def build(self, features_shape: Any, adjacency_shape: Any) -> None:
        """Makes the weights for features `(n, d)`."""
        self.add_kernel((features_shape[-1], self.units))
        self.add_bias(self.units)

    def call(self, features: Any, adjacency: Any, training: bool | None = None) -> Any:
        """Features `(n, units)`."""
        transformed = self.times(self.drop(features, training), self.kernel)
        return self.finish(self.gather(adjacency, transformed))
