"""Patterns of zeros within the weights of one output, for methods that go along them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from keras_sparse.probe.layout import Layout
from keras_sparse.sparsity.granularity import NM, Block, Granularity, Unstructured


class RowPattern(NamedTuple):
    """What of a row of `to_rows` is removed together.

    Args:
        group: `(n, m)` to leave n of every m consecutive weights, `None` for any number.
        block: Consecutive weights that go together.
        run: Weights after which blocks begin anew, the last before them being smaller where it has
            to be; `None` for all of a row.
    """

    group: tuple[int, int] | None = None
    block: int = 1
    run: int | None = None

    def starts(self, size: int) -> np.ndarray:
        """Where in a row of `size` weights each block begins, shape `(blocks,)`."""
        run = self.run or size
        return np.add.outer(np.arange(0, size, run), np.arange(0, run, self.block)).ravel()

    def sizes(self, size: int) -> np.ndarray:
        """How many weights each of these blocks has, shape `(blocks,)`."""
        return np.diff(self.starts(size), append=size)


SINGLE = RowPattern()


def within_rows(granularity: Granularity, layout: Layout) -> RowPattern | None:
    """A pattern as it is along the rows of `to_rows`, or `None` if it goes across them.

    Args:
        granularity: Of a whole model.
        layout: Of one of its weights.
    """
    pattern = granularity.of(layout)
    if isinstance(pattern, NM):
        return RowPattern((pattern.n, pattern.m))
    if isinstance(pattern, Unstructured):
        return SINGLE
    if isinstance(pattern, Block) and pattern.cols == 1:
        return RowPattern(None, pattern.rows, layout.matrix_shape[1])
    return None


def row_pattern(granularity: Granularity, layout: Layout, method: str) -> RowPattern:
    """A pattern as it is along the rows of `to_rows`.

    Raises:
        ValueError: If it goes across them, where a method that prunes output by output cannot.
    """
    pattern = within_rows(granularity, layout)
    if pattern is None:
        raise ValueError(
            f"{method} prunes single weights, n:m patterns, and blocks of one output such as "
            f"'4x1'. Received: granularity={granularity}. For channels and blocks of several "
            "outputs use wanda, woodfisher, adaprune or prune."
        )
    return pattern
