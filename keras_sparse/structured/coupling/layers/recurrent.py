"""Recurrent layers: of one cell or several, in one direction or both."""

from __future__ import annotations

from typing import Any

import keras

from keras_sparse.probe.layer_graph import Call
from keras_sparse.structured.coupling.atoms import Axis
from keras_sparse.structured.coupling.channels import Kept
from keras_sparse.structured.coupling.coupling import Coupling, handles, resized, tiled
from keras_sparse.structured.coupling.layers.convolution import channel_axis
from keras_sparse.structured.coupling.layers.unknown import couple_unknown

_GATES = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1, "ConvLSTM1D": 4, "ConvLSTM2D": 4, "ConvLSTM3D": 4}


def _units(cell: Any, kept: Kept) -> int:
    return kept.shape(cell.recurrent_kernel)[-2] or 0


def _couple(c: Coupling, layer: Any, states: list[Any]) -> list[Axis]:
    """Features go into the gates of each unit, and units into those of each other.

    Args:
        c: Of the call.
        layer: The layer, or one of its directions.
        states: Its initial states, if there are any.

    Returns:
        The units of each state of the layer's cell, or of its cells one after the other.
    """
    axis = channel_axis(layer)
    cells = getattr(layer.cell, "cells", [layer.cell])
    given, x = iter(states), c.inputs[0]
    found: list[Axis] = []
    for i, cell in enumerate(cells):
        gates = cell.kernel.shape[-1] // cell.recurrent_kernel.shape[-2]
        name = "" if len(cells) == 1 else f"cell_{i}"
        units = c.make(name, size=cell.recurrent_kernel.shape[-2])
        if i:
            c.put(cell.kernel, -2, found[-1])
        else:
            c.tie((x, axis), (cell.kernel, -2))
        c.put(cell.recurrent_kernel, -2, units)
        for item in (cell.kernel, cell.recurrent_kernel, getattr(cell, "bias", None)):
            c.put(item, -1, tiled(units, gates), makes=True)
        for _ in keras.tree.flatten(cell.state_size):
            found.append(units)
            state = next(given, None)
            if isinstance(state, keras.KerasTensor):
                c.put(cell.recurrent_kernel, -2, c.axis(state, axis))
            elif state is not None:
                c.fix(units, f"{c.call.name} begins with a state that is given as numbers")
    return found


def _initial_states(c: Coupling) -> list[Any]:
    return keras.tree.flatten(c.call.argument("initial_state"))


@handles(*_GATES, resize=lambda call, kept: _size(call.operation, kept))
def recurrent(c: Coupling) -> None:
    """The units come out, as sequence or last step and as states."""
    states = _couple(c, c.layer, _initial_states(c))
    for y, units in zip(c.outputs, (states[-1], *states), strict=False):
        c.put(y, channel_axis(c.layer), units)


_CELLS = (keras.layers.LSTMCell, keras.layers.GRUCell, keras.layers.SimpleRNNCell)


def _is_known(cell: Any) -> bool:
    cells = cell.cells if type(cell) is keras.layers.StackedRNNCells else [cell]
    return all(type(each) in _CELLS for each in cells)


def _cell_size(call: Call, kept: Kept) -> dict[str, Any]:
    cell = call.operation.cell
    if not _is_known(cell):
        return {}
    config = call.operation.get_config()["cell"]
    if type(cell) in _CELLS:
        return {"cell": resized(config, {"units": _units(cell, kept)})}
    cells = [
        resized(each, {"units": _units(own, kept)})
        for each, own in zip(config["config"]["cells"], cell.cells, strict=True)
    ]
    return {"cell": resized(config, {"cells": cells})}


@handles("RNN", resize=_cell_size)
def any_recurrent(c: Coupling) -> None:
    """As the layers of the cells that it steps through, if these are Keras's."""
    if _is_known(c.layer.cell):
        recurrent(c)
    else:
        couple_unknown(c)


def _size(layer: Any, kept: Kept) -> dict[str, Any]:
    name = "filters" if "filters" in layer.get_config() else "units"
    return {name: _units(layer.cell, kept)}


def _bidirectional_size(call: Call, kept: Kept) -> dict[str, Any]:
    config = call.operation.get_config()
    if type(call.operation.forward_layer).__name__ not in _GATES:
        return {}
    parts = {"layer": call.operation.forward_layer}
    if "backward_layer" in config:
        parts["backward_layer"] = call.operation.backward_layer
    return {name: resized(config[name], _size(layer, kept)) for name, layer in parts.items()}


@handles("Bidirectional", resize=_bidirectional_size)
def bidirectional(c: Coupling) -> None:
    """Both directions keep the same units."""
    layer, y = c.layer, c.outputs[0]
    if type(layer.forward_layer).__name__ not in _GATES:
        couple_unknown(c)
        return
    axis = channel_axis(layer.forward_layer)
    states = _initial_states(c)
    half = len(states) // 2
    units, *_ = _couple(c, layer.forward_layer, states[:half])
    _couple(c, layer.backward_layer, states[half:])
    if layer.merge_mode == "concat":
        c.put(y, axis, tiled(units, 2))
    for output in c.outputs[int(layer.merge_mode == "concat") :]:
        c.put(output, axis, units)
