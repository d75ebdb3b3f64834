"""The operations of a LiteRT file, as what XNNPACK's rules are asked about."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_sparse.deploy.flatbuffer import (
    blocks_of,
    constants,
    dense_values,
    dtype_of,
    open_model,
    operator_names,
    shape_of,
)
from keras_sparse.probe.runtime.nodes import (
    Kernel,
    Node,
    Padding,
    RuntimeGraph,
    Window,
    added,
    count_zeros,
    same_padding,
    zeros_in_blocks,
)

_UNARY = (
    *("RELU", "RELU6", "RELU_N1_TO_1", "LOGISTIC", "TANH", "ELU", "LEAKY_RELU", "HARD_SWISH"),
    *("ABS", "NEG", "SQUARE", "SQRT", "RSQRT", "EXP", "GELU", "FLOOR", "CEIL"),
)
_PASSED = ("DENSIFY", "DEQUANTIZE")
_CONVOLUTIONS = {"CONV_2D": "conv", "DEPTHWISE_CONV_2D": "depthwise"}
_KINDS = {
    "ADD": "binary",
    "MUL": "binary",
    "RESIZE_BILINEAR": "resize",
    "DEPTH_TO_SPACE": "depth_to_space",
}


def file_runtime_graph(contents: bytes, name: str) -> RuntimeGraph:
    """The operations of a file's first subgraph, which is what an inference runs.

    Args:
        contents: The file.
        name: What errors call it.

    Raises:
        ValueError: If it is no LiteRT file, or is damaged.
    """
    file = open_model(contents, name)
    reading = _Reading(file)
    graph = file.subgraphs[0]
    for op in graph.operators:
        reading.read(op)
    inputs, outputs = (frozenset(map(int, ends)) for ends in (graph.inputs, graph.outputs))
    return RuntimeGraph(tuple(reading.nodes), inputs, frozenset(map(reading.source, outputs)))


class _Reading:
    def __init__(self, file: Any) -> None:
        self.graph, self.names = file.subgraphs[0], operator_names(file)
        self.constants = {
            index: dense_values(tensor, values)
            for graph, index, tensor, values in constants(file, once=False)
            if graph is self.graph
        }
        self.nodes: list[Node] = []
        self.alias: dict[int, int] = {}
        self.padding: dict[int, tuple[int, Padding]] = {}
        read = [int(i) for op in self.graph.operators for i in op.inputs]
        self.uses = {index: read.count(index) for index in set(read)}

    def source(self, index: int) -> int:
        """The tensor that a tensor is a copy of."""
        return self.alias.get(index, index)

    def tensor(self, index: int) -> Any:
        """A tensor by its index."""
        return self.graph.tensors[index]

    def read(self, op: Any) -> None:
        """Adds the node of an operation."""
        name = self.names[op.opcodeIndex]
        taken = [self.source(int(i)) for i in op.inputs if i >= 0]
        made = tuple(int(i) for i in op.outputs)
        if name in _PASSED:
            self.alias[made[0]] = taken[0]
            return
        values = tuple(i for i in taken if i not in self.constants)
        if not made:  # What is written to a variable.
            self.nodes.append(Node(name, name, values, (), 0, self.kernels(taken)))
            return
        shape = shape_of(self.tensor(made[0]))
        title = self.tensor(made[0]).name.decode().split(";")[0]
        if name in _CONVOLUTIONS:
            self.convolution(op, _CONVOLUTIONS[name], title, values, taken[1])
            return
        if name == "FULLY_CONNECTED":
            rows = int(np.prod(shape_of(self.tensor(taken[0]))[1:-1]))
            node = Node(
                title, "dense", values, made, len(shape), self.kernels(taken[1:]), rows=rows
            )
            self.nodes.append(node)
            return
        if name == "PAD" and len(shape) == 4:
            edges = self.constants.get(taken[1])
            if edges is not None and not edges[[0, 3]].any():
                (top, bottom), (left, right) = edges[1:3].tolist()
                self.padding[made[0]] = (taken[0], (top, bottom, left, right))
        kind = self.kind(name, taken)
        self.nodes.append(Node(title, kind, values, made, len(shape), self.kernels(taken)))

    def kind(self, name: str, taken: list[int]) -> str:
        """The word by which the rules know an operation."""
        if name in _UNARY:
            return "unary"
        if name in ("ADD", "MUL") and any(len(shape_of(self.tensor(i))) != 4 for i in taken):
            return name
        if name == "MEAN":
            axes = self.constants.get(taken[1])
            return "mean" if axes is not None and sorted(axes.ravel()) == [1, 2] else name
        return _KINDS.get(name, name)

    def convolution(self, op: Any, kind: str, title: str, values: tuple[int, ...], at: int) -> None:
        """Adds a convolution with the padding before it."""
        made = tuple(int(i) for i in op.outputs)
        given, kernel = op.builtinOptions, shape_of(self.tensor(at))
        spatial = shape_of(self.tensor(int(op.inputs[0])))
        size, strides, dilation = (
            kernel[1:3],
            (given.strideH, given.strideW),
            (given.dilationHFactor, given.dilationWFactor),
        )
        same = given.padding == 0
        padding = same_padding(spatial[1:3], size, strides, dilation) if same else (0, 0, 0, 0)
        before = self.padding.get(values[0])
        if before and self.uses[values[0]] == 1:
            self.nodes = [node for node in self.nodes if node.outputs != (values[0],)]
            values = (before[0], *values[1:])
            padding = added(padding, before[1])
        channels = spatial[-1]
        depthwise = kind == "depthwise"
        window = Window(
            (size[0], size[1]),
            strides,
            dilation,
            padding,
            channels,
            given.depthMultiplier if depthwise else 1,
            1 if depthwise else channels // kernel[-1],
            same,
        )
        self.nodes.append(Node(title, kind, values, made, 4, self.kernels([at]), window))

    def kernels(self, indices: list[int]) -> tuple[Kernel, ...]:
        """The weights among an operation's constants."""
        found = []
        for index in indices:
            values = self.constants.get(index)
            if values is None or values.ndim < 2 or not np.issubdtype(values.dtype, np.number):
                continue
            tensor = self.tensor(index)
            dtype, block = dtype_of(tensor), blocks_of(tensor)
            stored = "dense" if block is None else "sparse" if set(block) == {1} else "block"
            if dtype in ("int32", "int64"):  # Paddings, shapes and axes.
                continue
            name = tensor.name.decode().split(";")[0]
            found.append(
                Kernel(
                    name=name,
                    layer=name,
                    shape=shape_of(tensor),
                    zeros=count_zeros(values, (1, 2) if values.ndim == 4 else ()),
                    in_blocks=zeros_in_blocks(values.T) if values.ndim == 2 else {},
                    int8=dtype == "int8",
                    stored=stored,
                )
            )
        return tuple(found)
