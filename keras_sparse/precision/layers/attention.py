"""Low precision in the two products of attention; its projections are layers of their own."""

from __future__ import annotations

import inspect
from typing import Any

import keras
from keras import ops

from keras_sparse.precision.force import Site


def attention(layer: Any, sites: list[Site]) -> dict[str, Any]:
    """The attention of a layer whose queries, keys, probabilities and values are rounded.

    Scaling, mask, softmax and dropout stay as they are.

    Args:
        layer: A `MultiHeadAttention` or `GroupQueryAttention`.
        sites: Of the queries, the keys, the probabilities and the values.
    """
    of_queries, of_keys, of_shares, of_values = sites
    own, grouped = layer._compute_attention, isinstance(layer, keras.layers.GroupQueryAttention)
    signature = inspect.signature(own)
    scale = layer._inverse_sqrt_head_dim if grouped else layer._inverse_sqrt_key_dim

    def computed(*args: Any, **kwargs: Any) -> Any:
        if of_queries.precision.bits is None:
            return own(*args, **kwargs)
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments
        query, key, mask = given["query"], given["key"], given["attention_mask"]
        if given["use_causal_mask"] and mask is None:
            mask = layer._compute_causal_mask(query, key)
        operands = (of_queries.activation(query), of_keys.activation(key))
        scores = of_queries.result(
            ops.einsum(layer._dot_product_equation, *(operands if grouped else operands[::-1]))
        )
        shares = layer._masked_softmax(scores * ops.cast(scale, scores.dtype), mask)
        kept = shares
        if layer._dropout_layer.rate > 0.0:
            kept = layer._dropout_layer(shares, training=given["training"])
        output = ops.einsum(
            layer._combine_equation,
            of_shares.activation(kept),
            of_values.activation(given["value"]),
        )
        return of_shares.result(output), shares

    return {"_compute_attention": computed}
