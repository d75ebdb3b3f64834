"""Building the smaller model, and the model of full size that computes the same."""

from __future__ import annotations

from typing import Any

import keras

from keras_sparse.structured.coupling.groups import ChannelGroups, channel_groups
from keras_sparse.structured.coupling.rebuilding import Rebuilding


def shrink(model: keras.Model, keep: Any) -> keras.Model:
    """Builds the smaller model that has some channels, neurons and heads of a model.

    The new model is made of the same layers under the same names, with the weights of what is
    kept. It is a plain Keras model: it is saved and exported like any other, and loads without
    this package. It is not compiled. The model itself stays as it is.

    ```python
    ks.structured.report(model).print()  # names the groups
    smaller = ks.structured.shrink(model, {"conv1": [0, 2, 5]})
    ```

    Args:
        model: A built functional or Sequential model.
        keep: For the names of groups (see `report`), the units to keep: indices, or a boolean for
            each unit. Groups that are not named keep all of theirs.

    Returns:
        A new model.

    Raises:
        ValueError: If the model has no graph, a group is unknown, a unit is left out that has to
            stay, a group would become empty, or a layer cannot be built in the new size.

    Source: Fang et al. (2023), DepGraph, for groups that are removed together.
    """
    groups = channel_groups(model)
    return build(groups, groups.checked(keep), masked=False)


def masked(model: keras.Model, keep: Any) -> keras.Model:
    """Builds the model of full size in which what is not kept is zero.

    Its outputs are those of the smaller model that `shrink` builds, so that the two can be
    compared. Weights of what is removed are zero, also those that use it; layer, group and root
    mean square normalization take their moments over what is kept, and products of tensors see
    zeros.

    ```python
    masked = ks.structured.masked(model, {"conv1": [0, 2, 5]})
    ```

    Args:
        model: A built functional or Sequential model.
        keep: As for `shrink`.

    Returns:
        A new model.

    Raises:
        ValueError: As for `shrink`.
    """
    groups = channel_groups(model)
    return build(groups, groups.checked(keep), masked=True)


def build(groups: ChannelGroups, keep: dict[str, Any], masked: bool) -> keras.Model:
    """Builds the smaller or the masked model.

    Args:
        groups: The model's groups.
        keep: Booleans for each unit, by the names of groups.
        masked: Whether what is not kept is set to zero rather than left out.
    """
    rebuilding = Rebuilding(groups.kept(keep), masked)
    built = rebuilding.model(groups.graph)
    rebuilding.copy_weights(groups.graph)
    return built
