"""Layers and operations that treat each position by itself, and pooling."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from keras import ops

from keras_sparse.probe.layer_graph import Call
from keras_sparse.structured.coupling.channels import Kept
from keras_sparse.structured.coupling.coupling import Coupling, handles
from keras_sparse.structured.coupling.layers.activations import fix_mixed
from keras_sparse.structured.coupling.layers.convolution import channel_axis

_LAYERS = """
ELU LeakyReLU ReLU Identity GaussianDropout GaussianNoise SpatialDropout1D SpatialDropout2D
SpatialDropout3D ActivityRegularization Add Subtract Multiply Average Maximum Minimum
"""

_OPERATIONS = """
Relu Relu6 Sigmoid SparseSigmoid Softplus Softsign SoftShrink SparsePlus Silu Squareplus LogSigmoid
LeakyRelu HardSigmoid HardSilu Elu Selu Gelu Celu TanhShrink HardTanh HardShrink Threshold Absolute
Abs Fabs Add Arccos Arccosh Arcsin Arcsinh Arctan Arctan2 Arctanh Cbrt Ceil Clip Copy Cos Cosh
Deg2rad Rad2deg Equal Exp Exp2 Expm1 Floor Greater GreaterEqual Hypot Isfinite Isinf Isnan Less
LessEqual Log Log10 Log1p Log2 Logaddexp Logaddexp2 LogicalAnd LogicalNot LogicalOr LogicalXor
Maximum Fmax Minimum Fmin Mod Fmod NanToNum NotEqual OnesLike ZerosLike Reciprocal Round Sign Sin
Sinc Sinh Tan Tanh Trunc Where Subtract Multiply Divide DivideNoNan TrueDivide Power Negative
Square Sqrt FloorDivide Rsqrt Erf Erfc Erfinv StopGradient Cast SaturateCast
"""


@handles(_LAYERS, *(f"ops.{name}" for name in _OPERATIONS.split()))
def elementwise(c: Coupling) -> None:
    """Position by position."""
    c.elementwise()


def _noise_shape(call: Call, kept: Kept) -> dict[str, Any]:
    """Where noise has a number for each position, it has one for each that is left."""
    given, new = call.operation.noise_shape, kept.shape(call.outputs[0])
    if given is None:
        return {}
    pairs = zip(given, new, strict=True)
    return {"noise_shape": [old if old in (None, 1) else size for old, size in pairs]}


def _scales(call: Call, kept: Kept) -> dict[str, Any]:
    y, layer = call.outputs[0], call.operation
    return {name: left_of(kept, y, getattr(layer, name)).tolist() for name in ("scale", "offset")}


def left_of(kept: Kept, y: Any, given: Any) -> np.ndarray:
    """Numbers that are broadcast to a tensor, for the positions of it that are left."""
    values = ops.convert_to_numpy(given)
    for axis in range(-min(values.ndim, len(y.shape)), 0):
        mask = kept.along(y, axis)
        if mask is not None and values.shape[axis] == len(mask):
            values = np.compress(mask, values, axis)
    return values


handles("Dropout", "AlphaDropout", resize=_noise_shape)(elementwise)
handles("Rescaling", resize=_scales)(elementwise)


@handles("Activation")
def activation(c: Coupling) -> None:
    """Position by position, but for functions such as softmax."""
    c.elementwise()
    fix_mixed(c)


@handles("Masking")
def masking(c: Coupling) -> None:
    """Whether a step counts depends on whether any of its features is another number.

    Zeros are none where they stand for what is missing; where another number does, all stay.
    """
    x = c.inputs[0]
    rank = len(x.shape)
    if c.layer.mask_value == 0:
        c.zero(x, -1)
        c.carry(x, c.outputs[0], range(rank))
    else:
        c.carry(x, c.outputs[0], range(rank - 1))


@handles("PReLU")
def prelu(c: Coupling) -> None:
    """Position by position, with a slope for each."""
    c.elementwise()
    alpha = c.layer.alpha
    x, shared = c.inputs[0], []
    for axis in range(-len(alpha.shape), 0):
        if alpha.shape[axis] != 1:
            c.put(alpha, axis, c.axis(x, axis))
        else:
            shared.append(axis)
    c.carry(x, c.outputs[0], shared, passing=True)


@handles("Softmax", "ops.Softmax", "ops.LogSoftmax", "ops.Sparsemax")
def softmax(c: Coupling) -> None:
    """Position by position, but for the axes over which the outputs sum to one."""
    x, y = c.inputs[0], c.outputs[0]
    mixed = axes_of(c.layer.axis, len(x.shape))
    c.carry(x, y, [axis for axis in range(len(x.shape)) if axis not in mixed])
    if len(c.inputs) > 1:
        for axis in range(len(c.inputs[1].shape)):
            c.axis(c.inputs[1], axis)


@handles(
    *(f"{kind}Pooling{n}D" for kind in ("Max", "Average") for n in (1, 2, 3)),
    *(f"Adaptive{kind}Pooling{n}D" for kind in ("Max", "Average") for n in (1, 2, 3)),
    *(f"{kind}{n}D" for kind in ("UpSampling", "ZeroPadding", "Cropping") for n in (1, 2, 3)),
    "Resizing",
    "ops.MaxPool",
    "ops.AveragePool",
    "ops.Resize",
)
def spatial(c: Coupling) -> None:
    """Positions in space are mixed, channels and samples are not."""
    c.carry(c.inputs[0], c.outputs[0], [channel_axis(c.layer)])


@handles(*(f"Global{kind}Pooling{n}D" for kind in ("Max", "Average") for n in (1, 2, 3)))
def global_pooling(c: Coupling) -> None:
    """Positions in space are reduced to one or none."""
    axis = channel_axis(c.layer)
    c.carry(c.inputs[0], c.outputs[0], {axis: axis})


def axes_of(axis: int | Iterable[int] | None, rank: int) -> list[int]:
    """One axis, several or all (`None`) of a tensor, counted from the first."""
    if axis is None:
        return list(range(rank))
    given: Any = [axis] if isinstance(axis, int) else axis
    return [each % rank for each in given]
