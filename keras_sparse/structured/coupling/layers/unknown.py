"""Layers of which nothing is known: what they do is tried out, where trying can tell."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_sparse.structured.coupling.coupling import Coupling
from keras_sparse.structured.coupling.running import fitting_shapes, run

_DRAWS = 2


def couple_unknown(c: Coupling) -> None:
    """A layer without weights may treat each position of an axis by itself; all others mix.

    It is run on random numbers of which some positions are changed: those of the output must
    change, and no others.
    """
    labeled = [
        (x, axis) for x in c.inputs for axis in range(len(x.shape)) if c.channels.axis(x, axis)
    ]
    name = f"{c.call.name} ({type(c.layer).__name__})"
    why = f"{name} {_reason(c.layer)}"
    if not labeled:
        if getattr(c.layer, "weights", ()):
            c.channels.opaque[c.call.name] = why
        return
    alone = not getattr(c.layer, "variables", ()) and len(c.inputs) == len(c.outputs) == 1
    x, y = c.inputs[0], c.outputs[0]
    for tensor, axis in labeled:
        atoms = c.axis(tensor, axis)
        if alone and len(x.shape) == len(y.shape) and _is_separate(c, x, y, axis):
            c.put(y, axis, atoms)
        else:
            c.channels.opaque[c.call.name] = why
            c.fix(atoms, why)


def _reason(operation: Any) -> str:
    """Why nothing is known of a layer, and what to do."""
    inside = operation._flatten_layers() if isinstance(operation, keras.layers.Layer) else ()
    for layer in inside:
        if getattr(layer, "quantization_mode", None):
            return "is quantized; prune the model before model.quantize"
        if getattr(layer, "lora_enabled", False):
            return "has LoRA weights; prune the model before enable_lora"
    if isinstance(operation, keras.layers.Lambda):
        return "runs code that may count on its size; write it in keras.ops, or as a layer"
    if isinstance(getattr(operation, "layer", None), keras.Model):
        return "steps through a model; call the model on all steps at once, as one batch"
    if not isinstance(operation, keras.layers.Layer):
        return (
            "is an operation that is not known; call it in a layer of your own, of which "
            "register_coupling tells how its axes belong"
        )
    return "is a layer that is not known; register_coupling tells how its axes belong"


def _is_separate(c: Coupling, x: Any, y: Any, axis: int) -> bool:
    size = x.shape[axis]
    if y.shape[axis] != size or size is None:
        return False
    shape = fitting_shapes(c.call, c.channels)[id(x)]
    index = np.arange(size)
    try:
        for draw in range(_DRAWS):
            random = np.random.default_rng(draw)
            value = random.normal(size=shape).astype("float32")
            base = run(c.call, {id(x): value})[0]
            for bit in range(max(1, (size - 1).bit_length())):
                for chosen in ((index >> bit) % 2 == 0, (index >> bit) % 2 == 1):
                    other = value.copy()
                    part = np.moveaxis(other, axis, 0)
                    part[chosen] = random.normal(size=part[chosen].shape)
                    change = run(c.call, {id(x): other})[0] != base
                    if np.moveaxis(change, axis, 0)[~chosen].any():
                        return False
            # The layer must also take fewer of them, and do the same.
            half = (index % 2 == 0) if size > 1 else np.ones(1, bool)
            less = run(c.call, {id(x): np.compress(half, value, axis)})[0]
            if not np.allclose(less, np.compress(half, base, axis), 1e-5, 1e-6):
                return False
    except Exception:
        return False
    return True
