"""Which operations XNNPACK can run together with sparse weights, and what stands in the way.

The rules are those of its rewrite of a graph to channels-first layout (`subgraph.c`), which alone
has sparse convolutions.
"""

from __future__ import annotations

import dataclasses

from keras_sparse.probe.runtime.nodes import Kernel, Node, RuntimeGraph, Window

MIN_ZEROS = 2 / 3

MAKE_ELIGIBLE = (
    "`keras_sparse.deploy.make_eligible(model)` writes the same computation with padding that fits"
)
_ALONE = "Build the model of 1x1 and depthwise convolutions, as `keras_sparse.models.mobilenet`"
_END = "End the convolutions in GlobalAveragePooling2D"


@dataclasses.dataclass(frozen=True)
class Fault:
    """A rule that fails.

    Args:
        rule: The rule, and which operation breaks it.
        cure: What to do.
    """

    rule: str
    cure: str


@dataclasses.dataclass(frozen=True, eq=False)
class Cluster:
    """Operations that are run sparse together or not at all.

    Args:
        nodes: The operations.
        faults: Rules that they break; with none the cluster is run sparse, if enough is zero.
    """

    nodes: tuple[Node, ...]
    faults: tuple[Fault, ...]

    @property
    def pointwise(self) -> list[Kernel]:
        """The 1x1 kernels."""
        return [kernel for node in self.nodes if is_pointwise(node) for kernel in node.kernels]

    @property
    def stored_dense(self) -> bool:
        """Whether a file stores all of them dense: then the runtime does not look for zeros."""
        return all(kernel.stored == "dense" for kernel in self.pointwise)

    @property
    def sparsity(self) -> float:
        """Fraction of zeros over all 1x1 kernels together."""
        kernels = self.pointwise
        size = sum(kernel.size for kernel in kernels)
        return sum(kernel.zeros for kernel in kernels) / size if size else 0.0


def is_pointwise(node: Node) -> bool:
    """Whether a node is a 1x1 convolution that XNNPACK has a sparse kernel for."""
    window = node.window
    return (
        node.kind == "conv"
        and window is not None
        and window.size == window.strides == (1, 1)
        and not any(window.padding)
        and window.groups == 1
    )


def clusters(graph: RuntimeGraph) -> dict[int, Cluster]:
    """Finds the clusters of a graph.

    Args:
        graph: The model's operations.

    Returns:
        The cluster of each node that may be in one, by the node's `id`.
    """
    maker = {value: node for node in graph.nodes for value in node.outputs}
    readers: dict[int, list[Node]] = {}
    for node in graph.nodes:
        for value in node.inputs:
            readers.setdefault(value, []).append(node)
    leader = {id(node): id(node) for node in graph.nodes if role(node)}

    def find(key: int) -> int:
        while leader[key] != key:
            key = leader[key]
        return key

    for node in graph.nodes:
        if role(node) in ("inside", "end"):
            for value in node.inputs:
                before = maker.get(value)
                if before is not None and role(before) in ("begin", "inside"):
                    leader[find(id(node))] = find(id(before))
    members: dict[int, list[Node]] = {}
    for node in graph.nodes:
        if id(node) in leader:
            members.setdefault(find(id(node)), []).append(node)
    found: dict[int, Cluster] = {}
    for nodes in members.values():
        cluster = Cluster(tuple(nodes), tuple(_faults(nodes, graph, maker, readers)))
        found |= {id(node): cluster for node in nodes}
    return found


def role(node: Node) -> str | None:
    """`"begin"`, `"inside"` or `"end"` of a cluster; `None` if a node cannot be in one."""
    return None if _unfit(node) else _ROLES.get(node.kind) or _conv_role(node)


_ROLES = {
    "depthwise": "inside",
    "binary": "inside",
    "unary": "inside",
    "resize": "inside",
    "mean": "end",
    "depth_to_space": "end",
}


def _conv_role(node: Node) -> str:
    return "inside" if is_pointwise(node) else "begin"


def _unfit(node: Node) -> Fault | None:
    """Why a node cannot be in any cluster."""
    if node.kind == "conv" and not is_pointwise(node):
        return _unfit_conv(node)
    if node.kind == "depthwise":
        return _unfit_depthwise(node)
    if node.kind in ("unary", "binary", "resize") and node.rank != 4:
        return Fault(f"{node.name!r} computes with {node.rank} dimensions, not 4", _ALONE)
    if node.kind not in _ROLES and node.kind != "conv":
        said = f"{node.name!r} ({node.kind}) is no operation of a sparse cluster"
        return Fault(said, f"{_ALONE}, with ReLU or sum and product between them")
    return None


def _unfit_conv(node: Node) -> Fault | None:
    window = node.window
    if window is None:
        return Fault(f"{node.name!r} is no 2-D convolution", _ALONE)
    first = window.size == (3, 3) and window.strides == (2, 2) and window.channels == 3
    if first and window.dilation == (1, 1) and window.groups == 1:
        return _unfit_padding(node.name, window, 1)
    size, strides = ("x".join(map(str, pair)) for pair in (window.size, window.strides))
    return Fault(
        f"{node.name!r} is a {size} convolution of {window.channels} channels with strides "
        f"{strides}; only 1x1 ones without strides and padding, and a first one of 3x3 with "
        "strides 2 on 3 channels, are run sparse",
        _ALONE,
    )


def _unfit_depthwise(node: Node) -> Fault | None:
    window = node.window
    if window is None or window.multiplier != 1 or window.dilation != (1, 1):
        return Fault(f"{node.name!r} has a depth multiplier or dilation", "Do without it")
    fits = window.size in ((3, 3), (5, 5)) and window.strides in ((1, 1), (2, 2))
    if not fits:
        size, strides = ("x".join(map(str, pair)) for pair in (window.size, window.strides))
        said = f"{node.name!r} is a {size} depthwise convolution with strides {strides}"
        return Fault(f"{said}; 3x3 and 5x5 with strides 1 or 2 fit", "Take such a size")
    return _unfit_padding(node.name, window, window.size[0] // 2)


def _unfit_padding(name: str, window: Window, wanted: int) -> Fault | None:
    if window.padding == (wanted,) * 4:
        if not window.same or window.strides == (1, 1):
            return None
        return Fault(
            f"{name!r} has strides 2 on odd sizes, for which the converter writes SAME, where "
            "XNNPACK looks for padding by numbers",
            "Take images whose sizes are even before each stride of 2, such as multiples of 32",
        )
    return Fault(
        f"{name!r} is padded by {window.padding} rows above and below and columns left "
        f"and right, not by {wanted} on all four sides (`padding='same'` with strides 2 pads an "
        "even size on one side)",
        MAKE_ELIGIBLE,
    )


def _faults(
    nodes: list[Node],
    graph: RuntimeGraph,
    maker: dict[int, Node],
    readers: dict[int, list[Node]],
) -> list[Fault]:
    inside = {id(node) for node in nodes}
    faults = []
    for node in nodes:
        if role(node) != "begin":
            for value in node.inputs:
                before = maker.get(value)
                if before is None:
                    said = f"{node.name!r} takes the model's input itself"
                    first = "Begin with a 3x3 convolution with strides 2 on 3 channels"
                    faults.append(Fault(said, first))
                elif id(before) not in inside:
                    ended = Fault(f"{node.name!r} comes after the end, {before.name!r}", _END)
                    faults.append(_unfit(before) or ended)
        if role(node) == "end":
            continue
        for value in node.outputs:
            if value in graph.outputs:
                faults.append(Fault(f"{node.name!r} is an output of the model", _END))
            for reader in readers.get(value, []):
                if id(reader) not in inside:
                    other = Fault(f"{reader.name!r} reads {node.name!r} from outside", _END)
                    faults.append(_unfit(reader) or other)
    return list(dict.fromkeys(faults))
