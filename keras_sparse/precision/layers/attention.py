"""Low precision in the two products of attention; its projections are layers of their own."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_sparse.precision.force import Site


def attention(layer: keras.layers.MultiHeadAttention, sites: list[Site]) -> dict[str, Any]:
    """The attention of a layer whose queries, keys, probabilities and values are rounded.

    Scaling, mask, softmax and dropout stay as they are.
    """
    first, first_other, second, second_other = sites
    own = layer._compute_attention

    def computed(
        query: Any,
        key: Any,
        value: Any,
        attention_mask: Any = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        if first.precision.bits is None:
            return own(
                query,
                key,
                value,
                attention_mask,
                training,
                return_attention_scores,
                use_causal_mask=use_causal_mask,
            )
        if use_causal_mask and attention_mask is None:
            attention_mask = layer._compute_causal_mask(query, key)
        scores = first.result(
            ops.einsum(
                layer._dot_product_equation,
                first_other.activation(key),
                first.activation(query),
            )
        )
        scale = ops.cast(layer._inverse_sqrt_key_dim, scores.dtype)
        shares = layer._masked_softmax(scores * scale, attention_mask)
        kept = shares
        if layer._dropout > 0.0:
            kept = layer._dropout_layer(shares, training=training)
        output = ops.einsum(
            layer._combine_equation, second.activation(kept), second_other.activation(value)
        )
        return second.result(output), shares if return_attention_scores else None

    return {"_compute_attention": computed}
