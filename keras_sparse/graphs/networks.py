"""Graph networks as plain functional `keras.Model`s.

Each takes features `(n, d)` and an adjacency `(n, n)` as `ks.graphs.normalized` makes it, and gives
logits `(n, classes)`: compile with a loss that has `from_logits=True`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import initializers, layers

from keras_sparse.graphs.layers.gat_conv import GATConv
from keras_sparse.graphs.layers.graph_conv import GraphConv
from keras_sparse.graphs.layers.sage_conv import SAGEConv
from keras_sparse.messages.arguments import boolean, integer, random_seed, wrong


def gcn(
    num_features: int,
    num_classes: int,
    hidden: Sequence[int] = (16,),
    *,
    layer_norm: bool = False,
    sparse_features: bool = True,
    own_adjacency: bool = False,
    seed: int | None = None,
    **kwargs: Any,
) -> keras.Model:
    """Builds a graph convolutional network, for the adjacency `"gcn"`.

    ```python
    graph = ks.graphs.load("synthetic-sbm")
    model = ks.graphs.gcn(graph.num_features, graph.num_classes, dropout=0.5, seed=0)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(ks.graphs.FullGraph(graph, "gcn"), epochs=20)
    ```

    Args:
        num_features: Number of features of a node.
        num_classes: Number of logits.
        hidden: Units of the hidden layers, which have ReLU.
        layer_norm: Whether a layer normalization without parameters follows each of them.
        sparse_features: Whether the features come as a sparse matrix.
        own_adjacency: Whether each layer takes an adjacency of its own, as `LadiesLoader` gives.
        seed: Makes the initial weights and dropout reproducible.
        **kwargs: Of each layer: `dropout`, `aggregation`, `kernel_regularizer`, ...

    Raises:
        ValueError: If a number is not positive.

    Source: Kipf and Welling (2017), equation 9; Wolfe (2023), equation 1.
    """
    sizes = num_features, num_classes
    form = sparse_features, own_adjacency
    first = functools.partial(GraphConv, activation="relu")
    follow = _standardization(layer_norm)
    return _stacked("gcn", sizes, hidden, first, GraphConv, follow, form, seed, kwargs)


def sage(
    num_features: int,
    num_classes: int,
    hidden: Sequence[int] = (256,),
    *,
    layer_norm: bool = True,
    sparse_features: bool = False,
    own_adjacency: bool = False,
    seed: int | None = None,
    **kwargs: Any,
) -> keras.Model:
    """Builds a GraphSAGE network with mean aggregation, for the adjacency `"mean"`.

    Args:
        num_features: Number of features of a node.
        num_classes: Number of logits.
        hidden: Units of the hidden layers, which have ReLU.
        layer_norm: Whether a layer normalization without parameters comes before each ReLU.
        sparse_features: Whether the features come as a sparse matrix.
        own_adjacency: Whether each layer takes an adjacency of its own, as `LadiesLoader` gives.
        seed: Makes the initial weights and dropout reproducible.
        **kwargs: Of each layer: `dropout`, `aggregation`, `kernel_regularizer`, ...

    Raises:
        ValueError: If a number is not positive.

    Source: Hamilton et al. (2017), Algorithm 1; Wolfe (2023), section 2.4.2.
    """
    sizes = num_features, num_classes
    form = sparse_features, own_adjacency
    follow = [*_standardization(layer_norm), layers.ReLU]
    return _stacked("sage", sizes, hidden, SAGEConv, SAGEConv, follow, form, seed, kwargs)


def gat(
    num_features: int,
    num_classes: int,
    hidden: Sequence[int] = (8,),
    heads: int = 8,
    *,
    layer_norm: bool = False,
    sparse_features: bool = True,
    own_adjacency: bool = False,
    seed: int | None = None,
    **kwargs: Any,
) -> keras.Model:
    """Builds a graph attention network, for the adjacency `"self_loops"`.

    Args:
        num_features: Number of features of a node.
        num_classes: Number of logits.
        hidden: Units of a head in the hidden layers, which have ELU and join their heads.
        heads: Heads of the hidden layers. The last layer has one.
        layer_norm: Whether a layer normalization without parameters follows each hidden layer.
        sparse_features: Whether the features come as a sparse matrix.
        own_adjacency: Whether each layer takes an adjacency of its own, as `LadiesLoader` gives.
        seed: Makes the initial weights and dropout reproducible.
        **kwargs: Of each layer: `dropout`, `attention_dropout`, `kernel_regularizer`, ...

    Raises:
        ValueError: If a number is not positive.

    Source: Velickovic et al. (2018), section 3.3.
    """
    sizes = num_features, num_classes
    form = sparse_features, own_adjacency
    first = functools.partial(GATConv, heads=heads, activation="elu")
    last = functools.partial(GATConv, concatenate=False)
    follow = _standardization(layer_norm)
    return _stacked("gat", sizes, hidden, first, last, follow, form, seed, kwargs)


def _stacked(
    name: str,
    sizes: tuple[int, int],
    hidden: Sequence[int],
    hidden_layer: Callable[..., keras.layers.Layer],
    last_layer: Callable[..., keras.layers.Layer],
    follow: Sequence[Callable[[], keras.layers.Layer]],
    form: tuple[bool, bool],
    seed: int | None,
    kwargs: dict[str, Any],
) -> keras.Model:
    """Hidden layers, what follows each of them, and the layer that makes the logits."""
    integer("num_features", sizes[0])
    integer("num_classes", sizes[1])
    sparse_features = boolean("sparse_features", form[0])
    own_adjacency = boolean("own_adjacency", form[1])
    random_seed("seed", seed)
    if not isinstance(hidden, Sequence):
        raise wrong("hidden", hidden, "a list of numbers of units")

    def own(number: int) -> dict[str, Any]:
        # Two apart, as a layer may draw from the next seed as well.
        drawn = None if seed is None else 2 * (seed * (len(hidden) + 1) + number)
        return {"kernel_initializer": initializers.GlorotUniform(drawn), "seed": drawn, **kwargs}

    features = x = keras.Input((sizes[0],), sparse=sparse_features, name="features")
    links = [
        keras.Input((None,), sparse=True, name=f"adjacency{number or ''}")
        for number in range(len(hidden) + 1 if own_adjacency else 1)
    ]
    for number, units in enumerate(hidden):
        x = hidden_layer(units, name=f"hidden{number + 1}", **own(number))(
            x, links[own_adjacency * number]
        )
        for make in follow:
            x = make()(x)
    logits = last_layer(sizes[1], name="logits", **own(len(hidden)))(x, links[-1])
    return keras.Model((features, *links), logits, name=name)


def _standardization(layer_norm: bool) -> list[Callable[[], keras.layers.Layer]]:
    make = functools.partial(layers.LayerNormalization, center=False, scale=False)
    return [make] if boolean("layer_norm", layer_norm) else []
