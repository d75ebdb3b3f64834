"""Exact-count selection of the largest scores, inside the compiled graph and without sorting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

_SMALLEST = -(2**31)


def top_k_masks(scores: Sequence[Any], keeps: Any, costs: Sequence[Any], joint: bool) -> list[Any]:
    """Marks the highest scores of each tensor, or of all tensors together.

    A float's bits, read as an integer, have the order of the float, so the threshold is searched
    among integers, by counting how many scores are above a guess. That takes about a dozen passes
    over the scores, 62 at most, for a k that is known only when the graph runs. Ties go to the
    lowest flat index (and the first tensor), so that counts are exact.

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
    keys = [_ordered_bits(score) for score in scores]
    keeps = ops.cast(keeps, "int32")
    # The tensors that each threshold is for.
    groups = [list(range(len(keys)))] if joint else [[i] for i in range(len(keys))]

    def cost(marked: Any, i: int) -> Any:
        count = ops.cast(marked, "int32")
        return count if isinstance(costs[i], int) and costs[i] == 1 else count * costs[i]

    def count(threshold: Any, group: Sequence[int]) -> Any:
        return sum(ops.sum(cost(keys[i] >= threshold, i)) for i in group)

    def counts(thresholds: Any) -> Any:
        return ops.stack([count(thresholds[g], group) for g, group in enumerate(groups)])

    sizes = [int(np.sum(np.broadcast_to(costs[i], keys[i].shape))) for i in range(len(keys))]
    everything = [sum(sizes[i] for i in group) for group in groups]
    thresholds = _largest_thresholds(counts, keeps, everything)
    masks = []
    for g, group in enumerate(groups):
        threshold = thresholds[g]
        above = [keys[i] > threshold for i in group]
        room = keeps[g] - sum(ops.sum(cost(m, i)) for m, i in zip(above, group, strict=True))
        for marked, i in zip(above, group, strict=True):
            ties = ops.equal(keys[i], threshold)
            taken = ops.cumsum(cost(ties, i))
            masks.append(ops.logical_or(marked, ops.logical_and(ties, taken <= room)))
            room = room - taken[-1]
    return masks


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


def _ordered_bits(score: Any) -> Any:
    """A float32 tensor as int32 with the same order (negative zero just below zero)."""
    bits = ops.view(ops.cast(score, "float32"), "int32")
    return ops.where(bits < 0, ops.bitwise_xor(bits, 2**31 - 1), bits)
