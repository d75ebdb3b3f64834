"""Low precision in graph layers: the product with the kernel and, if asked, the aggregation."""

from __future__ import annotations

from typing import Any

from keras_sparse.backend.sparse_tensors import entries, is_sparse, with_values
from keras_sparse.graphs.layers.base import GraphLayer
from keras_sparse.graphs.layers.gat_conv import GATConv
from keras_sparse.precision.force import Site
from keras_sparse.precision.layers.products import rounding_weights, with_rounded_gradient
from keras_sparse.precision.layers.swapping import swapped


def graph(layer: GraphLayer, sites: list[Site], aggregation: str) -> dict[str, Any]:
    """The call of a graph layer.

    Args:
        layer: The layer.
        sites: Its product with the kernel, its sum over neighbors, and of a `GATConv` the products
            with the attention's vectors.
        aggregation: `"full"`, or `"quantized"`, where what is summed over neighbors and the
            gradient of the sum are rounded as well. What weighs the neighbors, the adjacency or
            attention, never is.

    Source: Wolfe (2023), section 6.4.3 (FP-Agg and Q-Agg).
    """
    site, neighbors = sites[:2]
    own, times, gather = layer.call, layer.times, layer.gather
    attending = _attending(layer, sites[2]) if isinstance(layer, GATConv) else {}

    def rounded(features: Any) -> Any:
        if is_sparse(features):
            return with_values(features, site.activation(entries(features)[2]))
        return site.activation(features)

    def rounded_times(features: Any, matrix: Any) -> Any:
        return times(rounded(features), matrix)

    def rounded_gather(adjacency: Any, features: Any) -> Any:
        return neighbors.result(gather(adjacency, neighbors.activation(features)))

    def call(*args: Any, **kwargs: Any) -> Any:
        if site.precision.bits is None:
            return own(*args, **kwargs)
        values = {
            **rounding_weights(site, layer),
            **with_rounded_gradient(site, layer),
            "times": rounded_times,
            **attending,
        }
        if aggregation == "quantized":
            values["gather"] = rounded_gather
        with swapped(layer, values):
            return own(*args, **kwargs)

    return {"call": call}


def _attending(layer: GATConv, site: Site) -> dict[str, Any]:
    """Rounds what is multiplied by the attention's vectors, which are weights as the kernel is."""
    own = layer.score

    def score(features: Any, vectors: Any) -> Any:
        return site.result(own(site.activation(features), vectors))

    return {"score": score}
