"""The one layer that a group's units go into, and why a group has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_sparse.probe.layer_graph import Call, LayerGraph
from keras_sparse.structured.coupling.channels import Origin
from keras_sparse.structured.coupling.coupling import Handler, handler_of
from keras_sparse.structured.coupling.groups import ChannelGroups, Group

_LINEAR = tuple(
    getattr(keras.layers, name)
    for name in (
        *("Dense", "EinsumDense", "SeparableConv1D", "SeparableConv2D"),
        *(f"Conv{n}D{kind}" for n in (1, 2, 3) for kind in ("", "Transpose")),
    )
)
_ATTENTION = (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention)


class Use(NamedTuple):
    """Where a group's units go in.

    Args:
        graph: Of the model.
        call: The call whose first output is the layer's: of the layer, or of an attention whose
            output projection it is.
        layer: A layer that is linear in its input, but for its bias and activation.
        axis: The axis of its input along which the units lie, counted from the end.
        units: The unit at each position along it; -1 where there is none of this group.
        variable: The kernel that they meet.
        along: Its axis along which they lie.
        kernel_units: The unit at each position along that.
        heads: Whether the units are heads of an attention.
        normalization: The batch normalization that alone takes the layer's outputs; `None` if
            there is none.
    """

    graph: LayerGraph
    call: Call
    layer: Any
    axis: int
    units: np.ndarray
    variable: Any
    along: int
    kernel_units: np.ndarray
    heads: bool
    normalization: Any

    @property
    def size(self) -> int:
        """How many units there are."""
        return int(self.units.max()) + 1

    def linear(self) -> Callable[[Any], Any]:
        """The linear part of the layer and of its normalization, of inputs with units last.

        Its own copy of the kernel, so that the layer stays as it is.
        """
        config = {**self.layer.get_config(), "activation": None, "dtype": "float32"}
        for name, none in (("use_bias", False), ("bias_axes", None)):
            if name in config:
                config[name] = none
        alone = type(self.layer).from_config(config)
        alone.build(self.layer.get_build_config()["input_shape"])
        kernels = [v for v in self.layer.variables if v is not self.layer.bias]
        for own, kernel in zip(alone.variables, kernels, strict=True):
            own.assign(ops.cast(kernel, "float32"))
        factor = self._factor()

        def compute(x: Any) -> Any:
            made = alone(ops.moveaxis(x, -1, self.axis))
            return made if factor is None else made * factor

        return compute

    def _factor(self) -> np.ndarray | None:
        """What the normalization multiplies each output with, to be broadcast to them."""
        if self.normalization is None:
            return None
        layer = self.normalization
        variance, gamma = (
            None if each is None else ops.convert_to_numpy(each)
            for each in (layer.moving_variance, layer.gamma)
        )
        factor = (1.0 if gamma is None else gamma) / np.sqrt(variance + layer.epsilon)
        y = self.call.outputs[0]
        shape = [1] * len(y.shape)
        shape[layer.axis] = y.shape[layer.axis]
        return np.reshape(factor, shape).astype("float32")


def use_of(found: ChannelGroups, group: Group) -> Use | str:
    """The one layer that takes a group's units, or why there is none.

    Units of a group are apart from each other, and enter one layer, unless several layers make
    them (what a residual stream carries), something normalizes over them, or several take them.

    Args:
        found: The groups of a model.
        group: One of them.
    """
    if group.reason is not None:
        return group.reason
    if not group.free.all():
        return "some of its units have to stay"
    units = np.full(len(found.channels.atoms), -1)
    units[group.atoms] = np.arange(group.size)
    origins = _origins(found, units)
    if len(group.made_by) > 1:
        listed = ", ".join(group.made_by[:4]) + (", ..." if len(group.made_by) > 4 else "")
        return f"{listed} make it together, as what a skip connection or a product carries"
    maker = origins[0].operation
    calls = list(found.graph.walk())
    if isinstance(maker, _ATTENTION):
        return _heads(found, group, maker, calls)
    if not isinstance(maker, (*_LINEAR, keras.layers.Embedding)):
        return f"{origins[0].name} ({type(maker).__name__}) is not a layer of which units are taken"
    ends = _ends(found, units, calls)
    if isinstance(ends, str):
        return ends
    if len(ends) != 1:
        names = ", ".join(call.name for call, _ in ends) or "no layer"
        return f"{names} take its units, and not a single layer"
    ((call, axis),) = ends
    if not isinstance(call.operation, _LINEAR) or getattr(call.operation, "groups", 1) != 1:
        return f"{call.name} ({type(call.operation).__name__}), which takes it, is not linear in it"
    if sum(other.operation is call.operation for other in calls) > 1:
        return f"{call.name}, which takes it, is called more than once"
    along = found.channels.axis(call.inputs[0], axis)
    places = units[found.channels.atoms.find(along[0])]
    return _use(found, group, call, call.operation, axis, places, calls)


def _origins(found: ChannelGroups, units: np.ndarray) -> list[Origin]:
    find = found.channels.atoms.find
    return [o for o in found.channels.origins if (units[find(o.atoms)] >= 0).any()]


def _ends(
    found: ChannelGroups, units: np.ndarray, calls: list[Call]
) -> list[tuple[Call, int]] | str:
    """The calls that take units and do not pass them on, with the axis; or what mixes them."""
    find = found.channels.atoms.find

    def lies(item: Any) -> list[int]:
        """The axes along which units lie, from the end."""
        axes = [(axis, found.channels.axis(item, axis)) for axis in range(-len(item.shape), 0)]
        return [a for a, arrays in axes if any((units[find(each)] >= 0).any() for each in arrays)]

    ends = []
    for call in calls:
        axes = [(x, axis) for x in {id(x): x for x in call.inputs}.values() for axis in lies(x)]
        if not axes:
            continue
        handler = handler_of(call.operation)
        normalizes = handler is not None and handler.masked is not Handler.masked
        if normalizes or id(call) in found.channels.zeroed:
            return f"{call.name} ({type(call.operation).__name__}) computes across its units"
        if any(lies(y) for y in call.outputs):
            continue
        if len(axes) > 1 or len(found.channels.axis(*axes[0])) > 1:
            return f"{call.name} takes it along several axes"
        ends.append((call, axes[0][1]))
    return ends


def _heads(found: ChannelGroups, group: Group, attention: Any, calls: list[Call]) -> Use | str:
    """Heads go into the output projection of their attention."""
    projection = attention._output_dense
    lies = [m for m in group.members if m.variable is projection.kernel and m.axis == 0]
    if not lies:
        return f"{group.name} are dimensions of heads: whole heads are selected"
    mine = [call for call in calls if call.operation is attention]
    if len(mine) != 1 or len(mine[0].outputs) != 1:
        return f"{attention.name} is called more than once, or returns its scores"
    return _use(found, group, mine[0], projection, -2, lies[0].units, calls)


def _use(
    found: ChannelGroups,
    group: Group,
    call: Call,
    layer: Any,
    axis: int,
    units: np.ndarray,
    calls: list[Call],
) -> Use:
    kernels = {id(variable) for variable in layer.variables}
    member = next(m for m in group.members if id(m.variable) in kernels)
    takers = [other for other in calls if any(x is call.outputs[0] for x in other.inputs)]
    linear = getattr(layer, "activation", None) in (None, keras.activations.linear)
    alone = len(takers) == 1 and isinstance(takers[0].operation, keras.layers.BatchNormalization)
    normalization = takers[0].operation if linear and alone else None
    heads = isinstance(call.operation, _ATTENTION)
    kernel = member.variable, member.axis, member.units
    return Use(found.graph, call, layer, axis, units, *kernel, heads, normalization)
