"""Copies of models, with all that their layers hold."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from typing import Any

import keras


def copy_of(model: keras.Model) -> keras.Model:
    """A clone with the model's weights, and what its layers hold beside them.

    Args:
        model: A built model, Sequential or functional.
    """
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    copy_states(model._flatten_layers(), copy._flatten_layers())
    return copy


def copy_states(layers: Iterable[Any], copies: Iterable[Any]) -> None:
    """Gives copies of layers what preprocessing layers adapted to.

    Args:
        layers: Layers and operations.
        copies: A copy of each, which has its variables already.
    """
    for layer, copy in zip(layers, copies, strict=True):
        if isinstance(copy, keras.layers.Normalization):
            copy.finalize_state()  # Of the moments in its variables.
        if hasattr(layer, "save_assets"):
            with tempfile.TemporaryDirectory() as folder:
                layer.save_assets(folder)
                copy.load_assets(folder)
