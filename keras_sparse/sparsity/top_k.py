"""Exact-count selection of the largest scores, inside the compiled graph and without sorting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

_SMALLEST = -(2**31)
_ALL_BUT_SIGN = 2**31 - 1
# Scores that are looked at in one piece: what is made of them stays within a few megabytes.
_PIECE = 2**22


def top_k_masks(scores: Sequence[Any], keeps: Any, costs: Sequence[Any], joint: bool) -> list[Any]:
    """Marks the highest scores of each tensor, or of all tensors together.

    A float's bits, read as an integer, have the order of the float, so the threshold is searched
    among integers, by counting how many scores are above a guess. That takes about a dozen passes
    over the scores, 62 at most, for a k that is known only when the graph runs, and no copy of
    them. Ties go to the lowest flat index (and the first tensor), so that counts are exact.

    Args:
        scores: Tensors of shape `(units,)`, float32.
        keeps: How much to keep: an integer tensor of shape `(len(scores),)`, or of shape `(1,)`
            if `joint`. The kept units are the longest prefix, by descending score, whose costs
            sum up to at most this.
        costs: For each tensor the weights that a unit holds: an integer, or one per unit.
        joint: Whether all tensors share one ranking.

    Returns:
        Boolean tensors of the shapes of `scores`.
    """
    pieces = [_pieces(score, cost) for score, cost in zip(scores, costs, strict=True)]
    keeps = ops.cast(keeps, "int32")
    # The tensors that each threshold is for.
    groups = [list(range(len(scores)))] if joint else [[i] for i in range(len(scores))]

    def count(key: Any, group: Sequence[int]) -> Any:
        cut = _cut(key)
        marked = [(_at_least(cut, bits), cost) for i in group for bits, cost in pieces[i]]
        return sum(ops.sum(_spent(one, cost)) for one, cost in marked)

    def counts(keys: Any) -> Any:
        return ops.stack([count(keys[g], group) for g, group in enumerate(groups)])

    sizes = [
        int(np.sum(np.broadcast_to(cost, score.shape)))
        for score, cost in zip(scores, costs, strict=True)
    ]
    everything = [sum(sizes[i] for i in group) for group in groups]
    thresholds = _largest_thresholds(counts, keeps, everything)
    room = keeps - counts(thresholds + 1)
    masks: list[Any] = []
    for g, group in enumerate(groups):
        left, threshold = room[g], _bits_of(thresholds[g])
        above = _cut(thresholds[g] + 1)
        for i in group:
            marked = []
            for bits, cost in pieces[i]:
                ties = ops.equal(bits, threshold)
                taken = ops.cumsum(_spent(ties, cost))
                chosen = ops.logical_and(ties, taken <= left)
                marked.append(ops.logical_or(_at_least(above, bits), chosen))
                left = left - taken[-1]
            masks.append(marked[0] if len(marked) == 1 else ops.concatenate(marked))
    return masks


def _pieces(score: Any, cost: Any) -> list[tuple[Any, Any]]:
    """The bits of a float32 vector and what its units cost, in pieces of bounded size."""
    bits = ops.view(ops.cast(score, "float32"), "int32")
    size = bits.shape[0]
    if size <= _PIECE:
        return [(bits, cost)]
    cuts = [slice(at, min(at + _PIECE, size)) for at in range(0, size, _PIECE)]
    return [(bits[cut], cost if isinstance(cost, int) else cost[cut]) for cut in cuts]


def _spent(marked: Any, cost: Any) -> Any:
    count = ops.cast(marked, "int32")
    return count if isinstance(cost, int) and cost == 1 else count * cost


def _bits_of(key: Any) -> Any:
    """The bits of the float whose place in the order of all floats is a key."""
    return ops.where(key < 0, ops.bitwise_xor(key, _ALL_BUT_SIGN), key)


def _cut(key: Any) -> tuple[Any, Any]:
    """Between which bits the floats lie that have a lower place in the order than a key.

    The bits of negative floats are negative integers in the opposite order. (Negative zero is
    just below zero.)
    """
    return ops.maximum(key, 0), ops.where(key < 0, _bits_of(key) + 1, _SMALLEST)


def _at_least(cut: tuple[Any, Any], bits: Any) -> Any:
    """Which floats, given by their bits, have the place of `_cut`'s key or a higher one."""
    return ops.logical_or(bits >= cut[0], bits < cut[1])


def _largest_thresholds(counts: Callable[[Any], Any], keeps: Any, everything: Sequence[int]) -> Any:
    """For each tensor an integer at or above which there are at least so many scores, and no more
    than need be: where more are, they are ties at that integer.

    Guesses by bisection and by linear interpolation take turns: the one halves the interval
    whatever the scores are, the other leaves about the square root of the scores in it.

    Args:
        counts: Counts the scores at or above thresholds, `(tensors,)` to `(tensors,)`.
        keeps: The numbers wanted, `(tensors,)`.
        everything: The numbers of all scores, at or above any threshold.
    """
    positive = counts(ops.zeros((len(everything),), "int32"))
    # The sign first: the difference of the two ends then fits an integer.
    upper = positive >= keeps
    low = ops.where(upper, 0, _SMALLEST)
    at_low = ops.where(upper, positive, ops.convert_to_tensor(everything, "int32"))
    at_high = ops.where(upper, 0, positive)

    def is_open(turn: Any, low: Any, high: Any, at_low: Any, at_high: Any) -> Any:
        # A threshold that marks just as many as wanted is as good as the largest one.
        return ops.logical_and(high - low > 1, at_low > keeps)

    def narrow(turn: Any, low: Any, high: Any, at_low: Any, at_high: Any) -> Any:
        width = high - low
        share = ops.cast(at_low - keeps, "float32") / ops.cast(at_low - at_high, "float32")
        straight = ops.cast(share * ops.cast(width - 1, "float32"), "int32")
        guess = ops.where(ops.equal(turn % 2, 0), width // 2, straight)
        guess = low + ops.clip(guess, 1, ops.maximum(width - 1, 1))
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

    state = (ops.zeros((), "int32"), low, low + (2**31 - 1), at_low, at_high)
    return ops.while_loop(lambda *state: ops.any(is_open(*state)), narrow, state)[1]
