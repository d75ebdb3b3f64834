"""What kind of numbers a model gives out."""

from __future__ import annotations

from typing import Any

import keras

from keras_sparse.probe.layer_graph import layer_graph


def softmax_layer(model: keras.Model) -> str | None:
    """The name of the layer by which a model ends in a softmax, `None` if it gives logits.

    Args:
        model: A built model of any kind; of a subclassed one its last layer is looked at.
    """
    try:
        graph = layer_graph(model)
    except ValueError:
        layers = model._flatten_layers(include_self=False)
        last: Any = list(layers)[-1] if model.layers else None
    else:
        last = _producer(graph)
    softmax = isinstance(last, keras.layers.Softmax) or last.__class__.__name__ == "Softmax"
    own = getattr(last, "activation", None)
    return last.name if softmax or own in (keras.activations.softmax, keras.ops.softmax) else None


def _producer(graph: Any) -> Any:
    """The layer or operation that gives the first output, inside of inner models too."""
    ends = {id(tensor) for tensor in graph.outputs}
    for call in reversed(graph.calls):
        if any(id(tensor) in ends for tensor in call.outputs):
            if _passes_on(call):
                ends |= {id(call.inputs[0])}
                continue
            return call.operation if call.graph is None else _producer(call.graph)
    return None


def _passes_on(call: Any) -> bool:
    """Whether what comes out of a call is what goes in, of whatever type."""
    layer = call.operation
    if call.graph is not None or len(call.inputs) != 1:
        return False
    if isinstance(layer, keras.layers.Activation):
        return layer.activation is keras.activations.linear
    same = tuple(call.inputs[0].shape) == tuple(call.outputs[0].shape)
    names = ("Identity", "Dropout", "ActivityRegularization", "Reshape", "Flatten", "Cast")
    return same and type(layer).__name__ in names
