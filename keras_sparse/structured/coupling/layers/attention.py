"""Attention: heads, their dimensions, and groups of heads that share keys and values."""

from __future__ import annotations

import math
from typing import Any

from keras_sparse.probe.layer_graph import Call
from keras_sparse.structured.coupling.channels import Kept
from keras_sparse.structured.coupling.coupling import Coupling, handles, repeated


def _parts(layer: Any) -> dict[str, tuple[Any, Any]]:
    """Kernel and bias of each of the layer's projections."""
    names = ("query", "key", "value", "gate", "output")
    found = {name: getattr(layer, f"_{name}_dense", None) for name in names}
    return {name: (d.kernel, d.bias) for name, d in found.items() if d is not None}


def _project_inputs(c: Coupling) -> None:
    """The features of queries, keys and values go in."""
    part = _parts(c.layer)
    query, value = c.call.argument("query"), c.call.argument("value")
    key = c.call.argument("key")
    for name, tensor in (("query", query), ("key", value if key is None else key)):
        c.tie((tensor, -1), (part[name][0], 0))
    c.tie((value, -1), (part["value"][0], 0))
    if "gate" in part:
        c.tie((query, -1), (part["gate"][0], 0))


def _mha_size(call: Call, kept: Kept) -> dict[str, Any]:
    layer, part = call.operation, _parts(call.operation)
    heads, value_dim, *out = kept.shape(part["output"][0])
    own = layer._output_shape is not None or out != [kept.shape(call.argument("query"))[-1]]
    return {
        "num_heads": heads,
        "key_dim": kept.shape(part["query"][0])[-1],
        "value_dim": value_dim,
        "output_shape": tuple(out) if own else None,
    }


def _rescale(call: Call, kept: Kept) -> list[tuple[Any, float]]:
    """Queries are divided by the root of their dimension, which is smaller now."""
    kernel, bias = _parts(call.operation)["query"]
    factor = math.sqrt(kept.shape(kernel)[-1] / kernel.shape[-1])
    return [(each, factor) for each in (kernel, bias) if each is not None and factor != 1.0]


@handles("MultiHeadAttention", resize=_mha_size, rescale=_rescale)
def multi_head_attention(c: Coupling) -> None:
    """Heads, dimensions of queries with keys, dimensions of values, and outputs.

    Dimensions of values that are as many as those of keys stay so: not every backend takes others.
    """
    part = _parts(c.layer)
    _project_inputs(c)
    same = c.layer.key_dim == c.layer.value_dim
    of_keys, of_values = ("head_dim", "head_dim") if same else ("key_dim", "value_dim")
    for name in ("query", "key", "value", "gate"):
        if name in part:
            c.make("heads", (part[name][0], 1), *_bias(part[name], 0))
            what = of_keys if name in ("query", "key") else of_values
            c.make(what, (part[name][0], 2), *_bias(part[name], 1))
    kernel, bias = part["output"]
    heads = c.make("heads", (kernel, 0))
    c.make(of_values, (kernel, 1))
    out = len(kernel.shape) - 2
    for i in range(out):
        places = [(kernel, 2 + i), (c.outputs[0], i - out), *_bias((kernel, bias), i)]
        c.make("output" if out == 1 else f"output_{i}", *places)
    for scores in c.outputs[1:]:
        c.put(scores, 1, heads)


@handles(
    "GroupQueryAttention",
    "GroupedQueryAttention",
    resize=lambda call, kept: {
        "num_query_heads": kept.shape(_parts(call.operation)["query"][0])[1],
        "num_key_value_heads": kept.shape(_parts(call.operation)["key"][0])[1],
        "head_dim": kept.shape(_parts(call.operation)["query"][0])[2],
    },
    rescale=_rescale,
)
def grouped_query_attention(c: Coupling) -> None:
    """Whole groups: a head of keys and values with the heads of queries that use it."""
    part = _parts(c.layer)
    _project_inputs(c)
    for name in ("key", "value"):
        groups = c.make("groups", (part[name][0], 1), *_bias(part[name], 0))
    heads = repeated(groups, c.layer.num_repeats)
    for name in ("query", "key", "value", "gate"):
        if name in part:
            c.make("head_dim", (part[name][0], 2), *_bias(part[name], 1))
            if name in ("query", "gate"):
                for item, axis in ((part[name][0], 1), *_bias(part[name], 0)):
                    c.put(item, axis, heads, makes=True)
    kernel, bias = part["output"]
    c.put(kernel, 0, heads)
    c.make("head_dim", (kernel, 1))
    # The layer's output is as wide as its queries, which its configuration does not say.
    c.tie((c.call.argument("query"), -1), (kernel, 2), (bias, 0), (c.outputs[0], -1))
    for scores in c.outputs[1:]:
        c.put(scores, 1, heads)


def _bias(part: tuple[Any, Any], axis: int) -> list[tuple[Any, int]]:
    return [] if part[1] is None else [(part[1], axis)]


@handles("Attention")
def attention(c: Coupling) -> None:
    """Queries and keys are multiplied, values are carried."""
    query, value, *rest = c.call.argument("inputs")
    key = rest[0] if rest else value
    c.tie((query, -1), (key, -1))
    c.zero(query, -1)
    c.zero(key, -1)
    c.carry(value, c.outputs[0], [-1])


@handles("AdditiveAttention")
def additive_attention(c: Coupling) -> None:
    """Queries and keys are added, values are carried."""
    query, value, *rest = c.call.argument("inputs")
    key = rest[0] if rest else value
    c.tie((query, -1), (key, -1), *([] if c.layer.scale is None else [(c.layer.scale, 0)]))
    c.zero(query, -1)
    c.zero(key, -1)
    c.carry(value, c.outputs[0], [-1])


@handles("ops.DotProductAttention")
def dot_product_attention(c: Coupling) -> None:
    """Tensors of shape (batch, positions, heads, dimensions)."""
    query, key, value = (c.call.argument(name) for name in ("query", "key", "value"))
    heads = c.tie((query, 2), (key, 2), (value, 2))
    dims = c.tie((query, 3), (key, 3))
    c.zero(query, 3)
    if c.call.argument("scale") is None:
        c.fix(dims, f"{c.call.name} divides by the root of its dimension; give it scale=")
    c.put(c.outputs[0], 2, heads)
    c.put(c.outputs[0], 3, c.axis(value, 3))
