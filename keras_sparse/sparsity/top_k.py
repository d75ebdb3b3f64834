"""Exact-count selection of the largest scores, inside the compiled graph and without sorting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_sparse.sparsity.pieces import Piece, by_piece, by_tensor, over_pieces, pieces_of


class _Width(NamedTuple):
    """The integers that hold the bits of a float type, and the float in which to interpolate."""

    integers: str
    floats: str
    smallest: int

    @property
    def lowest(self) -> Any:
        return ops.convert_to_tensor(self.smallest, self.integers)

    @property
    def all_but_sign(self) -> Any:
        return ops.convert_to_tensor(-(self.smallest + 1), self.integers)


_SINGLE = _Width("int32", "float32", -(2**31))
_DOUBLE = _Width("int64", "float64", -(2**63))


def top_k_masks(
    scores: Sequence[Any],
    keeps: Any,
    costs: Sequence[Any],
    joint: bool,
    *,
    absolute: bool = False,
    among: Sequence[Any] | None = None,
) -> list[Any]:
    """Marks the highest scores of each tensor, or of all tensors together.

    A float's bits, read as an integer, have the order of the float, so the threshold is searched
    among integers, by counting how many scores are above a guess. That takes about a dozen passes
    over the scores, two for each bit at most, for a k that is known only when the graph runs, and
    no copy of large tensors. Ties go to the lowest flat index (and the first tensor), so that
    counts are exact.

    Args:
        scores: Tensors of shape `(units,)`, ranked in float64 if one of them is, else in float32.
        keeps: How much to keep: an integer tensor of shape `(len(scores),)`, or of shape `(1,)`
            if `joint`. The kept units are the longest prefix, by descending score, whose costs
            sum up to at most this.
        costs: For each tensor the weights that a unit holds: an integer, or one per unit.
        joint: Whether all tensors share one ranking.
        absolute: Whether scores are ranked by their absolute values.
        among: For each tensor booleans of its shape: where one is False, the score ranks below all
            others, whatever it is.

    Returns:
        Boolean tensors of the shapes of `scores`.
    """
    kinds = {keras.backend.standardize_dtype(score.dtype) for score in scores}
    width = _DOUBLE if "float64" in kinds else _SINGLE
    if len(kinds) > 1:
        scores = [ops.cast(score, width.floats) for score in scores]

    def read(floats: Any) -> Any:
        return ops.view(ops.cast(floats, width.floats), width.integers)

    seen = width.all_but_sign if absolute else None
    pieces = pieces_of(scores, costs, joint, read, seen, among)
    positive = absolute and among is None
    keeps = ops.cast(keeps, "int32")

    def counts(keys: Any) -> Any:
        cuts = _cuts(pieces, _cut(keys, width, positive))
        return over_pieces(pieces, list(map(_counted, pieces, cuts)))

    sizes = [
        int(np.sum(np.broadcast_to(cost, score.shape)))
        for score, cost in zip(scores, costs, strict=True)
    ]
    everything = [sum(sizes)] if joint else sizes
    found = _thresholds(counts, keeps, everything, width)
    cuts = _cuts(pieces, _cut(found.above, width, positive))
    ties = by_piece(pieces, _bits_of(found.tied, width))
    left = by_piece(pieces, keeps - found.marked)
    room = {piece.first: part for piece, part in zip(pieces, left, strict=True)}
    masks = []
    for piece, cut, tied in zip(pieces, cuts, ties, strict=True):
        mask, room[piece.first] = _filled(piece, cut, tied, room[piece.first])
        masks.append(mask)
    return by_tensor(pieces, masks, len(scores))


def _cuts(pieces: Sequence[Piece], cut: tuple[Any, Any]) -> list[tuple[Any, Any]]:
    """`_cut` of all groups, as that of each piece's groups."""
    ends = [None] * len(pieces) if cut[1] is None else by_piece(pieces, cut[1])
    return list(zip(by_piece(pieces, cut[0]), ends, strict=True))


def _spent(marked: Any, cost: Any) -> Any:
    count = ops.cast(marked, "int32")
    return count if isinstance(cost, int) and cost == 1 else count * cost


def _counted(piece: Piece, cut: tuple[Any, Any]) -> Any:
    """What the units of each of a piece's groups cost that are above `_cut`'s keys."""
    cut = _each(piece, cut)
    return piece.total(lambda bits, cost: piece.sums(_spent(_at_least(cut, bits), cost)))


def _filled(piece: Piece, above: tuple[Any, Any], tied: Any, room: Any) -> tuple[Any, Any]:
    """Marks what is above, and of the ties as many as there is room for, the first ones.

    Args:
        piece: The scores.
        above: `_cut` of the keys at or above which all is marked.
        tied: The bits of the ties of each of its groups, `(groups,)`.
        room: What the ties of each may cost, `(groups,)`.

    Returns:
        The mask of the piece, and the room that its ties leave, `(groups,)`.
    """
    cut, tied = _each(piece, above), piece.each(tied)

    def ties(bits: Any, cost: Any) -> Any:
        return piece.sums(_spent(ops.equal(bits, tied), cost))

    def fill(bits: Any, cost: Any, left: Any) -> Any:
        some = ops.equal(bits, tied)
        place = ops.cumsum(_spent(some, cost))
        chosen = ops.logical_and(some, place <= piece.each(left))
        return ops.logical_or(_at_least(cut, bits), chosen)

    if piece.chunks == 1:
        spent = piece.at_once(ties)
        # Ties are counted through all groups: before those of one come those of others.
        left = room if piece.groups == 1 else room + ops.cumsum(spent) - spent
        return piece.at_once(fill, left), room - spent
    spent = piece.in_turn(ties)
    mask = piece.in_turn(fill, room - (ops.cumsum(spent, axis=0) - spent))
    return ops.reshape(mask, (-1,)), room - ops.sum(spent, axis=0)


def _bits_of(key: Any, width: _Width) -> Any:
    """The bits of the float whose place in the order of all floats is a key."""
    return ops.where(key < 0, ops.bitwise_xor(key, width.all_but_sign), key)


def _cut(key: Any, width: _Width, positive: bool) -> tuple[Any, Any]:
    """Between which bits the floats lie that have a lower place in the order than a key.

    The bits of negative floats are negative integers in the opposite order. (Negative zero is
    just below zero.) Where all are positive there is no upper end.
    """
    if positive:
        return key, None
    return ops.maximum(key, 0), ops.where(key < 0, _bits_of(key, width) + 1, width.lowest)


def _at_least(cut: tuple[Any, Any], bits: Any) -> Any:
    """Which floats, given by their bits, have the place of `_cut`'s key or a higher one."""
    high = bits >= cut[0]
    return high if cut[1] is None else ops.logical_or(high, bits < cut[1])


def _each(piece: Piece, cut: tuple[Any, Any]) -> tuple[Any, Any]:
    return piece.each(cut[0]), None if cut[1] is None else piece.each(cut[1])


class _Thresholds(NamedTuple):
    """Where the scores of each group part, integer tensors of shape `(groups,)`.

    Args:
        above: All scores at or above it are kept.
        marked: How many these are, no more than wanted.
        tied: The integer whose scores are kept as long as there is room.
    """

    above: Any
    marked: Any
    tied: Any


def _thresholds(
    counts: Callable[[Any], Any], keeps: Any, everything: Sequence[int], width: _Width
) -> _Thresholds:
    """Finds for each group the integers between which the scores part.

    Guesses by bisection and by linear interpolation take turns: the one halves the interval
    whatever the scores are, the other leaves about the square root of the scores in it. The first
    two are next to zero: zero is what most ties are of, and the difference of an interval's two
    ends has to fit an integer.

    Args:
        counts: Counts the scores at or above thresholds, `(groups,)` to `(groups,)`.
        keeps: The numbers wanted, `(groups,)`.
        everything: The numbers of all scores, at or above any threshold.
        width: The floats' width.
    """

    def is_open(turn: Any, low: Any, high: Any, at_low: Any, at_high: Any) -> Any:
        # A threshold that marks just as many as wanted is as good as the largest one.
        return ops.logical_and(high > low + 1, at_low > keeps)

    def narrow(turn: Any, low: Any, high: Any, at_low: Any, at_high: Any) -> Any:
        span = high - low
        share = ops.cast(at_low - keeps, width.floats) / ops.cast(at_low - at_high, width.floats)
        straight = ops.cast(share * ops.cast(span - 1, width.floats), width.integers)
        guess = ops.where(ops.equal(turn % 2, 0), span // 2, straight)
        guess = low + ops.clip(guess, 1, ops.maximum(span - 1, 1))
        negative = ops.logical_and(ops.equal(turn, 1), ops.equal(low, width.lowest))
        guess = ops.where(ops.equal(turn, 0), 1, ops.where(negative, -1, guess))
        guess = ops.where(is_open(turn, low, high, at_low, at_high), guess, low)
        found = counts(guess)
        enough = found >= keeps
        return (
            turn + 1,
            ops.where(enough, guess, low),
            ops.where(enough, high, guess),
            ops.where(enough, found, at_low),
            ops.where(enough, at_high, found),
        )

    total = ops.convert_to_tensor(everything, "int32")
    low = ops.full(total.shape, width.lowest, width.integers)
    state = (ops.zeros((), "int32"), low, low - 1, total, ops.zeros_like(total))
    _, low, _, at_low, at_high = ops.while_loop(
        lambda *state: ops.any(is_open(*state)), narrow, state
    )
    exact = at_low <= keeps
    return _Thresholds(ops.where(exact, low, low + 1), ops.where(exact, at_low, at_high), low)
