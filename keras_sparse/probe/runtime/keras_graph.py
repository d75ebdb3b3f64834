"""The operations that a Keras model becomes, read from its graph of layers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from keras_sparse.probe.layer_graph import Call, LayerGraph, layer_graph
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
from keras_sparse.probe.variables import is_kernel_name, owners, places

# What does nothing at inference.
_NOTHING = (
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.GaussianNoise,
    layers.GaussianDropout,
    layers.AlphaDropout,
    layers.ActivityRegularization,
    layers.Identity,
    layers.InputLayer,
)
# Functions of each element for which the runtime has one operation.
_UNARY = (
    *("relu", "relu6", "leaky_relu", "leakyrelu", "elu", "sigmoid", "tanh", "silu"),
    *("abs", "negative", "square", "exp", "sqrt"),
)
_BINARY = ("add", "multiply")


def keras_runtime_graph(model: keras.Model) -> RuntimeGraph:
    """A functional or Sequential model as the operations that an edge runtime computes.

    Batch normalization that follows a convolution or Dense layer is folded into it, as the
    converter does; so is zero padding before a convolution, as the runtime does.

    Args:
        model: A built model, trained or not.

    Raises:
        ValueError: If the model is not built, or is subclassed and has no graph.
    """
    graph = layer_graph(model)
    reading = _Reading(model, graph)
    inputs = [reading.new() for _ in graph.inputs]
    outputs = reading.read(graph, inputs)
    return RuntimeGraph(tuple(reading.nodes), frozenset(inputs), frozenset(outputs))


class _Reading:
    """Turns calls into nodes, one by one."""

    def __init__(self, model: keras.Model, graph: LayerGraph) -> None:
        self.place = places(model)
        self.nodes: list[Node] = []
        self.padding: dict[int, tuple[int, Padding]] = {}
        self.sizes: dict[int, tuple[int | None, ...]] = {}
        self.linear: set[int] = set()
        self.values = 0

    def new(self) -> int:
        """The number of a new value."""
        self.values += 1
        return self.values

    def read(self, graph: LayerGraph, inputs: list[int]) -> list[int]:
        """Adds the nodes of a graph, and returns the values of its outputs."""
        env = {id(x): value for x, value in zip(graph.inputs, inputs, strict=True)}
        self.uses = Counter(id(x) for call in graph.calls for x in call.inputs)
        self.uses.update(id(x) for x in graph.outputs)
        for call in graph.calls:
            taken = [env[id(x)] for x in call.inputs]
            if call.graph is not None:
                uses = self.uses
                made = self.read(call.graph, taken)
                self.uses = uses
            else:
                made = self.call(call, taken)
            env |= {id(x): value for x, value in zip(call.outputs, made, strict=True)}
        return [env[id(x)] for x in graph.outputs]

    def call(self, call: Call, taken: list[int]) -> list[int]:
        """Adds the node of one call, unless nothing is computed."""
        layer = call.operation
        if isinstance(layer, _NOTHING) or _function(layer) == "linear":
            return taken
        alone = len(call.inputs) == 1 and self.uses[id(call.inputs[0])] == 1
        if isinstance(layer, layers.BatchNormalization) and alone and taken[0] in self.linear:
            return taken
        if isinstance(layer, layers.ZeroPadding2D):
            (top, bottom), (left, right) = layer.padding
            made = self.other(call, taken, "padding")
            self.sizes[taken[0]] = call.inputs[0].shape[1:3]
            self.padding[made[0]] = (taken[0], (top, bottom, left, right))
            return made
        if isinstance(layer, layers.SeparableConv2D):
            made = self.convolution(call, taken, "depthwise", layer.depthwise_kernel)
            weight = layer.pointwise_kernel
            window = Window((1, 1), (1, 1), (1, 1), (0, 0, 0, 0), weight.shape[2])
            kernels, last = self.kernels([weight]), (self.new(),)
            return self.add(Node(layer.name, "conv", tuple(made), last, 4, kernels, window), layer)
        if type(layer) in (layers.Conv2D, layers.DepthwiseConv2D):
            depthwise = isinstance(layer, layers.DepthwiseConv2D)
            return self.convolution(call, taken, "depthwise" if depthwise else "conv", layer.kernel)
        if type(layer) is layers.Dense:
            shape = call.inputs[0].shape
            rows = int(np.prod([n or 1 for n in shape[1:-1]]))
            made_by = self.kernels([layer.kernel], vectors=True)
            rank = len(shape)
            node = Node(layer.name, "dense", tuple(taken), (self.new(),), rank, made_by, rows=rows)
            return self.add(node, layer)
        return self.other(call, taken, _kind(layer, call))

    def convolution(self, call: Call, taken: list[int], kind: str, kernel: Any) -> list[int]:
        """Adds a convolution with the zero padding before it."""
        layer = call.operation
        spatial = call.inputs[0].shape[1:3]
        size, strides, dilation = (
            tuple(kernel.shape[:2]),
            tuple(layer.strides),
            tuple(layer.dilation_rate),
        )
        padding: Padding = (0, 0, 0, 0)
        if layer.padding == "same":
            padding = same_padding(spatial, size, strides, dilation)
        before, whole = self.padding.get(taken[0]), spatial
        if before and self.uses[id(call.inputs[0])] == 1:
            self.nodes = [node for node in self.nodes if node.outputs != (taken[0],)]
            taken = [before[0]]
            padding = added(padding, before[1])
            whole = self.sizes[taken[0]]
        window = Window(
            size,
            strides,
            dilation,
            padding,
            call.inputs[0].shape[-1],
            getattr(layer, "depth_multiplier", 1),
            getattr(layer, "groups", 1),
            # The converter sees what a pad comes to.
            padding == same_padding(whole, size, strides, dilation),
        )
        last_first = layer.data_format == "channels_first"
        kind = "convolution with channels first" if last_first else kind
        node = Node(
            layer.name, kind, tuple(taken), (self.new(),), 4, self.kernels([kernel]), window
        )
        return self.add(node, None if isinstance(layer, layers.SeparableConv2D) else layer)

    def add(self, node: Node, layer: Any) -> list[int]:
        """Adds a node; one whose layer has no activation can take up a normalization."""
        self.nodes.append(node)
        if layer is not None and getattr(layer, "activation", None) is keras.activations.linear:
            self.linear.update(node.outputs)
        return list(node.outputs)

    def other(self, call: Call, taken: list[int], kind: str) -> list[int]:
        """Adds an operation of which only the kind is known, with its weights."""
        layer, made = call.operation, tuple(self.new() for _ in call.outputs)
        weights = []
        if isinstance(layer, keras.layers.Layer):
            owner = owners(layer)
            weights = [
                v
                for v in layer.variables
                if len(v.shape) > 1
                and is_kernel_name(v.name)
                and not isinstance(owner[id(v)], layers.Embedding)
            ]
        rank = len(call.outputs[0].shape)
        self.nodes.append(Node(layer.name, kind, tuple(taken), made, rank, self.kernels(weights)))
        return list(made)

    def kernels(self, weights: list[Any], vectors: bool = False) -> tuple[Kernel, ...]:
        """Counts the zeros of weights."""
        found = []
        for weight in weights:
            place, values = self.place[id(weight)], ops.convert_to_numpy(weight)
            found.append(
                Kernel(
                    name=place.path,
                    layer=place.layer.name,
                    shape=tuple(weight.shape),
                    zeros=count_zeros(values, (0, 1) if values.ndim == 4 else ()),
                    in_blocks=zeros_in_blocks(values) if vectors else {},
                )
            )
        return tuple(found)


def _function(layer: Any) -> str:
    """The function of each element that a layer or operation is, or `""`."""
    if isinstance(layer, layers.Activation):
        return getattr(layer.activation, "__name__", "")
    if isinstance(layer, layers.ReLU):
        whole = not layer.threshold and not layer.negative_slope
        return "relu" if whole and layer.max_value in (None, 6, 6.0) else ""
    if isinstance(layer, (layers.LeakyReLU, layers.ELU)):
        return type(layer).__name__.lower()
    return "" if isinstance(layer, keras.layers.Layer) else type(layer).__name__.lower()


def _kind(layer: Any, call: Call) -> str:
    name = type(layer).__name__
    if _function(layer) in _UNARY:
        return "unary"
    if name.lower() in _BINARY and all(len(x.shape) == 4 for x in call.inputs):
        return "binary" if len(call.inputs) > 1 else name
    if isinstance(layer, layers.GlobalAveragePooling2D):
        return "mean"
    if isinstance(layer, layers.UpSampling2D) and layer.interpolation == "bilinear":
        return "resize"
    return name
