"""Dense layers, einsums with a kernel, and embeddings."""

from __future__ import annotations

from typing import Any

from keras_sparse.probe.layer_graph import Call
from keras_sparse.structured.coupling.channels import Kept
from keras_sparse.structured.coupling.coupling import Coupling, handles
from keras_sparse.structured.coupling.layers.activations import fix_mixed


@handles("Dense", resize=lambda call, kept: {"units": kept.shape(call.operation.kernel)[1]})
def dense(c: Coupling) -> None:
    """The last axis goes in and out; the others pass."""
    x, y = c.inputs[0], c.outputs[0]
    c.tie((x, -1), (c.layer.kernel, 0))
    c.make("", (c.layer.kernel, 1), (c.layer.bias, 0), (y, -1))
    c.carry(x, y, range(len(x.shape) - 1), passing=True)
    fix_mixed(c)


@handles(
    "Embedding",
    resize=lambda call, kept: {"output_dim": kept.shape(call.operation.embeddings)[1]},
)
def embedding(c: Coupling) -> None:
    """Makes the features of each token."""
    x, y = c.inputs[0], c.outputs[0]
    c.make("", (c.layer.embeddings, 1), (y, -1))
    c.carry(x, y, range(len(x.shape)))


@handles(
    "ReversibleEmbedding",
    resize=lambda call, kept: {"output_dim": kept.shape(call.operation.embeddings)[1]},
)
def reversible_embedding(c: Coupling) -> None:
    """Makes the features of each token, or takes them to score every token."""
    x, y, layer = c.inputs[0], c.outputs[0], c.layer
    if not c.call.argument("reverse", False):
        embedding(c)
        return
    c.tie((x, -1), (layer.embeddings, 1) if layer.tie_weights else (layer.reverse_embeddings, 0))
    c.carry(x, y, range(len(x.shape) - 1), passing=True)


def _einsum_size(call: Call, kept: Kept) -> dict[str, Any]:
    given = call.operation.get_config()["output_shape"]
    given = (given,) if isinstance(given, int) else tuple(given)
    new = kept.shape(call.outputs[0])[-len(given) :]
    return {
        "output_shape": tuple(
            None if old is None else size for old, size in zip(given, new, strict=True)
        )
    }


@handles("EinsumDense", resize=_einsum_size)
def einsum_dense(c: Coupling) -> None:
    """Letters of the kernel are summed over, made, or passed."""
    x, y, layer = c.inputs[0], c.outputs[0], c.layer
    operands, out = layer.equation.replace(" ", "").split("->")
    left, kernel = operands.split(",")
    into, out = letters(left, len(x.shape)), letters(out, len(y.shape))
    for axis, letter in enumerate(kernel):
        if letter in into:
            c.tie((x, into.index(letter)), (layer.kernel, axis))
            if letter in out:
                c.put(y, out.index(letter), c.axis(x, into.index(letter)))
        else:
            what = "" if _made(kernel, into) == [letter] else f"{letter}"
            c.make(what, (layer.kernel, axis), (y, out.index(letter)))
    passed = {into.index(a): out.index(a) for a in into if a in out and a not in kernel}
    c.carry(x, y, passed, passing=True)
    bias = layer.bias
    for axis in range(-len(bias.shape), 0) if bias is not None else ():
        if bias.shape[axis] != 1:
            c.put(bias, axis, c.channels.axis(y, axis))
    fix_mixed(c)


def letters(part: str, rank: int) -> list[str]:
    """The axes of an operand of an einsum, those that an ellipsis stands for numbered."""
    if "..." not in part:
        return list(part)
    before, after = part.split("...")
    hidden = rank - len(before) - len(after)
    return [*before, *(f"...{hidden - i}" for i in range(hidden)), *after]


def _made(kernel: str, into: list[str]) -> list[str]:
    return [letter for letter in kernel if letter not in into]
