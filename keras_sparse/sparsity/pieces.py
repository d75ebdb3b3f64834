"""Scores of many tensors, looked at in pieces: small tensors together, a large one part by part."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import ops

# Scores that are looked at together.
_PIECE = 2**22
# Scores of a longer tensor that are looked at one after the other, so that little is made at once.
_CHUNK = 2**19
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
        first: The first group.
        groups: How many groups there are in all.
        segments: To which of its groups each unit belongs, or `None` if there is one.
        seen: Which bits are looked at, or `None` for all.
    """

    bits: Any
    cost: Any
    parts: Sequence[_Part]
    first: int
    groups: int
    segments: Any
    seen: Any

    @property
    def chunks(self) -> int:
        """How many chunks of one size it is looked at in."""
        size = sum(part.size for part in self.parts)
        return 1 if size <= _PIECE else size // _CHUNK

    def map(self, function: Callable[..., Any], *values: Any) -> Any:
        """`function(bits, cost, *values)` of each chunk, one after the other, stacked.

        Args:
            function: Takes the bits and costs of a chunk, and its row of each of the values.
            values: Tensors of shape `(chunks, ...)`.
        """
        if self.chunks == 1:
            start, size = (self.parts[0].start, sum(part.size for part in self.parts))
            whole = size == self.bits.shape[0]
            bits = self.bits if whole else self.bits[start : start + size]
            cost = self.cost if isinstance(self.cost, int) else self.cost[start : start + size]
            return function(self._seen(bits), cost, *(value[0] for value in values))[None]
        cost = self.cost if isinstance(self.cost, int) else ops.convert_to_tensor(self.cost)

        def one(row: Any) -> Any:
            at = (self.parts[0].start + row[0] * _CHUNK,)
            some = cost if isinstance(cost, int) else ops.slice(cost, at, (_CHUNK,))
            return function(self._seen(ops.slice(self.bits, at, (_CHUNK,))), some, *row[1:])

        return ops.map(one, (ops.arange(self.chunks), *values))

    def _seen(self, bits: Any) -> Any:
        return bits if self.seen is None else ops.bitwise_and(bits, self.seen)

    def each(self, values: Any) -> Any:
        """The values, `(groups,)`, of each unit's group."""
        if self.segments is None:
            return values[self.first]
        return ops.take(values, self.segments + self.first)

    def sums(self, spent: Any) -> Any:
        """What the units of each group cost together, `(groups,)`."""
        if self.segments is None:
            found, count = ops.reshape(ops.sum(spent), (1,)), 1
        else:
            count = len(self.parts)
            found = ops.segment_sum(spent, self.segments, count)
        after = self.groups - self.first - count
        return ops.pad(found, [(self.first, after)]) if self.first or after else found


def pieces_of(
    bits: Sequence[Any],
    costs: Sequence[Any],
    joint: bool,
    seen: Any = None,
    among: Sequence[Any] | None = None,
) -> list[Piece]:
    """All scores in pieces of bounded size, in their order.

    Args:
        bits: The scores' bits as integers, tensors of shape `(units,)`, all of one type.
        costs: For each tensor the weights that a unit holds: an integer, or one per unit.
        joint: Whether all tensors are one group, rather than each one of its own.
        seen: Which bits are looked at, an integer of the bits' type, or `None` for all.
        among: For each tensor booleans, False where a score is the lowest of all whatever it is,
            or `None`.
    """
    sizes = [int(tensor.shape[0]) for tensor in bits]
    groups = 1 if joint else len(bits)
    plan = list(_planned(sizes, _PIECE if joint else _SMALL))
    if among is None:
        return [_piece(_joined(bits, parts), costs, parts, groups, joint, seen) for parts in plan]
    alone: dict[int, Any] = {}
    for i in {parts[0].tensor for parts in plan if len(parts) == 1}:
        alone[i] = _lowest_but(among[i], bits[i], seen)
    return [
        _piece(
            alone[parts[0].tensor]
            if len(parts) == 1
            else _lowest_but(_joined(among, parts), _joined(bits, parts), seen),
            costs,
            parts,
            groups,
            joint,
            None,
        )
        for parts in plan
    ]


def _joined(tensors: Sequence[Any], parts: Sequence[_Part]) -> Any:
    some = [tensors[part.tensor] for part in parts]
    return some[0] if len(some) == 1 else ops.concatenate(some)


def _lowest_but(among: Any, bits: Any, seen: Any) -> Any:
    """The bits, and all ones, those of the float with the lowest place in order, elsewhere."""
    bits = bits if seen is None else ops.bitwise_and(bits, seen)
    return ops.where(among, bits, ops.convert_to_tensor(-1, bits.dtype))


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
        in_chunks = size - size % _CHUNK if size > _PIECE else 0
        if in_chunks:
            yield [_Part(i, 0, in_chunks)]
        if in_chunks < size:
            yield [_Part(i, in_chunks, size)]
    if together:
        yield together


def _piece(
    bits: Any,
    costs: Sequence[Any],
    parts: Sequence[_Part],
    groups: int,
    joint: bool,
    seen: Any,
) -> Piece:
    each = [costs[part.tensor] for part in parts]
    first = 0 if joint else parts[0].tensor
    if len(parts) == 1:
        return Piece(bits, each[0], parts, first, groups, None, seen)
    sizes = [part.size for part in parts]
    same = all(isinstance(cost, int) for cost in each) and len(set(each)) == 1
    cost = each[0] if same else np.concatenate(list(map(np.broadcast_to, each, sizes)))
    segments = None
    if not joint:
        ends = np.cumsum(sizes).astype("int32")
        places = ops.arange(int(ends[-1]), dtype="int32")
        segments = ops.searchsorted(ops.convert_to_tensor(ends), places, side="right")
    return Piece(bits, cost, parts, first, groups, segments, seen)


def by_tensor(pieces: Sequence[Piece], values: Sequence[Any], tensors: int) -> list[Any]:
    """Values of the units of each piece, `(units,)`, as those of each tensor."""
    found: list[list[Any]] = [[] for _ in range(tensors)]
    for piece, value in zip(pieces, values, strict=True):
        ends = np.cumsum([part.size for part in piece.parts])
        cuts = ops.split(value, ends[:-1].tolist()) if len(ends) > 1 else [value]
        for part, cut in zip(piece.parts, cuts, strict=True):
            found[part.tensor].append(cut)
    return [parts[0] if len(parts) == 1 else ops.concatenate(parts) for parts in found]
