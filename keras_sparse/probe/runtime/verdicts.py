"""What each runtime does with the zeros of each weight."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from keras_sparse.probe.runtime.clusters import (
    MIN_ZEROS,
    Cluster,
    Fault,
    clusters,
    is_pointwise,
)
from keras_sparse.probe.runtime.nodes import Kernel, Node, RuntimeGraph

# kMinSparsityLevel of the converter's dense_to_sparse_pass.cc: below it a weight is stored dense.
MIN_STORED = 0.3
# Of the zeros of a float and of an int8 kernel those that must be in blocks; the same source.
_IN_BLOCKS = {4: 0.9, 16: 0.8}

_SHRINK = "Remove whole channels instead: `keras_sparse.structured.prune(model, flops=0.5)`"
_STORE = "Export with sparse=True"
_MORE_BITS = "Export in floats, or with quantize='dynamic' or 'int8'"
_PATTERN = 'Prune with granularity="xnnpack"'


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a runtime does with the zeros of one weight.

    Args:
        weight: The path of the Keras variable, or the tensor's name in a file.
        layer: Its layer, or the tensor's name again.
        shape: Its shape, in the layout of where it was read from.
        sparsity: Fraction of zeros, from 0 to 1, without the places of a convolution's kernel that
            are zero in all channels.
        kind: `"dense"`, `"1x1 convolution"` or `"other"`: the first two can be fast somewhere.
        fast: Whether the runtime leaves its zeros out of the computation. Of a weight with less
            than 30 % zeros, whether it would once it is pruned in the right pattern.
        happens: What the runtime does with it.
        rule: The rule that fails where it is not fast, else `""`.
        cure: What to do where it is not fast, else `""`.
    """

    weight: str
    layer: str
    shape: tuple[int, ...]
    sparsity: float
    kind: str
    fast: bool
    happens: str
    rule: str
    cure: str


Judged = tuple[Fault | None, str]


def verdicts(
    graph: RuntimeGraph, runtime: str, int8: bool = False, not_stored: str = ""
) -> tuple[Verdict, ...]:
    """Judges every weight of a model.

    Args:
        graph: The model's operations.
        runtime: One of `RUNTIMES`.
        int8: Whether weights are going to be quantized to eight bits.
        not_stored: Why zeros are going to be stored like any weight, if they are.
    """
    cluster = clusters(graph)
    if not_stored:
        judged = Fault(not_stored, _MORE_BITS), "dense kernel"
        return tuple(_verdict(node, kernel, judged) for node, kernel in _weights(graph))
    judge = RUNTIMES[runtime]
    return tuple(
        _verdict(node, kernel, judge(node, kernel, cluster.get(id(node)), int8 or kernel.int8))
        for node, kernel in _weights(graph)
    )


def _weights(graph: RuntimeGraph) -> list[tuple[Node, Kernel]]:
    return [(node, kernel) for node in graph.nodes for kernel in node.kernels]


def _verdict(node: Node, kernel: Kernel, judged: Judged) -> Verdict:
    fault, happens = judged
    kind = "dense" if node.kind == "dense" else "other"
    kind = "1x1 convolution" if is_pointwise(node) else kind
    return Verdict(
        weight=kernel.name,
        layer=kernel.layer,
        shape=kernel.shape,
        sparsity=kernel.sparsity,
        kind=kind,
        fast=fault is None,
        happens=happens,
        rule=fault.rule if fault else "",
        cure=fault.cure if fault else "",
    )


def _slow(rule: str, cure: str) -> Judged:
    return Fault(rule, cure), "expanded to a dense weight on loading"


def _on_arm(node: Node, kernel: Kernel, cluster: Cluster | None, int8: bool) -> Judged:
    if node.kind == "dense":
        return _dense(node, kernel, int8, delegate=True)
    if not is_pointwise(node):
        return _slow(
            f"XNNPACK has no sparse kernel for this operation ({node.kind})",
            "Leave it dense: it takes few of the operations of a model of 1x1 convolutions",
        )
    if int8:
        said = "XNNPACK's sparse convolutions are of float32 and float16 only"
        return _slow(said, "Export without int8")
    if cluster is not None and cluster.faults:
        return _slow(cluster.faults[0].rule, cluster.faults[0].cure)
    zeros = cluster.sparsity if cluster else 0.0
    if zeros < MIN_STORED:
        return None, "sparse kernel, with more than 2/3 zeros"
    if cluster is not None and cluster.stored_dense:
        return Fault("its zeros are stored like any weight", _STORE), "dense kernel"
    if zeros <= MIN_ZEROS:
        return _slow(
            f"its cluster has {zeros:.0%} zeros over all 1x1 kernels, not more than 2/3",
            "Prune them further, to 0.7 or more",
        )
    return None, "sparse kernel"


def _on_x86(node: Node, kernel: Kernel, cluster: Cluster | None, int8: bool) -> Judged:
    if node.kind == "dense":
        return _dense(node, kernel, int8, delegate=True)
    return _slow(
        "XNNPACK has sparse convolutions on Arm, WebAssembly and RISC-V, not on x86 with AVX",
        _SHRINK,
    )


def _built_in(node: Node, kernel: Kernel, cluster: Cluster | None, int8: bool) -> Judged:
    if node.kind == "dense":
        return _dense(node, kernel, int8, delegate=False)
    return _slow("the built-in kernels have sparse weights for FULLY_CONNECTED only", _SHRINK)


def _micro(node: Node, kernel: Kernel, cluster: Cluster | None, int8: bool) -> Judged:
    return (
        Fault(
            "LiteRT for Microcontrollers has no sparse kernels and no DENSIFY operation",
            f"Export with sparse=False. {_SHRINK}",
        ),
        "refused if it is stored sparse",
    )


def _dense(node: Node, kernel: Kernel, int8: bool, delegate: bool) -> Judged:
    block = 16 if int8 else 4
    if int8 and delegate:
        return _slow(
            "XNNPACK computes wrong numbers from int8 weights in (16, 1) blocks, or fails",
            'Run the file with built-in kernels only (runtime="litert-builtin"), or export floats',
        )
    if node.rows > 1:
        return _slow(
            f"it multiplies {node.rows} vectors of a sample, which is not faster with blocks than "
            "dense",
            "Pool the positions before it, or leave it dense",
        )
    if block not in kernel.in_blocks:
        return _slow(
            f"the converter has blocks of {block} along its inputs, which are no multiple of it",
            f"Let the layer before it have a multiple of {block} units, or leave it dense",
        )
    if kernel.sparsity < MIN_STORED:
        return None, f"block kernel, once pruned in blocks of ({block}, 1)"
    if kernel.stored == "dense":
        return Fault("its zeros are stored like any weight", _STORE), "dense kernel"
    if kernel.in_blocks[block] / kernel.zeros <= _IN_BLOCKS[block]:
        return _slow(
            f"{kernel.in_blocks[block] / kernel.zeros:.0%} of its zeros are in blocks of ({block}, "
            f"1), and more than {_IN_BLOCKS[block]:.0%} must be",
            f'{_PATTERN}, or "{block}x1"',
        )
    return None, f"block kernel of ({block}, 1)"


RUNTIMES: dict[str, Callable[[Node, Kernel, Cluster | None, bool], Judged]] = {
    "xnnpack-arm": _on_arm,
    "xnnpack-x86": _on_x86,
    "litert-builtin": _built_in,
    "litert-micro": _micro,
}
