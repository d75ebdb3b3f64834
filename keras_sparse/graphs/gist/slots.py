"""An optimizer's state that is cut and merged along with the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_sparse.engine.buffers import slots_of
from keras_sparse.graphs.gist.cutting import model_weights
from keras_sparse.graphs.gist.partition import Places


def slots_to_keep(model: keras.Model) -> list[Any]:
    """The state of a compiled model's optimizer without its learning rate.

    Args:
        model: The model, whose optimizer is built if it is not.
    """
    optimizer = model.optimizer
    optimizer.build(model.trainable_variables)
    rate = optimizer._learning_rate
    return [variable for variable in optimizer.variables if variable is not rate]


def slot_places(model: keras.Model, places: Sequence[Places]) -> list[Places]:
    """Where a sub-network's part of the state lies: where its part of the weights does.

    Args:
        model: The whole model, compiled.
        places: For each of its weights where the part lies.

    Returns:
        For each variable of `slots_to_keep` its places; of what belongs to no weight, all of it.
    """
    of_weight = {id(w): place for w, place in zip(model_weights(model), places, strict=True)}
    slots = slots_to_keep(model)
    of_slot = {
        id(slot): of_weight[id(weight)]
        for weight in model.trainable_variables
        for slot in slots_of(model.optimizer, weight)
    }
    return [of_slot.get(id(slot), (None,) * len(slot.shape)) for slot in slots]
