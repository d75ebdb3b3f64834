"""Reductions: over positions, and over channels where what is removed need not count."""

from __future__ import annotations

from typing import Any

from keras_sparse.probe.layer_graph import Call
from keras_sparse.structured.coupling.channels import Kept
from keras_sparse.structured.coupling.coupling import Coupling, handles
from keras_sparse.structured.coupling.layers.elementwise import axes_of
from keras_sparse.structured.coupling.masked_reduction import REDUCTIONS, MaskedReduction


def _reduced(call: Call) -> list[int]:
    return axes_of(call.operation.axis, len(call.inputs[0].shape))


@handles("ops.Argmax ops.Argmin ops.Average ops.Median ops.Prod ops.Logsumexp")
def reduction(c: Coupling) -> None:
    """Some axes are reduced; the others stay as they are."""
    x, y = c.inputs[0], c.outputs[0]
    rank, gone = len(x.shape), _reduced(c.call)
    stay = [axis for axis in range(rank) if axis not in gone]
    keepdims = len(y.shape) == rank
    c.carry(x, y, {axis: axis if keepdims else i for i, axis in enumerate(stay)})


def _masked(call: Call, kept: Kept) -> Any:
    """The reduction over what is kept."""
    x = call.inputs[0]
    masks = [kept.along(x, axis) for axis in range(len(x.shape))]
    if not any(masks[axis] is not None for axis in _reduced(call)):
        return None
    operation = call.operation
    return MaskedReduction(
        kind=type(operation).__name__,
        axes=_reduced(call),
        keepdims=len(call.outputs[0].shape) == len(x.shape),
        kept=[None if mask is None else [bool(m) for m in mask] for mask in masks],
        initial=getattr(operation, "initial", None),
        name=operation.name,
    )


@handles(*(f"ops.{name}" for name in REDUCTIONS), masked=_masked)
def partial_reduction(c: Coupling) -> None:
    """Of what is reduced as much may be left out as one likes, like moments in normalization."""
    reduction(c)
    for axis in _reduced(c.call):
        c.axis(c.inputs[0], axis)
