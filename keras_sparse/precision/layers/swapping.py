"""Attributes of layers that are others for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import keras


@contextlib.contextmanager
def swapped(layer: keras.layers.Layer, values: Mapping[str, Any]) -> Iterator[None]:
    """Gives attributes of a layer other values for a while, past Keras's tracking of them."""
    before = {name: vars(layer)[name] for name in values if name in vars(layer)}
    try:
        for name, value in values.items():
            object.__setattr__(layer, name, value)
        yield
    finally:
        for name in values:
            if name in before:
                object.__setattr__(layer, name, before[name])
            elif name in vars(layer):
                object.__delattr__(layer, name)


def attributes_of(layer: keras.layers.Layer) -> dict[str, Any]:
    """The trainable and frozen weights that a layer itself owns, by the names of attributes."""
    own = {id(variable) for variable in layer._trainable_variables}
    return {name: value for name, value in vars(layer).items() if id(value) in own}
