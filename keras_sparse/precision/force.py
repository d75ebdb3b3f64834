"""How many bits are in force: inside of a training step, and outside of one."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops
from keras.src.backend.common.variables import AutocastScope

from keras_sparse.precision.quantizers import Quantization, gradient_quantized, quantized
from keras_sparse.probe.layout import Layout, kernel_layout

_SINGLE = "float32"


class Bits(NamedTuple):
    """The widths of a step.

    Args:
        forward: Bits of weights and activations, a number or a scalar tensor.
        backward: Bits of gradients.
        step: The optimizer step, an integer scalar; `None` outside of training.
    """

    forward: Any
    backward: int
    step: Any = None


class Range:
    """The running minimum and extent of the values that one product takes in.

    Args:
        variable: A float32 variable of shape `(3,)`: minimum, extent, and 1 once there was a batch.
    """

    def __init__(self, variable: Any) -> None:
        self.variable = variable

    def update(self, low: Any, high: Any, momentum: float) -> None:
        """Takes a batch in, the first one whole."""
        now = ops.stack([low, high - low, ops.ones_like(low)])
        before = ops.convert_to_tensor(self.variable)
        kept = momentum * before[2]
        self.variable.assign(ops.stop_gradient(kept * before + (1 - kept) * now))

    def ends(self, x: Any) -> tuple[Any, Any]:
        """The running minimum and maximum, those of `x` where there was no batch yet."""
        low, extent, seen = ops.unstack(ops.convert_to_tensor(self.variable))
        wide = ops.cast(x, _SINGLE)
        low, high = (
            ops.where(seen > 0, running, current)
            for running, current in ((low, ops.min(wide)), (low + extent, ops.max(wide)))
        )
        return low, high


class Precision:
    """What the layers of one model that compute in low precision have in common.

    Args:
        quantization: How tensors are rounded.
        outside: The bits of whatever is computed outside of a training step; `None` for none, in
            float.
    """

    def __init__(self, quantization: Quantization, outside: Bits | None) -> None:
        self.quantization, self.outside = quantization, outside
        # Replicas are traced in threads that take turns.
        self._here = threading.local()

    @property
    def bits(self) -> Bits | None:
        """The bits in force, `None` for float."""
        return getattr(self._here, "bits", self.outside)

    @contextlib.contextmanager
    def inside(self, bits: Bits) -> Iterator[None]:
        """Puts bits in force for a while."""
        before = vars(self._here).get("bits")
        self._here.bits = bits
        try:
            yield
        finally:
            if before is None:
                del self._here.bits
            else:
                self._here.bits = before


class Site:
    """One product of a layer: its operands and the gradient of its result are rounded here.

    Args:
        precision: What is in force.
        number: Another one for each product of a model.
        running: The running range of its input, if it keeps one.
    """

    def __init__(self, precision: Precision, number: int, running: Range | None = None) -> None:
        self.precision, self.number, self.running = precision, number, running

    def activation(self, x: Any) -> Any:
        """The input, rounded: by the batch's own range in training, by the running one outside."""
        bits, how = self.precision.bits, self.precision.quantization
        if bits is None:
            return x
        if how.activations == "row":
            return quantized(x, bits.forward, axes=(-1,))
        if self.running is None:
            return quantized(x, bits.forward)
        if bits.step is None:
            return quantized(x, bits.forward, ends=self.running.ends(x))
        wide = ops.stop_gradient(ops.cast(x, _SINGLE))
        low, high = ops.min(wide), ops.max(wide)
        self.running.update(low, high, how.momentum)
        return quantized(x, bits.forward, ends=(low, high))

    def weight(self, layer: keras.layers.Layer, variable: Any) -> Any:
        """A weight or bias of a layer, rounded in single precision, in the type it computes in."""
        bits, how = self.precision.bits, self.precision.quantization
        with AutocastScope(None):
            value = ops.copy(ops.convert_to_tensor(variable))
        if bits is not None:
            axes = shared_axes(layer, variable.name, tuple(variable.shape), how.weights)
            value = quantized(value, bits.forward, how.quantizer, axes=axes)
        return ops.cast(value, layer.compute_dtype)

    def result(self, y: Any) -> Any:
        """The result as it is, whose gradient is rounded."""
        bits, how = self.precision.bits, self.precision.quantization
        if bits is None or bits.step is None:
            return y
        return gradient_quantized(
            y,
            bits.backward,
            stochastic=how.stochastic,
            seed=how.seed,
            step=bits.step,
            stream=self.number,
        )


def shared_axes(
    layer: keras.layers.Layer, name: str, shape: Sequence[int], granularity: str
) -> tuple[int, ...] | None:
    """The axes of a weight that share a range, `None` for all: biases are rounded whole.

    Args:
        layer: The layer that owns the weight.
        name: The variable's name within it.
        shape: The variable's shape.
        granularity: `"tensor"`, `"channel"` or `"row"`.
    """
    if granularity == "tensor" or len(shape) < 2 or name == "bias":
        return None
    layout: Layout = kernel_layout(layer, name, tuple(shape))
    own = layout.outputs if granularity == "channel" else layout.inputs
    return tuple(axis for axis in range(len(shape)) if axis not in own) if own else None


class Widths:
    """The widths of all steps, looked up inside of the compiled graph.

    What a schedule says in float64 on the host is rounded there; the graph finds the last change
    before its step, so that both are the same at every step.

    Args:
        bits: The bits of each step.
        last: The bits after the last one.
    """

    def __init__(self, bits: np.ndarray, last: int) -> None:
        whole = np.append(bits, last)
        changes = np.flatnonzero(np.diff(whole)) + 1
        self.starts = np.append(0, changes).astype("int32")
        self.bits = whole[self.starts].astype(_SINGLE)

    def at(self, step: Any) -> Any:
        """The bits at a step, a float32 scalar.

        Args:
            step: Integer scalar, may be a tensor.
        """
        passed = ops.cast(self.starts, "int32") <= ops.cast(step, "int32")
        place = ops.sum(ops.cast(passed, "int32")) - 1
        return ops.take(ops.convert_to_tensor(self.bits), ops.maximum(place, 0))
