"""What the layers of a model are called with, and what they return."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import keras
from keras import ops

Note: TypeAlias = Callable[[keras.layers.Layer, Any, Any], None]


def run_recorded(
    model: keras.Model, layers: Sequence[keras.layers.Layer], x: Any, note: Note
) -> None:
    """Runs a model once on a batch, in inference mode, and tells of each call of some layers.

    Nothing of the model changes, not even what a stateful layer would remember.

    Args:
        model: A built Keras model.
        layers: Layers inside it.
        x: A batch of inputs.
        note: Called as `note(layer, inputs, outputs)` after each call, with the first argument of
            the call. Inside of a loop that the backend compiles these are symbols, without values.
    """
    batch = keras.tree.map_structure(ops.convert_to_tensor, x)
    with recording(layers, note), keras.StatelessScope():
        model(batch, training=False)


@contextlib.contextmanager
def recording(layers: Sequence[keras.layers.Layer], note: Note) -> Iterator[None]:
    """Tells of each call of some layers for a while; they are then as they were, come what may.

    The arguments are those of `run_recorded`.
    """
    chosen = list({id(layer): layer for layer in layers}.values())
    names = [_computes_by(layer) for layer in chosen]
    before = [vars(layer).get(name) for layer, name in zip(chosen, names, strict=True)]
    try:
        for layer, name in zip(chosen, names, strict=True):
            # Past the layer's own way of setting attributes, which may track or refuse them.
            object.__setattr__(layer, name, _telling(layer, getattr(layer, name), note))
        yield
    finally:
        for layer, name, own in zip(chosen, names, before, strict=True):
            if own is not None:
                object.__setattr__(layer, name, own)
            elif name in vars(layer):
                object.__delattr__(layer, name)


def _computes_by(layer: keras.layers.Layer) -> str:
    """The method by which Keras computes a layer's outputs."""
    return "call" if getattr(layer, "quantization_mode", None) is None else "quantized_call"


def _telling(layer: keras.layers.Layer, call: Callable[..., Any], note: Note) -> Any:
    # Some layers are called by keywords alone.
    first = next(iter(inspect.signature(call).parameters), "inputs")

    def told(*args: Any, **kwargs: Any) -> Any:
        outputs = call(*args, **kwargs)
        note(layer, args[0] if args else kwargs.get(first), outputs)
        return outputs

    return told
