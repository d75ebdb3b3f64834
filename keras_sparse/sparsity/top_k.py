"""Exact-count selection of the largest scores, inside the compiled graph and without sorting."""

from __future__ import annotations

from typing import Any

from keras import ops

_SMALLEST = -(2**31)


def top_k_masks(scores: list[Any], keeps: Any, costs: list[Any], joint: bool) -> list[Any]:
    """Marks the highest scores of each tensor, or of all tensors together.

    The threshold is found bit by bit: a float's bits, read as an integer, have the order of the
    float, so 32 counting passes find the exact k-th largest score of any number of weights, for
    a k that is known only when the graph runs. Ties go to the lowest flat index (and the first
    tensor), so that counts are exact.

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
    groups = [list(range(len(keys)))] if joint else [[i] for i in range(len(keys))]
    keeps = ops.cast(keeps, "int32")

    def mass(marked: Any, i: int) -> Any:
        return ops.sum(ops.cast(marked, "int32") * costs[i])

    def lower_one_bit(bit: Any, thresholds: Any) -> Any:
        step = ops.left_shift(ops.ones((), "int32"), 31 - bit)
        candidates = thresholds + step
        reached = [
            sum(mass(ops.greater_equal(keys[i], candidates[g]), i) for i in members)
            for g, members in enumerate(groups)
        ]
        return ops.where(ops.greater_equal(ops.stack(reached), keeps), candidates, thresholds)

    thresholds = ops.fori_loop(
        0, 32, lower_one_bit, ops.full((len(groups),), _SMALLEST, dtype="int32")
    )
    masks: list[Any] = [None] * len(keys)
    for g, members in enumerate(groups):
        above = {i: ops.greater(keys[i], thresholds[g]) for i in members}
        remaining = keeps[g] - sum(mass(above[i], i) for i in members)
        for i in members:
            ties = ops.equal(keys[i], thresholds[g])
            running = ops.cumsum(ops.cast(ties, "int32") * costs[i])
            masks[i] = ops.logical_or(above[i], ops.logical_and(ties, running <= remaining))
            remaining = remaining - running[-1]
    return masks


def _ordered_bits(score: Any) -> Any:
    """A float32 tensor as int32 with the same order (negative zero just below zero)."""
    bits = ops.view(ops.cast(score, "float32"), "int32")
    return ops.where(bits < 0, ops.bitwise_xor(bits, 2**31 - 1), bits)
