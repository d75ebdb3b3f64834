"""Graph networks as plain functional `keras.Model`s.

Each takes features `(n, d)` and an adjacency `(n, n)` as `ks.graphs.normalized` makes it, and gives
logits `(n, classes)`: compile with a loss that has `from_logits=True`.
"""

from __future__ import annotations

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
        seed: Makes the initial weights and dropout reproducible.
        **kwargs: Of each layer: `dropout`, `aggregation`, `kernel_regularizer`, ...

    Raises:
        ValueError: If a number is not positive.

    Source: Kipf and Welling (2017), equation 9; Wolfe (2023), equation 1.
    """

    def block(features: Any, adjacency: Any, units: int, own: dict[str, Any]) -> Any:
        output = GraphConv(units, activation="relu", **own)(features, adjacency)
        return _standardized(output) if layer_norm else output

    def last(features: Any, adjacency: Any, own: dict[str, Any]) -> Any:
        return GraphConv(num_classes, **own)(features, adjacency)

    boolean("layer_norm", layer_norm)
    inputs = _inputs(num_features, num_classes, sparse_features)
    return _stacked("gcn", inputs, hidden, block, last, kwargs, seed)


def sage(
    num_features: int,
    num_classes: int,
    hidden: Sequence[int] = (256,),
    *,
    layer_norm: bool = True,
    sparse_features: bool = False,
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
        seed: Makes the initial weights and dropout reproducible.
        **kwargs: Of each layer: `dropout`, `aggregation`, `kernel_regularizer`, ...

    Raises:
        ValueError: If a number is not positive.

    Source: Hamilton et al. (2017), Algorithm 1; Wolfe (2023), section 2.4.2.
    """

    def block(features: Any, adjacency: Any, units: int, own: dict[str, Any]) -> Any:
        output = SAGEConv(units, **own)(features, adjacency)
        return layers.ReLU()(_standardized(output) if layer_norm else output)

    def last(features: Any, adjacency: Any, own: dict[str, Any]) -> Any:
        return SAGEConv(num_classes, **own)(features, adjacency)

    boolean("layer_norm", layer_norm)
    inputs = _inputs(num_features, num_classes, sparse_features)
    return _stacked("sage", inputs, hidden, block, last, kwargs, seed)


def gat(
    num_features: int,
    num_classes: int,
    hidden: Sequence[int] = (8,),
    heads: int = 8,
    *,
    layer_norm: bool = False,
    sparse_features: bool = True,
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
        seed: Makes the initial weights and dropout reproducible.
        **kwargs: Of each layer: `dropout`, `attention_dropout`, `kernel_regularizer`, ...

    Raises:
        ValueError: If a number is not positive.

    Source: Velickovic et al. (2018), section 3.3.
    """

    def block(features: Any, adjacency: Any, units: int, own: dict[str, Any]) -> Any:
        output = GATConv(units, heads, activation="elu", **own)(features, adjacency)
        return _standardized(output) if layer_norm else output

    def last(features: Any, adjacency: Any, own: dict[str, Any]) -> Any:
        return GATConv(num_classes, concatenate=False, **own)(features, adjacency)

    boolean("layer_norm", layer_norm)
    inputs = _inputs(num_features, num_classes, sparse_features)
    return _stacked("gat", inputs, hidden, block, last, kwargs, seed)


def _inputs(num_features: int, num_classes: int, sparse: bool) -> tuple[Any, Any]:
    integer("num_features", num_features)
    integer("num_classes", num_classes)
    boolean("sparse_features", sparse)
    features = keras.Input((num_features,), sparse=sparse, name="features")
    return features, keras.Input((None,), sparse=True, name="adjacency")


def _stacked(
    name: str,
    inputs: tuple[Any, Any],
    hidden: Sequence[int],
    block: Callable[..., Any],
    last: Callable[..., Any],
    kwargs: dict[str, Any],
    seed: int | None,
) -> keras.Model:
    if not isinstance(hidden, Sequence):
        raise wrong("hidden", hidden, "a list of numbers of units")
    random_seed("seed", seed)
    features, adjacency = inputs
    for number, units in enumerate([*hidden, None]):
        # Two apart, as a layer may draw from the next seed as well.
        own_seed = None if seed is None else 2 * (seed * (len(hidden) + 1) + number)
        own = {
            "kernel_initializer": initializers.GlorotUniform(own_seed),
            "seed": own_seed,
            "name": "logits" if units is None else f"hidden{number + 1}",
            **kwargs,
        }
        features = (
            last(features, adjacency, own)
            if units is None
            else block(features, adjacency, units, own)
        )
    return keras.Model(inputs, features, name=name)


def _standardized(features: Any) -> Any:
    return layers.LayerNormalization(center=False, scale=False)(features)
