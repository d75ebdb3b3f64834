"""Lottery tickets for transfer: the mask of a ticket on the weights of the dense model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.messages.arguments import instance
from keras_sparse.messages.names import unknown_name
from keras_sparse.methods.at_start.lottery_ticket import LotteryTicket
from keras_sparse.probe.copies import copy_of
from keras_sparse.probe.variables import check_built, places


def lth_transfer(dense: keras.Model, ticket: LotteryTicket | Mapping[str, Any]) -> keras.Model:
    """A copy of a trained dense model in which what a ticket removes is zero (LTH-T).

    Masks are those of iterative magnitude pruning on the upstream task; the weights that they
    leave are the dense model's, bit by bit, and nothing is trained or tuned afterwards. It is the
    start of `ks.transfer.full`. With `ks.transfer.linear` its accuracy falls apart, because the
    statistics of batch normalization are the dense model's.

    ```python
    new = keras.models.clone_model(dense)
    ticket = ks.iterative_magnitude_pruning(new, 0.5, fit, rate=0.5)
    sparse = lth_transfer(dense, ticket)
    ```

    Args:
        dense: The model as it was trained dense on the upstream task.
        ticket: What `iterative_magnitude_pruning` found, or boolean masks by the paths of weights.

    Returns:
        The new model.

    Raises:
        ValueError: If a mask is of no weight of the model, or of another shape.

    Source: Peste (2023), 4.3.2; Chen et al. (2021).
    """
    instance("dense", dense, keras.Model, "a built keras.Model")
    check_built(dense)
    kinds = (LotteryTicket, Mapping)
    instance("ticket", ticket, kinds, "a LotteryTicket, or masks by the paths of weights")
    masks = dict(ticket.masks if isinstance(ticket, LotteryTicket) else ticket)
    place = places(dense)
    paths = [place[id(variable)].path for variable in dense.variables]
    for path, mask in masks.items():
        if path not in paths:
            raise unknown_name("weight in ticket", path, paths)
        shape = tuple(dense.variables[paths.index(path)].shape)
        if np.shape(mask) != shape:
            raise ValueError(
                f"The mask of {path!r} must have the weight's shape {shape}. Received: "
                f"{np.shape(mask)}. Give masks of a model that is built like the dense one."
            )
    copy = copy_of(dense)
    for variable, target, path in zip(dense.variables, copy.variables, paths, strict=True):
        value = ops.convert_to_numpy(variable)
        kept = np.asarray(masks[path], bool) if path in masks else True
        target.assign(np.where(kept, value, np.zeros_like(value)))
    return copy
