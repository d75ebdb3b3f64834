"""Stages of a network: a layer with a kernel, and what acts on each of its outputs by itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras

from keras_sparse.probe.convolutions import CONVOLUTIONS
from keras_sparse.probe.layer_graph import Call, LayerGraph, layer_graph

_WITH_KERNEL = (keras.layers.Dense, *CONVOLUTIONS)
_ACTIVATIONS = (
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ELU,
)
# Nothing, or a factor and a summand, in inference.
_ELEMENTWISE = (
    keras.layers.BatchNormalization,
    keras.layers.Dropout,
    keras.layers.SpatialDropout2D,
    keras.layers.GaussianNoise,
)


class Stage(NamedTuple):
    """A layer with a kernel, and what follows it unit by unit up to the next layer.

    Args:
        layer: A dense or convolutional layer.
        tail: The layers behind it that act on each unit by itself, in their order.
    """

    layer: keras.layers.Layer
    tail: tuple[keras.layers.Layer, ...]

    @property
    def activations(self) -> list[Callable[[Any], Any]]:
        """What is not linear in it, in the order of the calls."""
        own = self.layer.activation
        first = [] if own in (None, keras.activations.linear) else [own]
        of_layers = [
            layer.activation if isinstance(layer, keras.layers.Activation) else layer
            for layer in self.tail
            if isinstance(layer, _ACTIVATIONS)
        ]
        return [*first, *(each for each in of_layers if each is not keras.activations.linear)]

    def after_kernel(self, values: Any) -> Any:
        """What becomes of pre-activations: the layer's own activation, then the tail."""
        own = self.layer.activation
        values = values if own is None else own(values)
        for layer in self.tail:
            values = (
                layer(values, training=False) if layer._call_has_training_arg else layer(values)
            )
        return values


def stages(model: keras.Model) -> list[Stage]:
    """The stages of a model in the order of their calls; a shared layer counts once.

    Args:
        model: A built functional or Sequential model. Of a subclassed one, which has no graph,
            each layer is a stage by itself.
    """
    try:
        graph = layer_graph(model)
    except ValueError:
        layers = [layer for layer in model._flatten_layers() if _has_kernel(layer)]
        return [Stage(layer, ()) for layer in layers]
    found: dict[int, Stage] = {}
    for each in _graphs(graph):
        following: dict[int, list[Call]] = {}
        for call in each.calls:
            for tensor in call.inputs:
                following.setdefault(id(tensor), []).append(call)
        ends = {id(tensor) for tensor in each.outputs}
        for call in each.calls:
            if _has_kernel(call.operation):
                tail = tuple(_tail(call, following, ends))
                found.setdefault(id(call.operation), Stage(call.operation, tail))
    return list(found.values())


@contextlib.contextmanager
def without_activation(layer: keras.layers.Layer) -> Iterator[None]:
    """Lets a layer give its pre-activations for a while."""
    own = layer.activation
    layer.activation = keras.activations.linear
    try:
        yield
    finally:
        layer.activation = own


def _has_kernel(operation: Any) -> bool:
    return isinstance(operation, _WITH_KERNEL) and getattr(operation, "kernel", None) is not None


def _graphs(graph: LayerGraph) -> Iterator[LayerGraph]:
    yield graph
    for call in graph.calls:
        if call.graph is not None:
            yield from _graphs(call.graph)


def _tail(
    call: Call, following: dict[int, list[Call]], ends: set[int]
) -> Iterator[keras.layers.Layer]:
    tensor = call.outputs[0]
    while id(tensor) not in ends:
        users = following.get(id(tensor), [])
        alone = len(users) == 1 and len(users[0].inputs) == 1
        if not alone or not isinstance(users[0].operation, (*_ACTIVATIONS, *_ELEMENTWISE)):
            return
        yield users[0].operation
        tensor = users[0].outputs[0]
