"""A model as the operations that an edge runtime computes, whatever it is read from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

BLOCKS = (4, 16)

# Rows above and below, columns left and right.
Padding: TypeAlias = tuple[int, int, int, int]


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel:
    """A weight of an operation.

    Args:
        name: The path of the Keras variable, or the tensor's name in a file.
        layer: The layer that it belongs to, or the tensor's name again.
        shape: Its shape, in the layout of where it is read from.
        zeros: How many of its elements are zero, see `count_zeros`.
        in_blocks: Of those the ones in aligned all-zero blocks along the inputs, by the block's
            length, for a kernel that multiplies vectors.
        int8: Whether it is quantized to eight bits.
        stored: How a file stores it, `"dense"`, `"sparse"` (and expanded) or `"block"`; `""` of a
            model that is still to be exported.
    """

    name: str
    layer: str
    shape: tuple[int, ...]
    zeros: int
    in_blocks: dict[int, int] = dataclasses.field(default_factory=dict)
    int8: bool = False
    stored: str = ""

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape))

    @property
    def sparsity(self) -> float:
        """Fraction of zeros."""
        return self.zeros / self.size if self.size else 0.0

    def without_zeros(self) -> Kernel:
        """The same kernel before it is pruned."""
        return dataclasses.replace(self, zeros=0, in_blocks=dict.fromkeys(self.in_blocks, 0))


@dataclasses.dataclass(frozen=True)
class Window:
    """How a convolution slides.

    Args:
        size: Height and width of the kernel.
        strides: Along height and width.
        dilation: Along height and width.
        padding: Rows above and below, columns left and right, a pad before it included.
        channels: Input channels.
        multiplier: Outputs for each channel of a depthwise convolution.
        groups: Groups of channels.
        same: Whether a file has it as SAME: as `padding="same"`, or as what comes to it.
    """

    size: tuple[int, int]
    strides: tuple[int, int]
    dilation: tuple[int, int]
    padding: Padding
    channels: int
    multiplier: int = 1
    groups: int = 1
    same: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Node:
    """One operation.

    Args:
        name: Of the layer or operation.
        kind: `"conv"`, `"depthwise"`, `"dense"`, `"binary"` (a sum or product), `"unary"`,
            `"resize"`, `"mean"` over height and width, `"depth_to_space"` or another word, by
            which it is called in messages.
        inputs: Numbers of the values that it takes, its weights aside.
        outputs: Numbers of the values that it makes.
        rank: Dimensions of what it makes.
        kernels: Its weights of two or more dimensions.
        window: Of a convolution.
        rows: How many vectors of one sample a `"dense"` kernel multiplies.
    """

    name: str
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    rank: int
    kernels: tuple[Kernel, ...] = ()
    window: Window | None = None
    rows: int = 1


@dataclasses.dataclass(frozen=True, eq=False)
class RuntimeGraph:
    """Operations in the order in which they are computed.

    Args:
        nodes: The operations.
        inputs: Numbers of the values that the model is given.
        outputs: Numbers of those that it gives.
    """

    nodes: tuple[Node, ...]
    inputs: frozenset[int]
    outputs: frozenset[int]

    def without_zeros(self) -> RuntimeGraph:
        """The same graph of a model that is still to be pruned."""
        nodes = (
            dataclasses.replace(node, kernels=tuple(k.without_zeros() for k in node.kernels))
            for node in self.nodes
        )
        return dataclasses.replace(self, nodes=tuple(nodes))


def same_padding(
    spatial: Sequence[int | None],
    size: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
) -> Padding:
    """What `padding="same"` adds: rows above and below, columns left and right.

    Args:
        spatial: Height and width of the input; with `None` it is taken to be even.
        size: Of the kernel.
        strides: Of the convolution.
        dilation: Of the convolution.
    """
    padding = []
    for length, kernel, stride, spread in zip(spatial, size, strides, dilation, strict=True):
        length = 2 * stride if length is None else length
        reach = (kernel - 1) * spread + 1
        total = max((-(-length // stride) - 1) * stride + reach - length, 0)
        padding += [total // 2, total - total // 2]
    return padding[0], padding[1], padding[2], padding[3]


def added(one: Padding, other: Padding) -> Padding:
    """The padding that two after one another come to."""
    return one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3]


def count_zeros(values: np.ndarray, places: tuple[int, ...]) -> int:
    """The zeros of a weight that may come of pruning.

    A place of a convolution's kernel that is zero in all channels makes it a smaller kernel, and
    does not count, unless the kernel has no other place.

    Args:
        values: The weight.
        places: Its axes of height and width, if it has them.
    """
    others = tuple(axis for axis in range(values.ndim) if axis not in places)
    used = values.any(axis=others) if places else np.ones((), bool)
    if used.size == 1 or not used.any():
        used = np.ones_like(used)
    return int(values.size // used.size * used.sum() - np.count_nonzero(values))


def zeros_in_blocks(matrix: np.ndarray) -> dict[int, int]:
    """Zeros of an `(inputs, outputs)` matrix that fill whole blocks along the inputs.

    Args:
        matrix: The weights.

    Returns:
        For each length of `BLOCKS` that divides the inputs, the zeros in all-zero blocks.
    """
    found = {}
    for block in BLOCKS:
        if matrix.shape[0] % block == 0:
            blocks = matrix.reshape(-1, block, matrix.shape[1])
            found[block] = block * int(np.sum(~blocks.any(axis=1)))
    return found
