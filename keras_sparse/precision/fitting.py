"""Making layers of a model compute in low precision, and giving them back."""

from __future__ import annotations

import contextlib
from typing import Any

import keras

from keras_sparse.backend.replicas import strategy_scope
from keras_sparse.graphs.layers.base import GraphLayer
from keras_sparse.precision.choice import Choice, products_of
from keras_sparse.precision.force import Precision, Range, Site
from keras_sparse.precision.layers.attention import attention
from keras_sparse.precision.layers.graphs import graph
from keras_sparse.precision.layers.products import ONE_PRODUCT, one_product, separable
from keras_sparse.precision.layers.recurrent import CELLS, cell, recurrent
from keras_sparse.precision.layers.swapping import swapped
from keras_sparse.probe.flops import ATTENTION


class RunningState:
    """A running range, where Keras keeps seeds: carried by training, in no file.

    Args:
        name: The variable's name.
    """

    def __init__(self, name: str) -> None:
        # Each replica has its own, as a batch normalization has its statistics.
        self.state = keras.Variable(
            [0.0, 0.0, 0.0],
            dtype="float32",
            trainable=False,
            autocast=False,
            aggregation="mean",
            synchronization="on_read",
            name=name,
        )


class LowPrecisionLayers:
    """The layers of a model that compute in low precision for a while.

    Args:
        model: The model.
        choice: Its layers.
        precision: What is in force in them.
        aggregation: Whether graph layers round what they aggregate: `"full"` or `"quantized"`.
    """

    def __init__(
        self, model: keras.Model, choice: Choice, precision: Precision, aggregation: str
    ) -> None:
        self.model = model
        self._stack = contextlib.ExitStack()
        self.states: list[RunningState] = []
        sites: dict[int, list[Site]] = {}
        number = 0
        with strategy_scope(model):
            for layer in choice.layers:
                keeps = id(layer) not in choice.looped and not isinstance(layer, CELLS)
                own = []
                for i in range(products_of(layer)):
                    running = self._running(layer, i) if keeps else None
                    own.append(Site(precision, number, running))
                    number += 1
                sites[id(layer)] = own
        for layer in choice.layers:
            self._put(layer, low_precision(layer, sites[id(layer)], aggregation))
        for rnn in (x for x in model._flatten_layers() if isinstance(x, keras.layers.RNN)):
            cells = [c for c in rnn.cell._flatten_layers() if id(c) in sites]
            cells = [c for c in cells if isinstance(c, CELLS)]
            if cells:
                self._put(rnn, recurrent(rnn, cells, [sites[id(c)][0] for c in cells]))
        model._seed_generators.extend(self.states)

    def _running(self, layer: keras.layers.Layer, number: int) -> Range | None:
        if isinstance(layer, GraphLayer):
            return None  # The whole graph is there at inference too.
        state = RunningState(f"{layer.name}_range{number}")
        self.states.append(state)
        return Range(state.state)

    def _put(self, layer: keras.layers.Layer, values: dict[str, Any]) -> None:
        self._stack.enter_context(swapped(layer, values))

    def give_back(self) -> None:
        """Makes the layers what they were."""
        self._stack.close()
        own = {id(state) for state in self.states}
        kept = [each for each in self.model._seed_generators if id(each) not in own]
        self.model._seed_generators[:] = kept
        self.states = []


def low_precision(
    layer: keras.layers.Layer, sites: list[Site], aggregation: str = "full"
) -> dict[str, Any]:
    """The attributes that make a layer compute in low precision.

    Args:
        layer: A layer of which `products_of` is not 0.
        sites: Its products.
        aggregation: `"full"` or `"quantized"`, of a graph layer.
    """
    if isinstance(layer, GraphLayer):
        return graph(layer, sites, aggregation)
    if isinstance(layer, ATTENTION):
        return attention(layer, sites)
    if isinstance(layer, CELLS):
        return cell(layer, sites)
    return one_product(layer, sites) if isinstance(layer, ONE_PRODUCT) else separable(layer, sites)
