"""Tracing which channels of a model go together."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

import keras_sparse.structured.coupling.layers  # noqa: F401  registers what is known of Keras's layers
from keras_sparse.probe.layer_graph import Call, LayerGraph
from keras_sparse.structured.coupling.channels import Channels
from keras_sparse.structured.coupling.coupling import Coupling, handler_of
from keras_sparse.structured.coupling.layers.unknown import couple_unknown

_TRIES = 24


def trace_channels(graph: LayerGraph, excluded: Collection[int] = ()) -> Channels:
    """Finds which positions along which axes of a model have to be removed together.

    Where a layer leaves a choice, such as a reshape that splits channels over two axes, the first
    is taken unless nothing can then be removed and another one is better.

    Args:
        graph: The model's graph.
        excluded: Ids of variables whose shape has to stay.
    """
    channels = _trace(graph, {}, excluded)
    best = _free(channels)
    choices: dict[int, int] = {}
    for change in _changes(channels)[:_TRIES]:
        other = _trace(graph, {**choices, **change}, excluded)
        if _free(other) > best:
            channels, best, choices = other, _free(other), {**choices, **change}
    return channels


def _trace(graph: LayerGraph, choices: dict[int, int], excluded: Collection[int]) -> Channels:
    channels = Channels(graph, choices)
    _follow(graph, channels, "", set())
    for y in graph.outputs:
        for axis in range(len(y.shape)):
            for atoms in channels.axis(y, axis):
                channels.atoms.fix(atoms, "it is an output of the model", foremost=True)
    for makes in (False, True):
        for variable in channels.variables():
            if id(variable) in excluded:
                for axis in range(len(variable.shape)):
                    if channels.makes(variable, axis) == makes:
                        path = variable.path.removeprefix(f"{graph.model.name}/")
                        why = "excluded" if makes else f"{path} uses it, which is excluded"
                        for atoms in channels.axis(variable, axis):
                            channels.atoms.fix(atoms, why, foremost=True)
    return channels


def _follow(graph: LayerGraph, channels: Channels, around: str, seen: set[int]) -> None:
    for call in graph.calls:
        channels.names.setdefault(id(call.operation), f"{around}{call.name}")
        if call.graph is None:
            _couple(call, channels)
        else:
            _enter(call, call.graph, channels, f"{around}{call.name}/", seen)


def _couple(call: Call, channels: Channels) -> None:
    coupling = Coupling(call, channels)
    handler = handler_of(call.operation)
    if handler is None:
        couple_unknown(coupling)
    else:
        handler.couple(coupling)
    coupling.finish()


def _enter(call: Call, inner: LayerGraph, channels: Channels, around: str, seen: set[int]) -> None:
    """A model inside the model, whose own tensors are the same at each of its calls."""
    for outer, own in zip(call.inputs, inner.inputs, strict=True):
        for axis in range(len(own.shape)):
            why = f"{call.name} is also called on what cannot be removed"
            channels.put(own, axis, channels.axis(outer, axis), why)
    if id(inner) not in seen:
        seen.add(id(inner))
        _follow(inner, channels, around, seen)
    for outer, own in zip(call.outputs, inner.outputs, strict=True):
        for axis in range(len(own.shape)):
            channels.put(outer, axis, channels.axis(own, axis), "")


def _free(channels: Channels) -> int:
    """How many parts can be removed."""
    fixed = channels.atoms.fixed()
    count = 0
    for origin in channels.origins:
        roots = np.unique(channels.atoms.find(origin.atoms))
        free = [root for root in roots if int(root) not in fixed]
        count += len(free) if len(roots) > 1 else 0
    return count


def _changes(channels: Channels) -> list[dict[int, int]]:
    """Other choices to try where nothing can be removed: of a kind of layer at once, and each."""
    fixed = channels.atoms.fixed()
    stuck = {
        key: options
        for key, options in channels.alternatives.items()
        if options[0] > 1 and not _removable(channels, channels.chosen_for[key], fixed)
    }
    kinds = dict.fromkeys(kind for _, kind in stuck.values())
    together = [{key: 1 for key in stuck if stuck[key][1] == kind} for kind in kinds]
    return [
        *together,
        dict.fromkeys(stuck, 1),
        *({key: option} for key, (count, _) in stuck.items() for option in range(1, count)),
    ]


def _removable(channels: Channels, atoms: list[np.ndarray], fixed: dict[int, str]) -> bool:
    roots = [np.unique(channels.atoms.find(each)) for each in atoms if each.size]
    return any(len(r) > 1 and any(int(root) not in fixed for root in r) for r in roots)
