"""The inputs of layers while a model runs over calibration data, and sums over them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.posttrain.layer_inputs import sees_often
from keras_sparse.posttrain.pruned_weights import PrunedWeights
from keras_sparse.probe.calls import run_recorded
from keras_sparse.probe.graph_walk import Walk

# Numbers that a convolution sees which are looked at together: 64 MiB.
_AT_ONCE = 2**23


class _Seen(Exception):
    """All has been seen that was to be seen."""

    # Keras then raises it as it is, without a word on the call's arguments.
    _keras_call_info_injected = True


def called_in_order(model: keras.Model, layers: Sequence[keras.layers.Layer], x: Any) -> list[int]:
    """The `id` of the layer of each call that a batch leads to, in their order.

    Calls inside of a loop that the backend compiles are left out: there are no values to see.
    """
    order = []

    def note(layer: keras.layers.Layer, inputs: Any, _: Any) -> None:
        if _values(inputs) is not None:
            order.append(id(layer))

    run_recorded(model, layers, x, note)
    return order


def _values(inputs: Any) -> np.ndarray | None:
    # A layer inside a loop that the backend compiles gets symbols, which hold no values.
    with contextlib.suppress(TypeError, NotImplementedError):
        return np.asarray(ops.convert_to_numpy(inputs))
    return None


def recorded(
    model: keras.Model,
    layers: Sequence[keras.layers.Layer | None],
    x: Any,
    walk: Walk | None = None,
) -> list[list[np.ndarray]]:
    """The inputs that layers get, one for each time they are called on a batch or its walk.

    Raises:
        ValueError: As `told_inputs`.
    """
    seen: dict[int, list[np.ndarray]] = {id(layer): [] for layer in layers}
    told_inputs(model, layers, x, lambda layer, inputs: seen[id(layer)].append(inputs), walk=walk)
    return [seen[id(layer)] for layer in layers]


def told_inputs(
    model: keras.Model,
    layers: Sequence[keras.layers.Layer | None],
    x: Any,
    tell: Callable[[keras.layers.Layer, np.ndarray], None],
    calls: int | None = None,
    walk: Walk | None = None,
) -> None:
    """Tells of the inputs of each call of some layers while a batch runs through the model.

    Args:
        model: A built Keras model.
        layers: Layers inside it.
        x: A batch of inputs.
        tell: Called with a layer and its inputs.
        calls: How often all of the layers together are called (see `called_in_order`): the
            model is left after the last of these calls. Defaults to running it to its end.
        walk: The batch's walk, which then goes on in place of the model's run.

    Raises:
        ValueError: If inputs are not finite: in products infinity times zero would be NaN.
    """
    heard = 0

    def note(layer: keras.layers.Layer, inputs: Any, _: Any) -> None:
        nonlocal heard
        values = _values(inputs)
        if values is None:
            return
        if not np.isfinite(values).all():
            raise ValueError(
                f"The inputs of {layer.name!r} are not finite. Look for NaN or infinity in the "
                "calibration data and the model's weights."
            )
        tell(layer, values)
        heard += 1
        if heard == calls:
            raise _Seen

    known = [layer for layer in layers if layer is not None]
    with contextlib.suppress(_Seen):
        if walk is None:
            run_recorded(model, known, x, note)
        else:
            walk.look(known, note)


def summed(
    chosen: PrunedWeights,
    layers: Sequence[keras.layers.Layer | None],
    batches: Sequence[Any],
    of: Callable[[keras.layers.Layer, Any, np.ndarray], np.ndarray],
    calls: int | None = None,
    ways: Sequence[Walk | None] | None = None,
) -> list[np.ndarray | None]:
    """A `Statistic` over all samples for each target, `None` where its inputs are not seen.

    Args:
        chosen: The weights to prune.
        layers: For each of them its layer, `None` for what is left out.
        batches: Inputs of the model.
        of: What is summed up.
        calls: As in `told_inputs`.
        ways: The walk of each batch.
    """
    found: list[np.ndarray | None] = [None] * len(layers)
    places: dict[int, list[int]] = {}
    for i, layer in enumerate(layers):
        places.setdefault(id(layer), []).append(i)

    def add(layer: keras.layers.Layer, inputs: np.ndarray) -> None:
        for i in places[id(layer)]:
            for part in _parts(layer, inputs):
                value = of(layer, chosen.variables[i], np.asarray(part, np.float64))
                found[i] = value if found[i] is None else found[i] + value

    for x, walk in zip(batches, ways or [None] * len(batches), strict=True):
        told_inputs(chosen.model, layers, x, add, calls, walk)
    return found


def _parts(layer: Any, inputs: np.ndarray) -> Iterator[np.ndarray]:
    """The inputs of a convolution, of some samples at a time: it sees each of them many times."""
    size = len(inputs)
    if sees_often(layer):
        of_one = inputs[:1].size * math.prod(layer.kernel_size) // math.prod(layer.strides)
        size = max(1, _AT_ONCE // max(of_one, 1))
    for start in range(0, len(inputs), size):
        yield inputs[start : start + size]
