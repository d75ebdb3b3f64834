"""The layer scale of `keras.applications`, a number for each channel."""

from __future__ import annotations

import inspect

import keras

from keras_sparse.structured.coupling.coupling import HANDLERS, Coupling, Handler


def layer_scale(c: Coupling) -> None:
    """Position by position, times a number for each channel."""
    c.elementwise()
    c.put(c.layer.gamma, 0, c.axis(c.inputs[0], -1))


# Keras has no public name for the class: the module that makes the networks does.
_LAYER = getattr(inspect.getmodule(keras.applications.ConvNeXtTiny), "LayerScale", None)
if _LAYER is not None:
    HANDLERS[_LAYER] = Handler(
        layer_scale,
        resize=lambda call, kept: {"projection_dim": kept.shape(call.operation.gamma)[0]},
    )
