"""Recurrent layers, and wrappers around layers."""

from __future__ import annotations

from typing import Any

import keras

from keras_sparse.probe.layer_graph import Call
from keras_sparse.structured.coupling.atoms import Axis
from keras_sparse.structured.coupling.channels import Channels, Kept
from keras_sparse.structured.coupling.coupling import Coupling, handler_of, handles, tiled
from keras_sparse.structured.coupling.layers.convolution import channel_axis
from keras_sparse.structured.coupling.layers.unknown import couple_unknown

_GATES = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1, "ConvLSTM1D": 4, "ConvLSTM2D": 4, "ConvLSTM3D": 4}


def _units(layer: Any, kept: Kept) -> int:
    return kept.shape(layer.cell.recurrent_kernel)[-2] or 0


def _couple(c: Coupling, layer: Any, x: Any, what: str = "") -> Axis:
    """Features go into the gates of each unit, and units into those of each other."""
    cell = layer.cell
    gates = cell.kernel.shape[-1] // cell.recurrent_kernel.shape[-2]
    units = c.make(what, size=cell.recurrent_kernel.shape[-2])
    c.tie((x, channel_axis(layer)), (cell.kernel, -2))
    c.put(cell.recurrent_kernel, -2, units)
    for item in (cell.kernel, cell.recurrent_kernel, getattr(cell, "bias", None)):
        c.put(item, -1, tiled(units, gates), makes=True)
    for state in keras.tree.flatten(c.call.argument("initial_state")):
        if isinstance(state, keras.KerasTensor):
            c.put(cell.recurrent_kernel, -2, c.axis(state, channel_axis(layer)))
    return units


@handles(*_GATES, resize=lambda call, kept: _size(call.operation, kept))
def recurrent(c: Coupling) -> None:
    """The units come out, as sequence, last step or state."""
    units = _couple(c, c.layer, c.inputs[0])
    for y in c.outputs:
        c.put(y, channel_axis(c.layer), units)


_CELLS = (keras.layers.LSTMCell, keras.layers.GRUCell, keras.layers.SimpleRNNCell)


def _cell_size(call: Call, kept: Kept) -> dict[str, Any]:
    if type(call.operation.cell) not in _CELLS:
        return {}
    cell = call.operation.get_config()["cell"]
    return {"cell": _resized(cell, {"units": _units(call.operation, kept)})}


@handles("RNN", resize=_cell_size)
def any_recurrent(c: Coupling) -> None:
    """As the layer of the cell that it steps through, if that is one of Keras's."""
    if type(c.layer.cell) in _CELLS:
        recurrent(c)
    else:
        couple_unknown(c)


def _size(layer: Any, kept: Kept) -> dict[str, Any]:
    name = "filters" if "filters" in layer.get_config() else "units"
    return {name: _units(layer, kept)}


def _bidirectional_size(call: Call, kept: Kept) -> dict[str, Any]:
    config = call.operation.get_config()
    parts = {"layer": call.operation.forward_layer}
    if "backward_layer" in config:
        parts["backward_layer"] = call.operation.backward_layer
    return {name: _resized(config[name], _size(layer, kept)) for name, layer in parts.items()}


def _resized(serialized: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {**serialized, "config": {**serialized["config"], **changes}}


@handles("Bidirectional", resize=_bidirectional_size)
def bidirectional(c: Coupling) -> None:
    """Both directions keep the same units."""
    layer, y = c.layer, c.outputs[0]
    if type(layer.forward_layer).__name__ not in _GATES:
        couple_unknown(c)
        return
    axis = channel_axis(layer.forward_layer)
    units = _couple(c, layer.forward_layer, c.inputs[0])
    _couple(c, layer.backward_layer, c.inputs[0])
    if layer.merge_mode == "concat":
        c.put(y, axis, tiled(units, 2))
    for output in c.outputs[int(layer.merge_mode == "concat") :]:
        c.put(output, axis, units)


def _inner(call: Call, channels: Channels) -> Call:
    """A wrapped layer's call on one time step."""
    made = channels.steps
    if id(call) not in made:
        tensors = [
            keras.KerasTensor((t.shape[0], *t.shape[2:]), t.dtype)
            for t in (call.inputs[0], call.outputs[0])
        ]
        x, y = tensors
        made[id(call)] = Call(call.operation.layer, (x,), {}, (x,), (y,))
    return made[id(call)]


def _wrapped_size(call: Call, kept: Kept) -> dict[str, Any]:
    inner = _inner(call, kept.channels)
    handler = handler_of(inner.operation)
    if handler is None:
        return {}
    serialized = call.operation.get_config()["layer"]
    return {"layer": _resized(serialized, handler.resize(inner, kept))}


@handles("TimeDistributed", resize=_wrapped_size)
def time_distributed(c: Coupling) -> None:
    """What the wrapped layer does, at each step of axis 1."""
    x, y = c.inputs[0], c.outputs[0]
    inner = _inner(c.call, c.channels)
    handler = handler_of(inner.operation)
    if handler is None:
        couple_unknown(c)
        return
    for axis in range(1, len(inner.inputs[0].shape)):
        c.put(inner.inputs[0], axis, c.axis(x, axis + 1))
    c.channels.names[id(inner.operation)] = c.channels.names.get(id(c.layer), c.call.name)
    step = Coupling(inner, c.channels)
    handler.couple(step)
    step.finish()
    for axis in range(1, len(inner.outputs[0].shape)):
        c.put(y, axis + 1, c.channels.axis(inner.outputs[0], axis))
