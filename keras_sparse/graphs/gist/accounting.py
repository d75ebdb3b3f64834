"""What a training sends and computes, in closed form."""

from __future__ import annotations

import math

import keras

from keras_sparse.graphs.gist.cutting import Cutting, model_weights
from keras_sparse.graphs.gist.feature_groups import feature_groups
from keras_sparse.graphs.gist.sub_network import sub_network
from keras_sparse.messages.arguments import boolean, integer, one_of, wrong
from keras_sparse.probe.layer_graph import layer_graph

METHODS = ("gist", "local_sgd", "data_parallel", "ensemble")


def communication_volume(
    model: keras.Model,
    num_subgcns: int,
    rounds: int,
    method: str = "gist",
    *,
    count_local: bool = True,
    gathered: bool = False,
) -> int:
    """The values that go between the server and all workers in a training.

    ```python
    model = ks.graphs.gcn(1433, 7, (256, 256), layer_norm=True)
    ks.graphs.communication_volume(model, num_subgcns=2, rounds=10)
    ```

    Args:
        model: The whole model.
        num_subgcns: Number of workers.
        rounds: Number of rounds; of `"data_parallel"` the number of steps.
        method: `"gist"`, `"local_sgd"` and `"data_parallel"` send each worker's weights down and
            up in each round, `"ensemble"` sends them down once.
        count_local: Whether those of the first worker count, which may be where the server is.
        gathered: Of `"gist"`: whether workers hand their parts to each other without a server,
            as with `backend="tf.distribute"`.

    Raises:
        ValueError: If an argument is out of range.

    Source: Wolfe (2023), section 2.2.4.
    """
    integer("rounds", rounds, 0)
    one_of("method", method, METHODS)
    boolean("count_local", count_local)
    if method in ("gist", "ensemble"):
        sizes = [_weights(each) for each in sub_gcns(model, num_subgcns)]
    else:
        sizes = [_weights(model)] * integer("num_subgcns", num_subgcns)
    if boolean("gathered", gathered):
        return (num_subgcns - 1) * sum(sizes) * rounds
    counted = sum(sizes if count_local else sizes[1:])
    return counted if method == "ensemble" else 2 * counted * rounds


def sub_gcns(model: keras.Model, num_subgcns: int) -> list[keras.Model]:
    """Networks of the shapes that workers train, with weights of their own.

    Args:
        model: The whole model.
        num_subgcns: Number of workers.

    Raises:
        ValueError: As of `GIST`.
    """
    groups = feature_groups(model)
    cutting = Cutting(model, groups, integer("num_subgcns", num_subgcns), 0)
    return [sub_network(model, groups, sizes) for sizes in cutting.sizes()]


def forward_macs(model: keras.Model, nodes: int, edges: int) -> int:
    """Multiplications, each with an addition, of one forward pass over a graph.

    ```python
    model = ks.graphs.gcn(1433, 7, (256, 256))
    ks.graphs.forward_macs(model, nodes=2708, edges=13264)
    ```

    Args:
        model: A functional model of graph layers and `Dense`; what has few weights counts nothing.
        nodes: Number of nodes.
        edges: Number of entries that the adjacency stores.

    Raises:
        ValueError: If a layer with a kernel does not say how much it computes.
    """
    total = 0
    for call in layer_graph(model).walk():
        layer = call.operation
        count = getattr(layer, "multiplications", None)
        if count is not None:
            total += count(nodes, edges)
        elif type(layer) is keras.layers.Dense:
            total += nodes * math.prod(layer.kernel.shape)
        elif any(len(weight.shape) > 1 for weight in getattr(layer, "weights", ())):
            allowed = "a model of graph layers and Dense"
            raise wrong("model", layer.name, allowed, "That layer is none of them")
    return total


def _weights(model: keras.Model) -> int:
    return sum(math.prod(weight.shape) for weight in model_weights(model))
