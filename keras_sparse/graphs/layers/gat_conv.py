"""The layer of a graph attention network."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_sparse.backend.sparse_tensors import entries, row_count
from keras_sparse.graphs.layers.base import GraphLayer
from keras_sparse.graphs.layers.cuts import Cut, WeightCuts
from keras_sparse.messages.arguments import boolean, integer, number


class Attention(NamedTuple):
    """How much each node takes of its neighbors.

    Args:
        weights: Of each edge and head, `(e, heads)`.
        targets: The node that each edge leads to, `(e,)`.
        sources: The node that it comes from, `(e,)`.
        nodes: Number of nodes.
    """

    weights: Any
    targets: Any
    sources: Any
    nodes: Any


@keras.saving.register_keras_serializable(package="keras_sparse")
class GATConv(GraphLayer):
    """Graph attention: each node takes a weighted mean of its neighbors' features.

    It is called with features `(n, d)`, dense or sparse, and a sparse adjacency `(n, n)`, of
    which only the places matter: `ks.graphs.normalized(adjacency, "self_loops")`. An entry that
    stores 0 is no edge. Memory grows with the number of edges times `heads * units`.

    Args:
        units: Number of output features of a head.
        heads: Number of attention heads.
        concatenate: Whether the heads' outputs are joined, as in hidden layers, or averaged.
        negative_slope: Of the leaky ReLU on attention scores, at least 0.
        attention_dropout: Share of attention weights dropped in training, in [0, 1).
        **kwargs: As of `GraphConv`; `aggregation` only tells how sparse features are multiplied
            by the kernel.

    Raises:
        ValueError: If a number is out of range.

    Source: Velickovic et al. (2018), equations 1-6.
    """

    # All columns of a head make its attention.
    columns_apart = False

    def __init__(
        self,
        units: int,
        heads: int = 1,
        *,
        concatenate: bool = True,
        negative_slope: float = 0.2,
        attention_dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(units, **kwargs)
        self.heads = integer("heads", heads)
        self.concatenate = boolean("concatenate", concatenate)
        self.negative_slope = number("negative_slope", negative_slope, "[0, inf)")
        self.attention_dropout = number("attention_dropout", attention_dropout, "[0, 1)")

    @property
    def weight_cuts(self) -> WeightCuts:
        """For each axis of each weight the group of features that cuts it, `None` if none does."""
        return {
            "kernel": (Cut("in"), None, Cut("out")),
            "attention": (None, None, Cut("out")),
            "bias": (self.output_cut,),
        }

    @property
    def output_cut(self) -> Cut:
        """How the output's features consist of the group `"out"`: once over for each head."""
        return Cut("out", repeats=self.heads if self.concatenate else 1)

    def multiplications(self, nodes: int, edges: int) -> int:
        """Multiplications of a forward pass, as of `GraphLayer`."""
        width = self.heads * self.units
        # The kernel, the attention's two vectors, and the messages.
        return nodes * (self.kernel.shape[0] + 2) * width + edges * width

    def build(self, features_shape: Any, adjacency_shape: Any) -> None:
        """Makes the weights for features `(n, d)`."""
        self.add_kernel((features_shape[-1], self.heads, self.units))
        # For the edge's target and for its source.
        self.attention = self.add_weight(
            name="attention",
            shape=(2, self.heads, self.units),
            initializer=keras.initializers.GlorotUniform(
                None if self.seed is None else self.seed + 1
            ),
        )
        self.add_bias(self.units * self.output_cut.repeats)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = ("heads", "concatenate", "negative_slope", "attention_dropout")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}

    def call(self, features: Any, adjacency: Any, training: bool | None = None) -> Any:
        """Features `(n, heads * units)`, or `(n, units)` of the averaged heads."""
        flat = ops.reshape(self.kernel, (-1, self.heads * self.units))
        transformed = self.times(self.drop(features, training), flat)
        by_head = ops.reshape(transformed, (-1, self.heads, self.units))
        targets, sources, stored = entries(adjacency)
        nodes = row_count(adjacency)
        attention = self.attend(by_head, targets, sources, stored, nodes)
        if training and self.attention_dropout:
            attention = keras.random.dropout(
                attention, self.attention_dropout, seed=self.seed_generator
            )
        summed = self.gather(Attention(attention, targets, sources, nodes), by_head)
        if self.concatenate:
            return self.finish(ops.reshape(summed, (-1, self.heads * self.units)))
        return self.finish(ops.mean(summed, axis=1))

    def gather(self, adjacency: Attention, features: Any) -> Any:
        """The weighted sum of the features of each head, `(n, heads, units)`, over neighbors."""
        weights, targets, sources, nodes = adjacency
        messages = weights[:, :, None] * ops.take(features, sources, axis=0)
        return ops.segment_sum(messages, targets, num_segments=nodes)

    def score(self, features: Any, vectors: Any) -> Any:
        """Products of the features of each head, `(n, heads, units)`, and its vector."""
        return ops.sum(features * vectors, axis=-1)

    def attend(self, by_head: Any, targets: Any, sources: Any, stored: Any, nodes: Any) -> Any:
        """The attention weights of all edges.

        Args:
            by_head: Transformed features, `(n, heads, units)`.
            targets: The node that each edge leads to, `(e,)`.
            sources: The node that it comes from, `(e,)`.
            stored: `(e,)`, 0 for what is no edge.
            nodes: Number of nodes.

        Returns:
            `(e, heads)`, of which those of a node's incoming edges sum to 1.
        """
        to_target = self.score(by_head, self.attention[0])
        from_source = self.score(by_head, self.attention[1])
        scores = ops.leaky_relu(
            ops.take(to_target, targets, axis=0) + ops.take(from_source, sources, axis=0),
            self.negative_slope,
        )
        scores = ops.where((stored != 0)[:, None], scores, -1e30)
        largest = ops.segment_max(ops.stop_gradient(scores), targets, num_segments=nodes)
        weights = ops.exp(scores - ops.take(largest, targets, axis=0))
        weights = ops.where((stored != 0)[:, None], weights, 0.0)
        total = ops.segment_sum(weights, targets, num_segments=nodes)
        # The largest weight of a node is 1, so that only a node without edges sums to less.
        return weights / ops.maximum(ops.take(total, targets, axis=0), 1.0)
