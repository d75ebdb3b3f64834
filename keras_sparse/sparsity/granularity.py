"""What is pruned as one: single weights, n of every m, blocks or whole channels."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.messages.arguments import integer, wrong
from keras_sparse.messages.names import did_you_mean
from keras_sparse.probe.layout import Layout

_PACKAGE = "keras_sparse"


class Granularity:
    """Base class: how a tensor of scores is divided into units that live or die together."""

    def unfit(self, layout: Layout) -> str | None:
        """Why a weight of this layout cannot be pruned in these units, or `None` if it can."""
        return None

    def leaves_dense(self, model: keras.Model) -> dict[str, str]:
        """Weights of a model, by their paths, that are not to be pruned, with the reasons."""
        return {}

    def of(self, layout: Layout) -> Granularity:
        """The pattern of a weight of this layout: itself, where all weights have the same."""
        return self

    def costs(self, layout: Layout) -> Any:
        """Weights in each unit: an integer, or an integer array of shape `(units,)`."""
        raise NotImplementedError

    def pool(self, scores: Any, layout: Layout) -> Any:
        """Mean score of each unit, shape `(units,)`, from scores of the weight's shape."""
        raise NotImplementedError

    def expand(self, units: Any, layout: Layout) -> Any:
        """A boolean mask of the weight's shape from a boolean per unit."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, serializable."""
        return dict(vars(self))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Granularity:
        """Builds the granularity from `get_config`."""
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).items()))


@keras.saving.register_keras_serializable(_PACKAGE)
@dataclasses.dataclass(frozen=True, eq=False)
class Unstructured(Granularity):
    """Single weights."""

    def costs(self, layout: Layout) -> int:
        """One weight a unit."""
        return 1

    def pool(self, scores: Any, layout: Layout) -> Any:
        """The scores themselves, flat."""
        return ops.reshape(scores, (-1,))

    def expand(self, units: Any, layout: Layout) -> Any:
        """The flat mask in the weight's shape."""
        return ops.reshape(units, layout.shape)


@keras.saving.register_keras_serializable(_PACKAGE)
@dataclasses.dataclass(frozen=True, eq=False)
class NM(Granularity):
    """n nonzero weights in every m consecutive ones along the input axis.

    The sparsity is given by the pattern, `1 - n / m`: leave `sparsity` out, or give that value.

    Args:
        n: Nonzeros in a group.
        m: Group size. The input axis must be a multiple of it.

    Raises:
        ValueError: If not `1 <= n < m`.

    Source: Peste (2023), 2.2.3, read as "n of every m are kept" (`NM(2, 4)`: half).
    """

    n: int
    m: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "m", integer("m", self.m, 2))
        cure = f"NM(n, m) keeps n of every m={self.m} weights."
        object.__setattr__(self, "n", integer("n", self.n, 1, self.m - 1, cure))

    @property
    def sparsity(self) -> float:
        """Fraction of weights that the pattern removes."""
        return 1 - self.n / self.m

    def unfit(self, layout: Layout) -> str | None:
        """The input axis must be divisible by m."""
        inputs = layout.matrix_shape[1]
        if inputs % self.m:
            return f"its input axis of {inputs} is not a multiple of m={self.m}"
        return None

    def mask(self, scores: Any, layout: Layout, kept: Any) -> Any:
        """Keeps the `kept` (an integer tensor) largest scores of each group of m."""
        positions, inputs, outputs = layout.matrix_shape
        grouped = (positions, inputs // self.m, self.m, outputs)
        matrix = ops.reshape(layout.to_matrix(scores), grouped)
        mine, theirs = ops.expand_dims(matrix, 3), ops.expand_dims(matrix, 2)
        index = np.arange(self.m)
        earlier = (index[None, :] < index[:, None]).reshape(1, 1, self.m, self.m, 1)
        beaten = ops.logical_or(theirs > mine, ops.logical_and(theirs == mine, earlier))
        rank = ops.sum(ops.cast(beaten, "int32"), axis=3)
        return layout.from_matrix(rank < kept)


@keras.saving.register_keras_serializable(_PACKAGE)
@dataclasses.dataclass(frozen=True, eq=False)
class Block(Granularity):
    """Blocks of `rows` inputs by `cols` outputs; those at an edge may be smaller.

    `Block(4, 1)` is the float block format of LiteRT, `Block(16, 1)` the int8 one.

    Args:
        rows: Size along the input axis.
        cols: Size along the output axis.

    Raises:
        ValueError: If a size is not an integer of at least 1.
    """

    rows: int
    cols: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", integer("rows", self.rows))
        object.__setattr__(self, "cols", integer("cols", self.cols))

    def _grid(self, layout: Layout) -> tuple[int, int, int]:
        positions, inputs, outputs = layout.matrix_shape
        return positions, -(-inputs // self.rows), -(-outputs // self.cols)

    def _tile(self, matrix: Any, layout: Layout) -> Any:
        positions, down, across = self._grid(layout)
        _, inputs, outputs = layout.matrix_shape
        edge = ((0, 0), (0, down * self.rows - inputs), (0, across * self.cols - outputs))
        return ops.reshape(ops.pad(matrix, edge), (positions, down, self.rows, across, self.cols))

    def costs(self, layout: Layout) -> Any:
        """Weights in each block: `rows * cols`, fewer at an edge."""
        positions, inputs, outputs = layout.matrix_shape
        down = np.minimum(self.rows, inputs - np.arange(0, inputs, self.rows))
        across = np.minimum(self.cols, outputs - np.arange(0, outputs, self.cols))
        sizes = np.tile(np.multiply.outer(down, across).ravel(), positions).astype("int32")
        return int(sizes[0]) if np.all(sizes == sizes[0]) else sizes

    def pool(self, scores: Any, layout: Layout) -> Any:
        """Mean score of each block."""
        tiles = self._tile(layout.to_matrix(scores), layout)
        return ops.reshape(ops.sum(tiles, axis=(2, 4)), (-1,)) / self.costs(layout)

    def expand(self, units: Any, layout: Layout) -> Any:
        """Repeats each block's fate over its weights."""
        positions, down, across = self._grid(layout)
        _, inputs, outputs = layout.matrix_shape
        tiles = ops.reshape(units, (positions, down, 1, across, 1))
        tiles = ops.tile(tiles, (1, 1, self.rows, 1, self.cols))
        matrix = ops.reshape(tiles, (positions, down * self.rows, across * self.cols))
        return layout.from_matrix(matrix[:, :inputs, :outputs])


@keras.saving.register_keras_serializable(_PACKAGE)
@dataclasses.dataclass(frozen=True, eq=False)
class Channel(Granularity):
    """Whole output channels (filters, neurons), scored by their mean magnitude."""

    def costs(self, layout: Layout) -> int:
        """Weights in a channel."""
        positions, inputs, _ = layout.matrix_shape
        return positions * inputs

    def pool(self, scores: Any, layout: Layout) -> Any:
        """Mean score of each output channel."""
        return ops.mean(layout.to_matrix(scores), axis=(0, 1))

    def expand(self, units: Any, layout: Layout) -> Any:
        """Spreads each channel's fate over its weights."""
        matrix = ops.broadcast_to(ops.reshape(units, (1, 1, -1)), layout.matrix_shape)
        return layout.from_matrix(matrix)


def get_granularity(value: Granularity | str | None) -> Granularity:
    """Reads a granularity: an instance, `None` (unstructured), or such as `"2:4"` and `"4x1"`."""
    if value is None or value == "unstructured":
        return Unstructured()
    if isinstance(value, Granularity):
        return value
    if value == "channel":
        return Channel()
    if value == "xnnpack":
        # It stands above this module, on what knows models.
        from keras_sparse.sparsity.runtime_pattern import RuntimePattern

        return RuntimePattern()
    if isinstance(value, str):
        kept, colon, group = value.partition(":")
        if colon and kept.isdigit() and group.isdigit():
            return NM(int(kept), int(group))
        rows, by, cols = value.partition("x")
        if by and rows.isdigit() and cols.isdigit():
            return Block(int(rows), int(cols))
    raise wrong(
        "granularity",
        value,
        "Unstructured(), NM(n, m), Block(rows, cols), Channel(), RuntimePattern(runtime) or one of "
        "'unstructured', 'channel', 'xnnpack', such as '2:4', or such as '4x1'",
        did_you_mean(value, ["unstructured", "channel", "xnnpack", "2:4", "4x1"]),
    )
