"""The variables of a model and its optimizer as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_sparse.messages.arguments import wrong
from keras_sparse.probe.copies import copy_states


def _variables(model: keras.Model) -> list[Any]:
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        return list(model.variables)
    if not optimizer.built:
        optimizer.build(model.trainable_variables)
    return [*model.variables, *optimizer.variables]


def uncompiled_copy(model: keras.Model) -> keras.Model:
    """A model of the same layers and weights; a clone would also have the metrics."""
    copy = type(model).from_config(model.get_config())
    copy.set_weights(model.get_weights())
    copy_states(model._flatten_layers(), copy._flatten_layers())
    return copy


def arrays_of(variables: Sequence[Any]) -> list[np.ndarray]:
    """The values of variables."""
    return [keras.ops.convert_to_numpy(variable).copy() for variable in variables]


def model_arrays(model: keras.Model) -> list[np.ndarray]:
    """The values of all variables of a model and its optimizer."""
    return arrays_of(_variables(model))


def assign_values(variables: Sequence[Any], arrays: Sequence[np.ndarray]) -> None:
    """Gives variables what `arrays_of` gave.

    Raises:
        ValueError: If they are of other shapes.
    """
    given = [array.shape for array in arrays]
    if given != [tuple(variable.shape) for variable in variables]:
        raise wrong("arrays", given, "the shapes of this model's and its optimizer's variables")
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def assign_arrays(model: keras.Model, arrays: list[np.ndarray]) -> None:
    """Gives a model what `model_arrays` gave.

    Raises:
        ValueError: If it is of another model.
    """
    assign_values(_variables(model), arrays)
