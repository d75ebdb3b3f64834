"""How a weight tensor is seen as (positions, inputs, outputs), whatever layer it belongs to."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import keras
from keras import ops


@dataclasses.dataclass(frozen=True)
class Layout:
    """A weight tensor's axes, sorted into kernel positions, inputs and outputs.

    Patterns along the input axis (n:m, blocks) and whole output channels are defined on the
    matrix view; unstructured pruning ignores it.

    Args:
        shape: Shape of the variable.
        positions: Axes over which the kernel slides (height and width of a convolution).
        inputs: Axes that are summed over.
        outputs: Axes of the output.
    """

    shape: tuple[int, ...]
    positions: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)

    @property
    def matrix_shape(self) -> tuple[int, int, int]:
        """`(positions, inputs, outputs)`."""
        p, i, o = (
            math.prod(self.shape[axis] for axis in axes)
            for axes in (self.positions, self.inputs, self.outputs)
        )
        return p, i, o

    @property
    def _order(self) -> tuple[int, ...]:
        return self.positions + self.inputs + self.outputs

    def to_matrix(self, tensor: Any) -> Any:
        """Views a tensor of the variable's shape as `(positions, inputs, outputs)`."""
        return ops.reshape(ops.transpose(tensor, self._order), self.matrix_shape)

    def from_matrix(self, matrix: Any) -> Any:
        """The inverse of `to_matrix`."""
        order = self._order
        tensor = ops.reshape(matrix, [self.shape[axis] for axis in order])
        return ops.transpose(tensor, [order.index(axis) for axis in range(len(order))])

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, serializable."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layout:
        """Builds the layout from `get_config`."""
        return cls(**{k: tuple(v) for k, v in config.items()})


def kernel_layout(layer: keras.layers.Layer, name: str, shape: tuple[int, ...]) -> Layout:
    """The layout of one weight of a layer, from the layer's type.

    Args:
        layer: The layer that owns the weight.
        name: The variable's name within the layer, such as `"depthwise_kernel"`.
        shape: The variable's shape, of rank 2 or more.

    Returns:
        A `Layout`. A layer of an unknown type is read as `(..., inputs, outputs)`.
    """
    rank = len(shape)
    positions = tuple(range(rank - 2))
    if isinstance(layer, keras.layers.EinsumDense):
        return _einsum_layout(layer.equation, shape)
    if is_depthwise(layer, name):
        return Layout(shape, positions, (), (rank - 2, rank - 1))
    transposed = (
        keras.layers.Conv1DTranspose,
        keras.layers.Conv2DTranspose,
        keras.layers.Conv3DTranspose,
    )
    if isinstance(layer, transposed):
        return Layout(shape, positions, (rank - 1,), (rank - 2,))
    return Layout(shape, positions, (rank - 2,), (rank - 1,))


def is_depthwise(layer: keras.layers.Layer, name: str) -> bool:
    """Whether a weight convolves each channel by itself."""
    depthwise = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
    return isinstance(layer, depthwise) or name == "depthwise_kernel"


def _einsum_layout(equation: str, shape: tuple[int, ...]) -> Layout:
    operands, output = equation.replace(" ", "").split("->")
    kernel = operands.split(",")[1]
    outputs = tuple(axis for axis, index in enumerate(kernel) if index in output)
    inputs = tuple(axis for axis, index in enumerate(kernel) if index not in output)
    return Layout(shape, (), inputs, outputs)
