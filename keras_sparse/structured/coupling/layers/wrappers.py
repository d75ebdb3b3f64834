"""Layers around a layer: what the inner one says of its call holds for the outer one."""

from __future__ import annotations

from typing import Any

import keras

from keras_sparse.probe.layer_graph import Call
from keras_sparse.structured.coupling.channels import Channels, Kept
from keras_sparse.structured.coupling.coupling import Coupling, handler_of, handles, resized
from keras_sparse.structured.coupling.layers.unknown import couple_unknown


def _inner(call: Call, channels: Channels) -> Call:
    """The wrapped layer's call: on one time step, where it is called on each."""
    made = channels.steps
    if id(call) not in made:
        tensors = (call.inputs[0], call.outputs[0])
        if isinstance(call.operation, keras.layers.TimeDistributed):
            tensors = tuple(keras.KerasTensor((t.shape[0], *t.shape[2:]), t.dtype) for t in tensors)
        x, y = tensors
        made[id(call)] = Call(call.operation.layer, (x,), {}, (x,), (y,))
    return made[id(call)]


def _wrapped_size(call: Call, kept: Kept) -> dict[str, Any]:
    inner = _inner(call, kept.channels)
    handler = handler_of(inner.operation)
    if handler is None:
        return {}
    serialized = call.operation.get_config()["layer"]
    return {"layer": resized(serialized, handler.resize(inner, kept))}


def _wrapped_masked(call: Call, kept: Kept) -> Any:
    """The wrapper around the layer that computes in full size what the smaller one does."""
    inner = _inner(call, kept.channels)
    handler = handler_of(inner.operation)
    layer = None if handler is None else handler.masked(inner, kept)
    if layer is None:
        return None
    config = {key: each for key, each in call.operation.get_config().items() if key != "layer"}
    return type(call.operation)(layer, **config)


def _couple_inner(c: Coupling) -> Call | None:
    """Says what the wrapped layer says of its call; `None` if nothing is known of it."""
    inner = _inner(c.call, c.channels)
    handler = handler_of(inner.operation)
    if handler is None:
        couple_unknown(c)
        return None
    (x,), (own,) = c.inputs[:1], inner.inputs
    if own is not x:
        for axis in range(1, len(own.shape)):
            c.put(own, axis, c.axis(x, axis + 1))
    c.channels.names[id(inner.operation)] = c.channels.names.get(id(c.layer), c.call.name)
    step = Coupling(inner, c.channels)
    handler.couple(step)
    step.finish()
    return inner


@handles("TimeDistributed", resize=_wrapped_size, masked=_wrapped_masked)
def time_distributed(c: Coupling) -> None:
    """What the wrapped layer does, at each step of axis 1."""
    inner = _couple_inner(c)
    if inner is not None:
        (own,) = inner.outputs
        for axis in range(1, len(own.shape)):
            c.put(c.outputs[0], axis + 1, c.channels.axis(own, axis))


@handles("SpectralNormalization", resize=_wrapped_size, masked=_wrapped_masked)
def spectral_normalization(c: Coupling) -> None:
    """What the wrapped layer does, with a vector as long as its kernel is wide."""
    if _couple_inner(c) is not None:
        for axis in range(len(c.inputs[0].shape)):
            c.axis(c.inputs[0], axis)
        c.put(c.layer.vector_u, -1, c.channels.axis(c.layer.kernel, -1))
