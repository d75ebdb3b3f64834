"""Batches that go through a model call by call, and wait before the layers that are looked at."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops
from keras.backend import standardize_dtype
from keras.src.backend.common.masking import get_keras_mask, set_keras_mask

from keras_sparse.probe.calls import Note, recording
from keras_sparse.probe.layer_graph import Call, LayerGraph, layer_graph

# Of which use of a model inside the model, and the `id` of a symbolic tensor there.
_Key: TypeAlias = "tuple[int, int]"
_MOST_KEPT = 2**30


@dataclasses.dataclass(frozen=True)
class _Step:
    """A call, or values that pass into a model inside the model or out of it."""

    takes: tuple[_Key, ...]
    gives: tuple[_Key, ...]
    call: Call | None = None
    dtypes: tuple[str, ...] = ()

    def run(self, values: Mapping[_Key, Any]) -> Sequence[Any]:
        """What it gives."""
        if self.call is None:
            return [
                ops.convert_to_tensor(values[key], dtype)
                for key, dtype in zip(self.takes, self.dtypes, strict=True)
            ]
        by_id = {key[1]: values[key] for key in self.takes}
        args, kwargs = self.call.filled(by_id)
        operation = self.call.operation
        if "training" in inspect.signature(operation.call).parameters:
            kwargs["training"] = False
        return keras.tree.flatten(operation(*args, **kwargs))


class Route:
    """The way through a functional or Sequential model, and through models inside it.

    Args:
        model: A built model.

    Raises:
        ValueError: If the model is subclassed and has no graph.
    """

    def __init__(self, model: keras.Model) -> None:
        graph = layer_graph(model)
        self.inputs = graph.inputs
        self.steps = list(_steps(graph, 0, itertools.count(1)))
        self.last_use: dict[_Key, int] = {}
        self.places: dict[int, list[int]] = {}
        for place, step in enumerate(self.steps):
            self.last_use |= dict.fromkeys(step.takes, place)
            if step.call is not None and isinstance(step.call.operation, keras.layers.Layer):
                for held in step.call.operation._flatten_layers():
                    self.places.setdefault(id(held), []).append(place)

    def values(self, x: Any) -> dict[_Key, Any] | None:
        """The symbolic inputs' values of a batch; `None` if it is not one for each."""
        if isinstance(x, Mapping):
            given = [x[t.name] for t in self.inputs if t.name in x]
        else:
            given = keras.tree.flatten(x)
        if len(given) != len(self.inputs):
            return None
        pairs = list(zip(self.inputs, given, strict=True))
        if any(len(tensor.shape) != len(value.shape) for tensor, value in pairs):
            return None
        return {(0, id(t)): ops.convert_to_tensor(value, t.dtype) for t, value in pairs}


class Walk:
    """A batch on its way.

    What later calls need is kept between two looks where it takes no more than so many bytes;
    where it takes more, the next look begins where the last one did.

    Args:
        route: Of the model.
        values: `Route.values` of the batch.
        most: Bytes.
    """

    def __init__(self, route: Route, values: dict[_Key, Any], most: float) -> None:
        self.route, self.most = route, most
        self._wait(0, values)

    def _wait(self, at: int, values: dict[_Key, Any]) -> None:
        self.at, self.values = at, dict(values)
        # Attention takes the mask off the tensor that it is called with.
        self.masks = {key: get_keras_mask(value) for key, value in values.items()}

    def look(self, layers: Iterable[keras.layers.Layer], note: Note) -> None:
        """Tells of the calls of some layers, from the first of them to the last, as they are now.

        The calls before the first one have been made for good: layers are to be looked at in the
        order of their first calls.

        Args:
            layers: Layers of the model.
            note: As for `run_recorded`.

        Raises:
            ValueError: If a layer's first call has been passed already.
        """
        looked_at = list(layers)
        places = [p for layer in looked_at for p in self.route.places.get(id(layer), ())]
        if not places:
            return
        values, at = dict(self.values), self.at
        if min(places) < at:
            raise ValueError(
                f"The batch has passed the first call of {', '.join(e.name for e in looked_at)}. "
                "Look at layers in the order of their first calls."
            )
        for key, mask in self.masks.items():
            set_keras_mask(values[key], mask)
        with keras.StatelessScope():
            self._run(values, at, min(places))
            if sum(map(_bytes, values.values())) <= self.most:
                self._wait(min(places), values)
            with recording(looked_at, note):
                self._run(values, min(places), max(places) + 1)

    def _run(self, values: dict[_Key, Any], begin: int, end: int) -> None:
        for place in range(begin, end):
            step = self.route.steps[place]
            values |= zip(step.gives, step.run(values), strict=True)
            for key in {*step.takes, *step.gives}:
                if self.route.last_use.get(key, -1) <= place:
                    values.pop(key, None)


def walks(
    model: keras.Model, batches: Sequence[Any], most: float = _MOST_KEPT
) -> list[Walk | None]:
    """A walk for each batch; `None` where the way cannot be told.

    Args:
        model: A built model.
        batches: Inputs of the model.
        most: Bytes that may be kept of all batches together.
    """
    try:
        route = Route(model)
    except ValueError:
        return [None] * len(batches)
    begun = [route.values(x) for x in batches]
    return [
        None if values is None else Walk(route, values, most / len(batches)) for values in begun
    ]


def _steps(graph: LayerGraph, scope: int, numbers: Iterator[int]) -> Iterator[_Step]:
    def keys(tensors: Iterable[Any], of: int = scope) -> tuple[_Key, ...]:
        return tuple((of, id(tensor)) for tensor in tensors)

    def passed(takes: tuple[_Key, ...], gives: tuple[_Key, ...], like: Iterable[Any]) -> _Step:
        return _Step(takes, gives, dtypes=tuple(tensor.dtype for tensor in like))

    for call in graph.calls:
        inner = call.graph
        if inner is None:
            yield _Step(keys(call.inputs), keys(call.outputs), call)
            continue
        number = next(numbers)
        yield passed(keys(call.inputs), keys(inner.inputs, number), inner.inputs)
        yield from _steps(inner, number, numbers)
        yield passed(keys(inner.outputs, number), keys(call.outputs), call.outputs)


def _bytes(value: Any) -> int:
    return math.prod(value.shape) * np.dtype(standardize_dtype(value.dtype)).itemsize
