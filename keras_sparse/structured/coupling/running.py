"""Running single operations of a model, with sizes for the axes that it leaves open."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.probe.layer_graph import Call, LayerGraph
from keras_sparse.structured.coupling.channels import Channels

# They can be halved and divided by three, several times.
_BATCH, _OPEN = 2, 96


def fitting_shapes(call: Call, channels: Channels) -> dict[int, tuple[int, ...]]:
    """Shapes without open axes for the inputs of a call, by their `id`.

    Args:
        call: The call.
        channels: The channels of the model that it is in.
    """
    if all(size is not None for x in call.inputs for size in x.shape[1:]):
        shapes = {id(x): concrete(x.shape) for x in call.inputs}
        if _runs(call, shapes):
            return shapes
    if channels.shapes is None:
        channels.shapes = {}
        follow_shapes(channels.graph, channels.shapes)
    return {id(x): channels.shapes.get(id(x), concrete(x.shape)) for x in call.inputs}


def concrete(shape: tuple[int | None, ...]) -> tuple[int, ...]:
    """A shape with sizes for the axes that are left open."""
    return tuple(
        (_OPEN if axis else _BATCH) if size is None else size for axis, size in enumerate(shape)
    )


def follow_shapes(graph: LayerGraph, shapes: dict[int, tuple[int, ...]]) -> None:
    """Finds the shapes of all tensors of a graph from those of its inputs, as far as they go."""
    for tensor in graph.inputs:
        shapes.setdefault(id(tensor), concrete(tensor.shape))
    for call in graph.calls:
        if call.graph is not None:
            for outer, own in zip(call.inputs, call.graph.inputs, strict=True):
                shapes.setdefault(id(own), shapes[id(outer)])
            follow_shapes(call.graph, shapes)
            found = [shapes[id(own)] for own in call.graph.outputs]
        else:
            found = _outputs(call, shapes)
        shapes.update(zip(map(id, call.outputs), found, strict=True))


def _outputs(call: Call, shapes: dict[int, tuple[int, ...]]) -> list[tuple[int, ...]]:
    tensors = {id(x): keras.KerasTensor(shapes[id(x)], x.dtype) for x in call.inputs}
    args, kwargs = call.filled(tensors)
    try:
        outputs = keras.tree.flatten(call.operation.compute_output_spec(*args, **kwargs))
        return [concrete(y.shape) for y in outputs]
    except Exception:
        return [concrete(y.shape) for y in call.outputs]


def _runs(call: Call, shapes: dict[int, tuple[int, ...]]) -> bool:
    """Whether a call takes inputs of some shapes."""
    try:
        run(call, {key: np.zeros(shape, "float32") for key, shape in shapes.items()})
    except Exception:
        return False
    return True


def run(call: Call, values: dict[int, np.ndarray], constant: float | None = None) -> list[Any]:
    """What an operation makes of other inputs.

    Args:
        call: A call of it.
        values: Values by the `id` of the symbolic inputs.
        constant: What numbers with fractions among the other arguments are replaced with.
    """

    def given(item: Any) -> Any:
        if isinstance(item, keras.KerasTensor):
            return ops.convert_to_tensor(values[id(item)], "float32")
        if constant is not None and hasattr(item, "shape") and "float" in str(item.dtype):
            return ops.full(item.shape, constant, "float32")
        return item

    args, kwargs = keras.tree.map_structure(given, (call.args, call.kwargs))
    outputs = keras.tree.flatten(call.operation.call(*args, **kwargs))
    return [ops.convert_to_numpy(output) for output in outputs]
