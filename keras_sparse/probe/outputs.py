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
            return call.operation if call.graph is None else _producer(call.graph)
    return None
