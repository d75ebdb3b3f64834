"""Bit operations: what products of few bits cost.

A product of a and b bits counts `a b / 32^2` of a floating-point one; a multiplication and an
addition count as one.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import keras
import numpy as np

from keras_sparse.graphs.layers.base import GraphLayer
from keras_sparse.messages.arguments import integer, sample_shape
from keras_sparse.precision.choice import Choice, choose
from keras_sparse.precision.schedules.base import bit_width
from keras_sparse.probe.flops import ATTENTION, attention_multiplications, weight_uses
from keras_sparse.probe.nonzeros import count_nonzero
from keras_sparse.sparsity.selection import Which

_FLOAT = 32**2


@dataclasses.dataclass(frozen=True)
class BitOps:
    """Bit operations of one training step.

    Args:
        multiplications: Of the forward pass in the layers in low precision: of nonzero weights, and
            of the two products of attention.
        forward: Bit operations of the forward pass.
        input_gradient: Those of the gradient by the inputs, which both operands of a product of
            attention are.
        weight_gradient: Those of the gradient by the weights.
        float_step: Operations of a step in the layers that stay float, forward and backward.
    """

    multiplications: float
    forward: float
    input_gradient: float
    weight_gradient: float
    float_step: float

    @property
    def step(self) -> float:
        """Forward and backward, in the layers in low precision."""
        return self.forward + self.input_gradient + self.weight_gradient


def bitops(
    model: keras.Model,
    forward_bits: int = 8,
    backward_bits: int = 8,
    *,
    batch_size: int = 1,
    input_shape: Any = None,
    exclude: Which = (),
    keep_float: Any = (),
) -> BitOps:
    """Counts the bit operations of a training step.

    ```python
    ks.precision.bitops(model, forward_bits=3, backward_bits=8, batch_size=32).step
    ```

    Sums over neighbors are not counted. See `aggregation_macs`.

    Args:
        model: A built model.
        forward_bits: Bits of weights and activations.
        backward_bits: Bits of gradients.
        batch_size: Samples in a batch.
        input_shape: Shape(s) of one sample, where the model leaves it open.
        exclude: What stays float, as of `PrecisionScheduler`.
        keep_float: The same. Nothing by default.

    Raises:
        ValueError: If an argument is out of range, or the input's size is not known.

    Source: Wolfe (2023), section 6.4.1.
    """
    forward_bits = bit_width("forward_bits", forward_bits)
    backward_bits = bit_width("backward_bits", backward_bits)
    integer("batch_size", batch_size)
    sample_shape("input_shape", input_shape)
    choice = choose(model, exclude, keep_float)
    low, whole = _macs(model, choice, weight_uses(model, input_shape))
    attending = attention_multiplications(model, input_shape)
    low_attending = _attending(choice, attending)
    macs = (low + low_attending) * batch_size
    back = forward_bits * backward_bits / _FLOAT * batch_size
    return BitOps(
        macs,
        macs * forward_bits**2 / _FLOAT,
        (low + 2 * low_attending) * back,
        low * back,
        3 * (whole - low + sum(attending.values()) - low_attending) * batch_size,
    )


def aggregation_macs(edges: int, features: int) -> int:
    """Multiplications of a sum over neighbors, which no count of bit operations includes.

    Args:
        edges: Entries of the adjacency.
        features: Features that are summed.
    """
    return integer("edges", edges, 0) * integer("features", features)


def _macs(model: keras.Model, choice: Choice, uses: np.ndarray) -> tuple[float, float]:
    """Multiplications of one sample, of nonzero weights: in low precision, and of all layers."""
    own = {id(v) for layer in choice.layers for v in layer._trainable_variables}
    counted = [
        uses[i] * count_nonzero(v) if uses[i] else 0.0 for i, v in enumerate(model.variables)
    ]
    low = sum(n for n, v in zip(counted, model.variables, strict=True) if id(v) in own)
    return float(low), float(sum(counted))


def _attending(choice: Choice, attending: dict[int, float]) -> float:
    """Multiplications of the attention layers in low precision."""
    return sum(attending.get(id(layer), 0.0) for layer in choice.layers)


class CostMeter:
    """Counts the bit operations of a training, epoch by epoch.

    Args:
        model: The model.
        choice: Its layers in low precision.
        q_max: Bits of the backward pass.
    """

    def __init__(self, model: keras.Model, choice: Choice, q_max: int) -> None:
        self.model, self.choice, self.q_max = model, choice, q_max
        self.total = 0.0
        self._spent = self._static = 0.0
        self._precision = math.nan
        self._uses = _known_uses(model, choice)
        attends = any(isinstance(layer, ATTENTION) for layer in choice.layers)
        known = attends and self._uses is not None
        self._attending = _attending(choice, attention_multiplications(model)) if known else 0.0

    def begin(self, bits: np.ndarray) -> None:
        """Takes the steps of a resumed training for taken, with the weights that are left now."""
        if len(bits):
            self.add(bits)

    def add(self, bits: np.ndarray) -> None:
        """Adds an epoch's steps."""
        if not len(bits):
            return
        q = np.asarray(bits, float)
        spent = float(np.sum(q * (q + 2 * self.q_max)))
        self._spent += spent
        self._static += 3.0 * self.q_max**2 * len(q)
        self._precision = float(q.mean())
        self.total += spent / _FLOAT * self._macs()

    def _macs(self) -> float:
        if self._uses is None:
            return math.nan
        counted = [uses * count_nonzero(variable) for variable, uses in self._uses]
        return float(sum(counted)) + self._attending

    def logs(self) -> dict[str, float]:
        """Mean bits of the last epoch, bit operations so far, and relative to static `q_max`."""
        relative = self._spent / self._static if self._static else math.nan
        return {"precision": self._precision, "bitops": self.total, "relative_bitops": relative}


def _known_uses(model: keras.Model, choice: Choice) -> list[tuple[Any, float]] | None:
    """The weights in low precision with their uses in a sample, `None` if that is not known."""
    own = [v for layer in choice.layers for v in layer._trainable_variables if v.ndim > 1]
    if all(isinstance(layer, GraphLayer) for layer in choice.layers):
        return [(variable, 1.0) for variable in own]  # A sample is a node.
    try:
        uses = weight_uses(model)
    except ValueError:
        return None
    place = {id(variable): i for i, variable in enumerate(model.variables)}
    return [(variable, float(uses[place[id(variable)]])) for variable in own]
