"""What the graph layers share."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_sparse.backend.sparse_tensors import (
    entries,
    is_sparse,
    sparse_product_compiles,
    with_values,
)
from keras_sparse.graphs.layers.aggregation import WAYS, aggregate
from keras_sparse.graphs.layers.cuts import Cut, WeightCuts
from keras_sparse.messages.arguments import boolean, integer, number, one_of


class GraphLayer(keras.layers.Layer):
    """Base of layers that are called with the features and the adjacency of a graph.

    The arguments are those of `GraphConv`.

    Attributes:
        columns_apart: Whether each output feature is made of its own columns of the weights alone.
    """

    columns_apart = True

    def __init__(
        self,
        units: int,
        *,
        activation: Any = None,
        use_bias: bool = True,
        dropout: float = 0.0,
        aggregation: str = "product",
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = integer("units", units)
        self.activation = keras.activations.get(activation)
        self.use_bias = boolean("use_bias", use_bias)
        self.dropout = number("dropout", dropout, "[0, 1)")
        self.aggregation = one_of("aggregation", aggregation, WAYS)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_jit = aggregation != "product" or sparse_product_compiles()

    @property
    def weight_cuts(self) -> WeightCuts:
        """For each axis of each weight the group of features that cuts it, `None` if none does."""
        raise NotImplementedError(
            f"{type(self).__name__} does not say which features cut its weights"
        )

    @property
    def output_cut(self) -> Cut:
        """How the output's features consist of the group `"out"`."""
        return Cut("out")

    def multiplications(self, nodes: int, edges: int) -> int:
        """Multiplications of a forward pass, each with an addition; a sparse input as a dense one.

        Args:
            nodes: Number of nodes.
            edges: Number of entries that the adjacency stores.
        """
        raise NotImplementedError(f"{type(self).__name__} does not count its multiplications")

    def compute_output_shape(self, features_shape: Any, adjacency_shape: Any) -> Any:
        """The shape `(nodes, features)` of the output."""
        return (features_shape[0], self.units * self.output_cut.repeats)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "dropout": self.dropout,
            "aggregation": self.aggregation,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
            "seed": self.seed,
        }

    def add_kernel(self, shape: tuple[int, ...]) -> None:
        """Makes the kernel."""
        self.kernel = self.add_weight(
            name="kernel",
            shape=shape,
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )

    def add_bias(self, size: int) -> None:
        """Makes the bias, if there is to be one."""
        self.bias = (
            self.add_weight(
                name="bias",
                shape=(size,),
                initializer="zeros",
                regularizer=self.bias_regularizer,
            )
            if self.use_bias
            else None
        )

    def drop(self, features: Any, training: bool | None) -> Any:
        """The features, some of them dropped in training: of sparse ones those that are stored."""
        if not training or not self.dropout:
            return features
        if is_sparse(features):
            kept = self.drop(entries(features)[2], training)
            return with_values(features, kept)
        return keras.random.dropout(features, self.dropout, seed=self.seed_generator)

    def times(self, features: Any, matrix: Any) -> Any:
        """Features, dense or sparse, times a dense matrix."""
        if is_sparse(features):
            return aggregate(features, matrix, self.aggregation)
        return ops.matmul(features, matrix)

    def gather(self, adjacency: Any, features: Any) -> Any:
        """The sum of the features, dense, over the neighbors of each node."""
        return aggregate(adjacency, features, self.aggregation)

    def finish(self, output: Any) -> Any:
        """Adds the bias and applies the activation."""
        if self.bias is not None:
            output = output + self.bias
        return self.activation(output)
