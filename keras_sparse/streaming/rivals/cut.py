"""A model in two: what is frozen, and what learns."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from keras_sparse.messages.arguments import instance, text, wrong
from keras_sparse.messages.names import unknown_name

_ROWS = 256


def cut(model: keras.Model, layer: str) -> tuple[keras.Model, keras.Model]:
    """The model up to a layer and the model behind it, with the model's own weights.

    Args:
        model: A built Sequential or functional model of one input and one output.
        layer: The name of the last layer of the first part, through which all passes.

    Raises:
        ValueError: If there is no such layer, or a connection passes it by.
    """
    features = _output(model, text("layer", layer))
    try:
        return keras.Model(model.inputs, features), keras.Model(features, model.outputs[0])
    except ValueError as error:
        cure = "A connection passes it by."
        raise wrong("layer", layer, "one that all of the model's inputs pass", cure) from error


def freeze_first(model: keras.Model, layer: str) -> float:
    """Freezes a model up to a layer, for studies of how much may be frozen.

    Args:
        model: A built Sequential or functional model, not compiled yet.
        layer: The name of the last frozen layer.

    Returns:
        The share of the weights that are frozen.

    Raises:
        ValueError: If there is no such layer.

    Source: Wolfe (2023), Figure 11.
    """
    instance("model", model, keras.Model, "a built keras.Model")
    before = model.count_params()
    frozen = keras.Model(model.inputs, _output(model, text("layer", layer)))
    for each in frozen.layers:
        each.trainable = False
    return frozen.count_params() / before


def _output(model: keras.Model, layer: str) -> keras.KerasTensor:
    names = [each.name for each in model.layers]
    if layer not in names:
        raise unknown_name("layer", layer, names)
    return model.get_layer(layer).output


def features_in_parts(
    trunk: keras.Model, x: np.ndarray, standardize: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """What a part of a model makes of examples in inference mode, some of them at a time.

    Args:
        trunk: The part.
        x: Examples as they come.
        standardize: Makes of them what the model takes.
    """
    starts = range(0, len(x), _ROWS)
    parts = [trunk.predict_on_batch(standardize(x[i : i + _ROWS])) for i in starts]
    return np.concatenate([np.asarray(part) for part in parts])


def flat(features: np.ndarray) -> np.ndarray:
    """A vector of each example; maps are averaged over their places."""
    places = tuple(range(1, features.ndim - 1))
    return features.mean(axis=places) if places else features
