"""A network cut behind a layer: what the layer makes of samples, and what becomes of that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_sparse.backend.compiled import compiled
from keras_sparse.messages.arguments import instance, wrong
from keras_sparse.messages.names import unknown_name
from keras_sparse.probe.calibration import calibration_batches
from keras_sparse.probe.layer_graph import Call, layer_graph
from keras_sparse.structured.units.contributions import numbers


class Cut(NamedTuple):
    """The two parts of a network.

    Args:
        outputs: What the layer makes of the samples.
        others: What else passes from the first part into the second, such as what a skip
            connection carries.
        targets: Of the samples.
        rest: Makes predictions of `outputs` and `others`, in inference mode.
    """

    outputs: np.ndarray
    others: Sequence[np.ndarray]
    targets: np.ndarray
    rest: Callable[..., Any]


def cut(
    model: keras.Model, layer: keras.layers.Layer | str, data: Any, *, batch_size: int = 128
) -> Cut:
    """Cuts a functional or Sequential model behind a layer, and runs the first part on data.

    Args:
        model: A built model of one output. It is not changed.
        layer: A layer of it that is called once, or its name.
        data: Arrays `(x, y)`, or a finite iterable of batches.
        batch_size: Samples in a batch, for arrays.

    Returns:
        A `Cut`.

    Raises:
        ValueError: If the model has no graph or no such layer, or the data does not suit it.
    """
    if not getattr(model, "inputs", None) or len(model.outputs) != 1:
        raise wrong("model", model, "a functional or Sequential model of one output")
    if isinstance(layer, str):
        named = {each.name: each for each in model.layers}
        if layer not in named:
            raise unknown_name("layer", layer, named)
        layer = named[layer]
    instance("layer", layer, keras.layers.Layer, "a layer of the model, or its name")
    calls = layer_graph(model).calls
    mine = [call for call in calls if call.operation is layer]
    if len(mine) != 1 or len(mine[0].outputs) != 1:
        raise wrong("layer", layer.name, "called once in the model, with one output")
    at = mine[0].outputs[0]
    carried = _carried(calls, at)
    first = keras.Model(model.inputs, [at, *carried])
    last = at is model.outputs[0]
    second = None if last else keras.Model([at, *carried] if carried else at, model.outputs[0])
    run = compiled(lambda batch: first(batch, training=False))
    found: list[list[np.ndarray]] = [[] for _ in (at, *carried)]
    targets = []
    for x, y in calibration_batches(model, data, batch_size):
        made = keras.tree.flatten(run(keras.tree.map_structure(ops.convert_to_tensor, x)))
        for kept, each in zip(found, made, strict=True):
            kept.append(ops.convert_to_numpy(each))
        targets.append(numbers("data", y))
    outputs, *others = [np.concatenate(each) for each in found]

    def rest(*tensors: Any) -> Any:
        if second is None:
            return tensors[0]
        return second(list(tensors) if carried else tensors[0], training=False)

    return Cut(outputs, others, np.concatenate(targets), rest)


def _carried(calls: Sequence[Call], at: Any) -> list[Any]:
    """What passes by a tensor: made without it, and used together with what follows from it."""
    after = {id(at)}
    carried: dict[int, Any] = {}
    for call in calls:
        if not any(id(tensor) in after for tensor in call.inputs):
            continue
        after.update(id(tensor) for tensor in call.outputs)
        carried.update({id(t): t for t in call.inputs if id(t) not in after})
    return list(carried.values())
