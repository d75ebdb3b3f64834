"""Convolutions of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_sparse.probe.layer_graph import Call
from keras_sparse.structured.coupling.atoms import Axis
from keras_sparse.structured.coupling.channels import Kept
from keras_sparse.structured.coupling.coupling import Coupling, handles, repeated
from keras_sparse.structured.coupling.layers.activations import fix_mixed


def channel_axis(layer: Any) -> int:
    """The axis of the channels, from a layer's data format."""
    return 1 if getattr(layer, "data_format", None) == "channels_first" else -1


def _conv_size(call: Call, kept: Kept) -> dict[str, Any]:
    layer = call.operation
    shape: Any = kept.shape(layer.kernel)
    channels: Any = kept.shape(call.inputs[0])[channel_axis(layer)]
    groups = layer.groups if layer.groups == 1 else channels // shape[-2]
    return {"filters": shape[-1], "groups": groups}


@handles("Conv1D", "Conv2D", "Conv3D", resize=_conv_size)
def conv(c: Coupling) -> None:
    """Channels go in, filters come out, in groups or not."""
    x, y, layer, axis = c.inputs[0], c.outputs[0], c.layer, channel_axis(c.layer)
    atoms = c.axis(x, axis)
    if layer.groups == 1:
        c.put(layer.kernel, -2, atoms)
        c.make("", (layer.kernel, -1), (layer.bias, 0), (y, axis))
    else:
        made = c.make("", (layer.kernel, -1), (layer.bias, 0), (y, axis))
        whole = together_in_groups(c, layer.groups, atoms, made)
        c.put(layer.kernel, -2, () if whole or not atoms else _first(atoms, layer.groups))
    fix_mixed(c)


def together_in_groups(c: Coupling, groups: int, *axes: Axis) -> bool:
    """Lets channels go together so that all groups of a layer stay equally large.

    Either whole groups are removed, or the channels at the same place in every group, whichever
    leaves more to choose from.

    Returns:
        Whether whole groups are removed.
    """
    why = f"{c.call.name} has {groups} groups of its channels"
    if any(len(axis) > 1 for axis in axes):
        for axis in axes:
            c.fix(axis, why)
    given = [axis[0].reshape(groups, -1) for axis in axes if axis]
    size = min((each.shape[1] for each in given), default=1)
    whole = c.choose(2, *axes) != int(groups >= size)
    if whole:
        if len(given) < len(axes):
            for each in given:
                c.channels.atoms.fix(each.ravel(), why)
        together = np.concatenate(given, axis=1) if given else np.zeros((0, 1), int)
        _unite_all(c, together, why)
    else:
        for each in given:
            _unite_all(c, each.T, why)
    return whole


def _unite_all(c: Coupling, rows: np.ndarray, why: str) -> None:
    """Unites the atoms of each row."""
    for column in rows.T[1:]:
        c.channels.atoms.unite(rows[:, 0], column, why)


def _first(atoms: Axis, groups: int) -> Axis:
    return tuple(each[: len(each) // groups] for each in atoms)


@handles(
    "Conv1DTranspose",
    "Conv2DTranspose",
    "Conv3DTranspose",
    resize=lambda call, kept: {"filters": kept.shape(call.operation.kernel)[-2]},
)
def conv_transpose(c: Coupling) -> None:
    """A convolution whose kernel has outputs before inputs."""
    x, y, axis = c.inputs[0], c.outputs[0], channel_axis(c.layer)
    c.tie((x, axis), (c.layer.kernel, -1))
    c.make("", (c.layer.kernel, -2), (c.layer.bias, 0), (y, axis))
    fix_mixed(c)


@handles("DepthwiseConv1D", "DepthwiseConv2D")
def depthwise(c: Coupling) -> None:
    """Each channel makes its own outputs."""
    x, y, axis = c.inputs[0], c.outputs[0], channel_axis(c.layer)
    atoms = c.axis(x, axis)
    out = repeated(atoms, c.layer.depth_multiplier)
    c.put(c.layer.kernel, -2, atoms)
    c.put(c.layer.bias, 0, out)
    c.put(y, axis, out)
    fix_mixed(c)


@handles(
    "SeparableConv1D",
    "SeparableConv2D",
    resize=lambda call, kept: {"filters": kept.shape(call.operation.pointwise_kernel)[-1]},
)
def separable(c: Coupling) -> None:
    """A depthwise convolution, then a pointwise one."""
    x, y, layer, axis = c.inputs[0], c.outputs[0], c.layer, channel_axis(c.layer)
    atoms = c.axis(x, axis)
    c.put(layer.depthwise_kernel, -2, atoms)
    c.put(layer.pointwise_kernel, -2, repeated(atoms, layer.depth_multiplier))
    c.make("", (layer.pointwise_kernel, -1), (layer.bias, 0), (y, axis))
    fix_mixed(c)
