"""A narrow copy of a model, with as many features in each group as a sub-network has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_sparse.graphs.gist.feature_groups import FeatureGroups
from keras_sparse.probe.layer_graph import layer_graph


def sub_network(
    model: keras.Model, groups: FeatureGroups, sizes: Sequence[int], name: str = "sub_network"
) -> keras.Model:
    """The model with other numbers of features, and weights of its own.

    Args:
        model: A functional model.
        groups: Its groups of features.
        sizes: For each group the number of features.
        name: Of the result.

    Returns:
        A model of the same layers. Where no size differs it has the same shapes.

    Source: Wolfe (2023), section 2.2.1.
    """
    graph = layer_graph(model)
    values: dict[int, Any] = {}
    for tensor, pieces in zip(graph.inputs, groups.inputs, strict=True):
        shape = list(tensor.shape[1:])
        if pieces:
            shape[-1] = sum(sizes[piece.group] * piece.repeats for piece in pieces)
        values[id(tensor)] = keras.Input(
            shape, dtype=tensor.dtype, sparse=tensor.sparse, name=tensor.name
        )
    layers: dict[int, Any] = {}
    for call in graph.calls:
        layer = call.operation
        if id(layer) not in layers:
            layers[id(layer)] = _copied(layer, groups, sizes)
        args, kwargs = call.filled(values)
        outputs = keras.tree.flatten(layers[id(layer)](*args, **kwargs))
        values.update((id(old), new) for old, new in zip(call.outputs, outputs, strict=True))

    def found(structure: Any) -> Any:
        return keras.tree.map_structure(lambda tensor: values[id(tensor)], structure)

    return keras.Model(found(model.input), found(model.output), name=name)


def _copied(layer: Any, groups: FeatureGroups, sizes: Sequence[int]) -> Any:
    if not isinstance(layer, keras.layers.Layer):
        return layer
    config = layer.get_config()
    if layer.name in groups.made:
        config["units"] = sizes[groups.made[layer.name]]
    copy = type(layer).from_config(config)
    copy.trainable = layer.trainable
    return copy
