"""The outputs of a wide network, computed layer by layer and some columns at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.graphs.gist.cutting import Cutting, cut_all, layers_with_weights
from keras_sparse.graphs.gist.feature_groups import FeatureGroups
from keras_sparse.probe.layer_graph import layer_graph


class Blockwise:
    """A network whose weights are larger than what memory holds.

    Args:
        part: A model of the same layers, of a worker's width.
        groups: The groups of features of the whole network.
        cutting: Of its weights.
        weights: Its weights, in the order of the model's.
    """

    def __init__(
        self,
        part: keras.Model,
        groups: FeatureGroups,
        cutting: Cutting,
        weights: Sequence[np.ndarray],
    ) -> None:
        self._graph, self._groups = layer_graph(part), groups
        self._blocks = cutting.num_blocks
        self._weights: dict[str, tuple[list[Any], list[Any]]] = {}
        at = 0
        for layer in layers_with_weights(part):
            end = at + len(layer.weights)
            self._weights[layer.name] = list(weights[at:end]), list(cutting.axes[at:end])
            at = end

    def __call__(self, inputs: Sequence[Any]) -> Any:
        """The network's output.

        Args:
            inputs: As of the model.
        """
        tensors = zip(self._graph.inputs, inputs, strict=True)
        values = {id(tensor): value for tensor, value in tensors}
        for call in self._graph.calls:
            args, kwargs = call.filled(values)
            values[id(call.outputs[0])] = self._computed(call.operation, args, kwargs)
        return values[id(self._graph.outputs[0])]

    def _computed(self, layer: Any, args: Any, kwargs: Any) -> Any:
        if layer.name not in self._weights:
            return type(layer).from_config(layer.get_config())(*args, **kwargs)
        group = self._groups.made.get(layer.name)
        if group is None:
            return self._with(layer, layer.get_config(), None, args, kwargs)
        width = self._groups.widths[group]
        apart = getattr(layer, "columns_apart", type(layer) is keras.layers.Dense)
        count = self._blocks if self._groups.cut[group] and apart else 1
        outputs = []
        for columns in np.array_split(np.arange(width), count):
            config = {**layer.get_config(), "units": len(columns)}
            outputs.append(self._with(layer, config, (group, columns), args, kwargs))
        return outputs[0] if count == 1 else ops.concatenate(outputs, axis=-1)

    def _with(self, layer: Any, config: Any, part: Any, args: Any, kwargs: Any) -> Any:
        """What a layer of another configuration makes with a part of the weights."""
        weights, axes = self._weights[layer.name]
        blocks = [np.arange(width) for width in self._groups.widths]
        if part is not None:
            group, columns = part
            blocks[group] = columns
        places = [[self._groups.indices(axis, blocks) for axis in of_weight] for of_weight in axes]
        narrow = type(layer).from_config(config)
        narrow.build(*(value.shape for value in args))
        narrow.set_weights(cut_all(weights, places))
        return narrow(*args, **kwargs)
