"""Scores of many tensors, looked at in pieces: small tensors together, a large one part by part."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from keras_sparse.backend.graph_tensors import parts

# Scores that are looked at together.
_PIECE = 2**22
# The most scores of a longer tensor that are looked at at once, one chunk after the other.
_CHUNK = 2**18
# Tensors of up to so many scores are put together though each is ranked by itself.
_SMALL = 2**16


class _Part(NamedTuple):
    """A stretch of one tensor's scores."""

    tensor: int
    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start


@dataclasses.dataclass(frozen=True)
class Piece:
    """Scores that are looked at together, of one group or of several whole ones.

    Args:
        bits: The floats' bits, as integers, of the tensor that they are a stretch of.
        cost: The weights that each of the tensor's units holds: an integer, or one per unit.
        parts: Where its units come from, in their order.
        first: The first of its groups.
        segments: To which of its groups each unit belongs, or `None` if there is one.
        seen: Which bits are looked at, or `None` for all.
        among: Of the tensor, False where a unit ranks lowest, or `None` if none does.
    """

    bits: Any
    cost: Any
    parts: Sequence[_Part]
    first: int
    segments: Any
    seen: Any
    among: Any

    @property
    def size(self) -> int:
        """How many units it has."""
        return sum(part.size for part in self.parts)

    @property
    def groups(self) -> int:
        """How many groups it has."""
        return 1 if self.segments is None else len(self.parts)

    @property
    def chunks(self) -> int:
        """How many chunks of one size it is looked at in."""
        return 1 if self.size <= _PIECE else _in_chunks(self.size, _CHUNK)[0]

    def at_once(self, function: Callable[..., Any], *values: Any) -> Any:
        """`function(bits, cost, *values)` of all units."""
        start = self.parts[0].start
        stretch = slice(start, start + self.size)
        whole = self.size == self.bits.shape[0]
        cost = self.cost if isinstance(self.cost, int) else self.cost[stretch]
        bits = self._seen(lambda units: units if whole else units[stretch])
        return function(bits, cost, *values)

    def in_turn(self, function: Callable[..., Any], *values: Any) -> Any:
        """`function(bits, cost, *values)` of each chunk, one after the other, stacked.

        Args:
            function: Takes the bits and costs of a chunk, and its row of each of the values.
            values: Tensors of shape `(chunks, ...)`.
        """
        cost = self.cost if isinstance(self.cost, int) else ops.convert_to_tensor(self.cost)
        length = self.size // self.chunks

        def one(row: Any) -> Any:
            at = (self.parts[0].start + row[0] * length,)
            some = cost if isinstance(cost, int) else ops.slice(cost, at, (length,))
            bits = self._seen(lambda units: ops.slice(units, at, (length,)))
            return function(bits, some, *row[1:])

        return ops.map(one, (ops.arange(self.chunks), *values))

    def total(self, function: Callable[..., Any]) -> Any:
        """The sum of `function(bits, cost)` over the chunks."""
        if self.chunks == 1:
            return self.at_once(function)
        return ops.sum(self.in_turn(function), axis=0)

    def _seen(self, cut: Callable[[Any], Any]) -> Any:
        """The bits that are looked at, of what `cut` takes of all units; all ones where lowest."""
        bits = cut(self.bits)
        bits = bits if self.seen is None else ops.bitwise_and(bits, self.seen)
        if self.among is None:
            return bits
        return ops.where(cut(self.among), bits, ops.convert_to_tensor(-1, bits.dtype))

    def each(self, values: Any) -> Any:
        """The values of its groups, `(groups,)`, as those of its units: `(units,)`, or `(1,)`."""
        return values if self.segments is None else ops.take(values, self.segments)

    def sums(self, spent: Any) -> Any:
        """What the units of each of its groups cost together, `(groups,)`."""
        if self.segments is None:
            return ops.sum(spent, keepdims=True)
        return ops.segment_sum(spent, self.segments, self.groups)


def pieces_of(
    scores: Sequence[Any],
    costs: Sequence[Any],
    joint: bool,
    read: Callable[[Any], Any],
    seen: Any = None,
    among: Sequence[Any] | None = None,
) -> list[Piece]:
    """All scores in pieces of bounded size, in their order.

    Args:
        scores: Tensors of shape `(units,)`, all of one type.
        costs: For each tensor the weights that a unit holds: an integer, or one per unit.
        joint: Whether all tensors are one group, rather than each one of its own.
        read: Takes floats, and gives their bits as integers of one type.
        seen: Which bits are looked at, an integer of the bits' type, or `None` for all.
        among: For each tensor booleans, False where a score is the lowest of all whatever it is,
            or `None`.
    """
    sizes = [int(tensor.shape[0]) for tensor in scores]
    known: dict[int, tuple[Any, Any]] = {}

    def units_of(some: Sequence[_Part]) -> tuple[Any, Any]:
        """Bits and `among` of parts that are whole tensors, or of the one they are a stretch of."""
        first = some[0].tensor
        if first not in known:
            allowed = None if among is None else _joined(among, some)
            known[first] = read(_joined(scores, some)), allowed
        return known[first]

    return [
        _piece(*units_of(some), costs, some, joint, seen)
        for some in _planned(sizes, _PIECE if joint else _SMALL)
    ]


def by_piece(pieces: Sequence[Piece], values: Any) -> list[Any]:
    """The values of all groups, `(groups,)`, as those of each piece's, `(its groups,)`."""
    counts = {piece.first: piece.groups for piece in pieces}
    cut = dict(zip(counts, parts(values, list(counts.values())), strict=True))
    return [cut[piece.first] for piece in pieces]


def over_pieces(pieces: Sequence[Piece], found: Sequence[Any]) -> Any:
    """The sums of what each piece says of its groups, `(its groups,)`, of all: `(groups,)`."""
    sums: dict[int, Any] = {}
    for piece, part in zip(pieces, found, strict=True):
        sums[piece.first] = sums[piece.first] + part if piece.first in sums else part
    each = list(sums.values())
    return each[0] if len(each) == 1 else ops.concatenate(each)


def _joined(tensors: Sequence[Any], places: Sequence[_Part]) -> Any:
    some = [tensors[place.tensor] for place in places]
    return some[0] if len(some) == 1 else ops.concatenate(some)


def _planned(sizes: Sequence[int], small: int) -> Iterator[list[_Part]]:
    together: list[_Part] = []
    for i, size in enumerate(sizes):
        held = sum(part.size for part in together)
        if together and (size > small or held + size > _PIECE):
            yield together
            together = []
        if size <= small:
            together.append(_Part(i, 0, size))
            continue
        in_chunks = math.prod(_in_chunks(size, _CHUNK)) if size > _PIECE else 0
        if in_chunks:
            yield [_Part(i, 0, in_chunks)]
        if in_chunks < size:
            yield [_Part(i, in_chunks, size)]
    if together:
        yield together


@functools.cache
def _in_chunks(size: int, most: int) -> tuple[int, int]:
    """How many chunks of at most so many scores a tensor is looked at in, and how long they are.

    Nothing is left over where its size has a divisor that is not much too small: a rest is a piece
    of its own, and a copy where pieces are put together.
    """
    fewest = -(-size // most)
    fitting = (count for count in range(fewest, 8 * fewest) if size % count == 0)
    count = next(fitting, None)
    return (size // most, most) if count is None else (count, size // count)


def _piece(
    bits: Any, among: Any, costs: Sequence[Any], some: Sequence[_Part], joint: bool, seen: Any
) -> Piece:
    each = [costs[part.tensor] for part in some]
    first = 0 if joint else some[0].tensor
    if len(some) == 1:
        return Piece(bits, each[0], some, first, None, seen, among)
    sizes = [part.size for part in some]
    same = all(isinstance(cost, int) for cost in each) and len(set(each)) == 1
    cost = each[0] if same else np.concatenate(list(map(np.broadcast_to, each, sizes)))
    segments = None
    if not joint:
        ends = np.cumsum(sizes).astype("int32")
        places = ops.arange(int(ends[-1]), dtype="int32")
        segments = ops.searchsorted(ops.convert_to_tensor(ends), places, side="right")
    return Piece(bits, cost, some, first, segments, seen, among)


def by_tensor(pieces: Sequence[Piece], values: Sequence[Any], tensors: int) -> list[Any]:
    """Values of the units of each piece, `(units,)`, as those of each tensor."""
    found: list[list[Any]] = [[] for _ in range(tensors)]
    for piece, value in zip(pieces, values, strict=True):
        cuts = parts(value, [part.size for part in piece.parts])
        for part, cut in zip(piece.parts, cuts, strict=True):
            found[part.tensor].append(cut)
    return [cuts[0] if len(cuts) == 1 else ops.concatenate(cuts) for cuts in found]
