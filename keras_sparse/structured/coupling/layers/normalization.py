"""Normalization: batch, layer, group, root mean square and unit."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_sparse.probe.layer_graph import Call
from keras_sparse.structured.coupling.channels import Kept
from keras_sparse.structured.coupling.coupling import Coupling, handles
from keras_sparse.structured.coupling.layers.convolution import together_in_groups
from keras_sparse.structured.coupling.masked_normalization import (
    MaskedGroupNormalization,
    MaskedLayerNormalization,
    MaskedRMSNormalization,
)


@handles("BatchNormalization")
def batch_normalization(c: Coupling) -> None:
    """Position by position, with four numbers for each channel."""
    c.elementwise()
    layer = c.layer
    for vector in (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance):
        c.put(vector, 0, c.axis(c.inputs[0], layer.axis))


def _axes(layer: Any) -> list[int]:
    return list(layer.axis) if isinstance(layer.axis, (list, tuple)) else [layer.axis]


def _masked(kind: type) -> Any:
    def masked(call: Call, kept: Kept) -> Any:
        """The layer with moments over the channels that are kept."""
        masks = [kept.along(call.inputs[0], axis) for axis in range(len(call.inputs[0].shape))]
        if all(mask is None for mask in masks):
            return None
        listed = [None if mask is None else [bool(m) for m in mask] for mask in masks]
        return kind(kept=listed, **call.operation.get_config())

    return masked


@handles("LayerNormalization", masked=_masked(MaskedLayerNormalization))
def layer_normalization(c: Coupling) -> None:
    """Position by position, divided by what is common to all."""
    c.elementwise()
    for vector in (c.layer.gamma, c.layer.beta):
        for i, axis in enumerate(_axes(c.layer)):
            c.put(vector, i, c.axis(c.inputs[0], axis))


@handles("RMSNormalization", masked=_masked(MaskedRMSNormalization))
def rms_normalization(c: Coupling) -> None:
    """As layer normalization, with a scale alone."""
    c.elementwise()
    for i, axis in enumerate(_axes(c.layer)):
        c.put(c.layer.scale, i, c.axis(c.inputs[0], axis))


@handles("UnitNormalization")
def unit_normalization(c: Coupling) -> None:
    """Divided by a length, to which zeros add nothing."""
    c.elementwise()
    for axis in range(1, len(c.inputs[0].shape)):
        c.zero(c.inputs[0], axis)


def _groups(call: Call, kept: Kept) -> dict[str, Any]:
    layer = call.operation
    mask = kept.along(call.inputs[0], layer.axis)
    if mask is None:
        return {"groups": layer.groups}
    return {"groups": int(np.count_nonzero(mask.reshape(layer.groups, -1).any(axis=1)))}


@handles("GroupNormalization", resize=_groups, masked=_masked(MaskedGroupNormalization))
def group_normalization(c: Coupling) -> None:
    """Position by position, divided by what is common to a group of channels."""
    c.elementwise()
    atoms = c.axis(c.inputs[0], c.layer.axis)
    if atoms and c.layer.groups not in (1, len(atoms[0])):
        together_in_groups(c, c.layer.groups, atoms)
    for vector in (c.layer.gamma, c.layer.beta):
        c.put(vector, 0, atoms)


@handles("Normalization")
def feature_normalization(c: Coupling) -> None:
    """Fixed statistics of the input's features, which stay."""
    c.elementwise()
    for axis in _axes(c.layer) if c.layer.axis is not None else ():
        c.fix(c.channels.axis(c.inputs[0], axis), f"{c.call.name} holds its statistics")
