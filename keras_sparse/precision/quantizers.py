"""Rounding of tensors to a few bits, simulated in floating point.

Minima, maxima, scales and codes are float32 whatever the tensor is. From 25 bits on float32 holds
no more than the tensor, which then stays as it is.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from keras import ops

from keras_sparse.backend.gradients import straight_through, with_gradient
from keras_sparse.backend.step_random import noise
from keras_sparse.messages.arguments import boolean, integer, number, one_of
from keras_sparse.precision.schedules.base import bit_width

QUANTIZERS = ("affine", "symmetric")
GRANULARITIES = ("tensor", "channel", "row")
MOST_ROUNDED = 24
_LEAST_SCALE = 1e-8
# Gradients are of a mean over a batch, and much smaller.
_LEAST_GRADIENT_SCALE = 1e-30


def affine(
    x: Any, bits: Any, low: Any, high: Any, draw: Any = None, least: float = _LEAST_SCALE
) -> Any:
    """Rounds to the `2^bits` values that divide a range evenly.

    `s = max((high - low) / N, least)` with `N = 2^bits - 1`; the result is
    `s round(clip((x - low) / s, 0, N)) + low`, rounded half to even.

    Args:
        x: A float32 tensor.
        bits: A number or scalar tensor.
        low: Its minimum, or what is taken for it; of a shape that broadcasts.
        high: Its maximum.
        draw: Numbers in [0, 1) of its shape, for stochastic rounding, or `None`.
        least: The least s.

    Source: Wolfe (2023), section 6.4.1 and its public code.
    """
    top = ops.power(2.0, ops.cast(bits, "float32")) - 1
    scale = ops.maximum((high - low) / top, least)
    codes = (x - low) / scale
    if draw is not None:
        codes = codes + (draw - 0.5)
    return ops.round(ops.clip(codes, 0.0, top)) * scale + low


def symmetric(x: Any, bits: Any, largest: Any) -> Any:
    """Rounds to the `2^bits - 1` values that divide `[-largest, largest]` evenly, 0 among them.

    Args:
        x: A float32 tensor.
        bits: A number or scalar tensor, at least 2.
        largest: Its largest magnitude, or what is taken for it.
    """
    top = ops.power(2.0, ops.cast(bits, "float32") - 1) - 1
    scale = ops.maximum(largest / top, _LEAST_SCALE)
    return ops.clip(ops.round(x / scale), -top, top) * scale


def extent(x: Any, axes: Any = None) -> tuple[Any, Any]:
    """The minimum and maximum over some axes, which are kept, in float32."""
    wide = ops.cast(x, "float32")
    if axes is None:
        return ops.min(wide), ops.max(wide)
    return ops.min(wide, axis=axes, keepdims=True), ops.max(wide, axis=axes, keepdims=True)


def quantized(
    x: Any, bits: Any, kind: str = "affine", *, axes: Any = None, ends: Any = None
) -> Any:
    """A tensor rounded to a few bits, through which gradients pass unchanged.

    Args:
        x: A floating-point tensor.
        bits: A number or scalar tensor.
        kind: `"affine"` or `"symmetric"`.
        axes: The axes that share a range; `None` for all.
        ends: The minimum and maximum, where they are known; values outside are clipped.
    """
    if isinstance(bits, int) and bits > MOST_ROUNDED:
        return x

    low, high = (ops.stop_gradient(end) for end in (extent(x, axes) if ends is None else ends))

    def rounded(value: Any) -> Any:
        wide = ops.cast(value, "float32")
        if kind == "affine":
            found = affine(wide, bits, low, high)
        else:
            found = symmetric(wide, bits, ops.maximum(ops.abs(low), ops.abs(high)))
        if not isinstance(bits, int):
            found = ops.where(bits > MOST_ROUNDED, wide, found)
        return ops.cast(found, value.dtype)

    return straight_through(rounded, x)


def gradient_quantized(
    x: Any, bits: int, *, stochastic: bool = True, seed: int = 0, step: Any = 0, stream: int = 0
) -> Any:
    """A tensor as it is, whose gradient is rounded to a few bits, stochastically and unbiased.

    Args:
        x: A floating-point tensor.
        bits: An integer.
        stochastic: Whether rounding is stochastic rather than to the nearest.
        seed: Seed of the rounding.
        step: Integer scalar, may be a tensor: the rounding is another at each.
        stream: Integer, another one for each tensor of a step.
    """
    if bits > MOST_ROUNDED:
        return x

    def rounded(slope: Any) -> Any:
        wide = ops.cast(slope, "float32")
        low, high = extent(wide)
        draw = noise(ops.shape(wide), seed, step, stream) if stochastic else None
        found = affine(wide, bits, low, high, draw, _LEAST_GRADIENT_SCALE)
        return ops.cast(found, slope.dtype)

    return with_gradient(x, rounded)


@dataclasses.dataclass(frozen=True)
class Quantization:
    """How tensors are rounded.

    Args:
        quantizer: `"affine"`, of a minimum and maximum, or `"symmetric"`, which keeps zeros zero;
            of weights and biases. Activations and gradients are always affine.
        weights: What of a weight shares a range: the whole `"tensor"`, an output `"channel"`, or a
            `"row"`, all weights of an input.
        activations: The whole `"tensor"`, or a `"row"`, which is a vector along the last axis.
        stochastic: Whether gradients are rounded stochastically.
        momentum: What a batch leaves of the running ranges.
        seed: Seed of the rounding.

    Raises:
        ValueError: If an argument is out of range.

    Source: Wolfe (2023), section 6.4.1, Figure 15, and its public code.
    """

    quantizer: str = "affine"
    weights: str = "channel"
    activations: str = "tensor"
    stochastic: bool = True
    momentum: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        one_of("quantizer", self.quantizer, QUANTIZERS)
        one_of("weights", self.weights, GRANULARITIES)
        one_of("activations", self.activations, ("tensor", "row"))
        boolean("stochastic", self.stochastic)
        number("momentum", self.momentum, "[0, 1)")
        integer("seed", self.seed, 0)

    def check_bits(self, q_min: int) -> None:
        """Refuses what a symmetric quantizer cannot do.

        Raises:
            ValueError: If it would have one bit.
        """
        if bit_width("q_min", q_min) < 2 and self.quantizer == "symmetric":
            raise ValueError(
                "q_min must be at least 2 with the symmetric quantizer, which of one bit leaves "
                f"zero only. Received: q_min={q_min}"
            )
