"""A model built anew, in the same or in another size."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.probe.copies import copy_states
from keras_sparse.probe.layer_graph import Call, LayerGraph
from keras_sparse.structured.coupling.channels import Kept
from keras_sparse.structured.coupling.coupling import Handler, handler_of
from keras_sparse.structured.coupling.layers.elementwise import elementwise, left_of
from keras_sparse.structured.coupling.layers.movement import move, parts_of_key
from keras_sparse.structured.coupling.running import fitting_shapes, run

_UNKNOWN = Handler(lambda coupling: None)


class Rebuilding:
    """Builds a model once more from its graph.

    Args:
        kept: What is kept along every axis.
        masked: Whether the rest is set to zero in full size, rather than left out.
    """

    def __init__(self, kept: Kept, masked: bool) -> None:
        self.kept = kept
        self.masked = masked
        self._made: dict[int, Any] = {}
        self._models: dict[int, keras.Model] = {}
        self._tensors: dict[int, Any] = {}

    def model(self, graph: LayerGraph) -> keras.Model:
        """The new model of a graph.

        Raises:
            ValueError: If a layer cannot be built in the new size, naming it.
        """
        if id(graph) not in self._models:
            self._models[id(graph)] = self._build(graph)
        return self._models[id(graph)]

    def _build(self, graph: LayerGraph) -> keras.Model:
        for tensor in graph.inputs:
            self._tensors[id(tensor)] = self._input(tensor)
        for call in graph.calls:
            self._call(call)
        old = graph.model
        if isinstance(old, keras.Sequential):
            layers = [self._layer(call) for call in graph.calls]
            first = self._tensors[id(graph.inputs[0])]._keras_history.operation
            model = keras.Sequential([first, *layers], name=old.name)
        else:
            structure = [old._inputs_struct, old._outputs_struct]
            inputs, outputs = keras.tree.map_structure(
                lambda tensor: self._tensors[id(tensor)], structure
            )
            model = keras.Model(inputs, outputs, name=old.name)
        if not old.trainable:
            model.trainable = False
        return model

    def _input(self, tensor: Any) -> Any:
        config = dict(tensor._keras_history.operation.get_config())
        config["batch_shape"] = self._shape(tensor)
        return keras.layers.InputLayer.from_config(config).output

    def _shape(self, tensor: Any) -> tuple[int | None, ...]:
        return tuple(tensor.shape) if self.masked else self.kept.shape(tensor)

    def _call(self, call: Call) -> None:
        operation = self._layer(call)
        given = {id(x): self._tensors[id(x)] for x in call.inputs}
        if self.masked:
            for x, axis in self.kept.channels.zeroed.get(id(call), ()):
                given[id(x)] = _times_mask(given[id(x)], axis, self.kept.along(x, axis))
        args, kwargs = call.filled(given)
        if not self.masked:
            args, kwargs = self._fitting_arguments(call, args, kwargs)
        try:
            outputs = keras.tree.flatten(operation(*args, **kwargs))
        except Exception as error:
            raise ValueError(f"{_cannot(call)}: {error}") from error
        for old, new in zip(call.outputs, outputs, strict=True):
            if tuple(new.shape) != self._shape(old):
                raise ValueError(
                    f"{_cannot(call)}: it makes an output of shape {tuple(new.shape)} rather than "
                    f"{self._shape(old)}."
                )
            self._tensors[id(old)] = new
        if not self.masked and _moves(call):
            self._check_moved(call, operation)

    def _layer(self, call: Call) -> Any:
        """The new layer, the same one at each of its calls."""
        old = call.operation
        if id(old) not in self._made:
            if call.graph is not None:
                self._made[id(old)] = self.model(call.graph)
            else:
                self._made[id(old)] = self._new_layer(call)
        return self._made[id(old)]

    def _new_layer(self, call: Call) -> Any:
        old, handler = call.operation, handler_of(call.operation) or _UNKNOWN
        if self.masked:
            layer = handler.masked(call, self.kept)
            if layer is not None:
                return layer
        if isinstance(old, keras.layers.Lambda):
            return _new_lambda(call, self._shape(call.outputs[0]))
        changes = {} if self.masked else handler.resize(call, self.kept)
        try:
            return type(old).from_config(_unbuilt({**old.get_config(), **changes}))
        except Exception as error:
            raise ValueError(f"{_cannot(call)}, by its get_config: {error}") from error

    def _fitting_arguments(self, call: Call, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """The arguments with constants, indices and slices that fit the new sizes."""
        name = type(call.operation).__name__
        if name == "GetItem":
            return (args[0], self._new_key(call)), {}
        if name == "Take":
            return (args[0], self._new_indices(call)), {}
        y = call.outputs[0]

        def fitting(item: Any) -> Any:
            if isinstance(item, keras.KerasTensor) or not hasattr(item, "shape"):
                return item
            values = left_of(self.kept, y, item)
            return values if isinstance(item, np.ndarray) else ops.convert_to_tensor(values)

        handler = handler_of(call.operation)
        if handler is None or handler.couple is not elementwise:
            return args, kwargs
        return keras.tree.map_structure(fitting, (args, kwargs))

    def _new_key(self, call: Call) -> Any:
        """The key of a slice, by the positions that are kept."""
        x = call.inputs[0]
        new: list[Any] = []
        axis = 0
        for part in parts_of_key(call):
            if part is None:
                new.append(None)
                continue
            mask = self.kept.along(x, axis)
            new.append(part if mask is None else _new_part(call, part, mask))
            axis += 1
        return tuple(new)

    def _new_indices(self, call: Call) -> Any:
        x, indices = call.inputs[0], call.argument("indices")
        axis = call.operation.axis
        mask = None if axis is None else self.kept.along(x, axis)
        if mask is None:
            return indices
        values = ops.convert_to_numpy(indices) % len(mask)
        values = values[mask[values]] if values.ndim == 1 else values
        return (np.cumsum(mask) - 1)[values].astype("int32")

    def _check_moved(self, call: Call, operation: Any) -> None:
        """Checks that numbers move to where they did, but for those that are removed."""
        random = np.random.default_rng(0)
        shapes = fitting_shapes(call, self.kept.channels)
        full = {key: random.random(shape).astype("float32") for key, shape in shapes.items()}
        less = {id(x): self.kept.sliced(x, full[id(x)]) for x in call.inputs}
        before = run(call, full)
        new = {id(self._tensors[id(x)]): less[id(x)] for x in call.inputs}
        args, kwargs = call.filled(self._tensors)
        args, kwargs = self._fitting_arguments(call, args, kwargs)
        inputs = tuple(self._tensors[id(x)] for x in call.inputs)
        try:
            after = run(Call(operation, args, kwargs, inputs, ()), new)
        except Exception as error:
            raise ValueError(f"{_cannot(call)}: {error}") from error
        for y, old, now in zip(call.outputs, before, after, strict=True):
            if not np.array_equal(self.kept.sliced(y, old), now):
                raise ValueError(
                    f"{_cannot(call)}: it would move channels to other places than it does now."
                )

    def copy_weights(self, graph: LayerGraph) -> None:
        """Gives the new layers the weights of the old ones."""
        factors: dict[int, float] = {}
        for call in graph.walk():
            handler = handler_of(call.operation) or _UNKNOWN
            if not self.masked:
                factors |= {id(v): factor for v, factor in handler.rescale(call, self.kept)}
        for call in graph.walk():
            old, new = call.operation, self._made[id(call.operation)]
            given, made = getattr(old, "variables", ()), getattr(new, "variables", ())
            for variable, other in zip(given, made, strict=True):
                values = ops.convert_to_numpy(variable)
                if self.masked:
                    fill = 1.0 if variable.name == "moving_variance" else 0.0
                    values = self.kept.zeroed(variable, values, fill)
                else:
                    values = self.kept.sliced(variable, values) * factors.get(id(variable), 1)
                other.assign(ops.cast(values, variable.dtype))
            copy_states([old], [new])


def _new_lambda(call: Call, shape: tuple[int | None, ...]) -> keras.layers.Layer:
    """A layer of the same function, which a configuration holds only as code."""
    old = call.operation
    given = old._output_shape
    return keras.layers.Lambda(
        old.function,
        output_shape=shape[1:] if isinstance(given, (tuple, list)) else given,
        mask=old.mask,
        arguments=old.arguments,
        name=old.name,
        dtype=old.dtype_policy,
        trainable=old.trainable,
    )


def _unbuilt(config: Any) -> Any:
    """A configuration in which layers inside are not yet built, to the size that they had.

    Initial values that are given number by number are of that size too, and weights are copied.
    """
    if isinstance(config, dict):
        if config.get("class_name") == "Constant" and isinstance(config["config"]["value"], dict):
            return keras.initializers.serialize(keras.initializers.Zeros())
        return {name: _unbuilt(each) for name, each in config.items() if name != "build_config"}
    if isinstance(config, list):
        return [_unbuilt(each) for each in config]
    return config


def _times_mask(tensor: Any, axis: int, mask: np.ndarray | None) -> Any:
    if mask is None:
        return tensor
    shape = [1] * len(tensor.shape)
    shape[axis] = len(mask)
    factor: Any = mask.astype("float32").reshape(shape)
    return ops.multiply(
        tensor, factor if tensor.dtype == "float32" else ops.cast(factor, tensor.dtype)
    )


def _new_part(call: Call, part: Any, mask: np.ndarray) -> Any:
    """An index or slice of the positions that a mask keeps."""
    rank = np.cumsum(mask) - 1
    if isinstance(part, (int, np.integer)):
        return int(rank[part])
    chosen = np.arange(len(mask))[part]
    places = rank[chosen[mask[chosen]]]
    if not len(places):
        raise ValueError(f"{_cannot(call)}: nothing of what it takes would be left.")
    step = int(places[1] - places[0]) if len(places) > 1 else 1
    stop = int(places[-1]) + (1 if step > 0 else -1)
    return slice(int(places[0]), stop if stop >= 0 else None, step)


def _moves(call: Call) -> bool:
    handler = handler_of(call.operation)
    return handler is not None and handler.couple is move


def _cannot(call: Call) -> str:
    return (
        f"{call.name} ({type(call.operation).__name__}) cannot be built in another size. Give it "
        "or the layers before it as exclude=[...]"
    )
