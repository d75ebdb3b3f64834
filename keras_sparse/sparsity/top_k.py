"""Exact-count selection of the largest scores, inside the compiled graph and without sorting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

_SMALLEST = -(2**31)


def top_k_masks(scores: Sequence[Any], keeps: Any, costs: Sequence[Any], joint: bool) -> list[Any]:
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
    if joint and len(scores) > 1:
        sizes = [int(score.shape[0]) for score in scores]
        (mask,) = top_k_masks([ops.concatenate(scores)], keeps, [_joined(costs, sizes)], False)
        return ops.split(mask, np.cumsum(sizes)[:-1].tolist())
    keys = [_ordered_bits(score) for score in scores]
    keeps = ops.cast(keeps, "int32")

    def cost(marked: Any, i: int) -> Any:
        count = ops.cast(marked, "int32")
        return count if isinstance(costs[i], int) and costs[i] == 1 else count * costs[i]

    def decide_one_bit(bit: Any, thresholds: Any) -> Any:
        candidates = thresholds + ops.left_shift(ops.ones((), "int32"), 31 - bit)
        above = [ops.sum(cost(key >= candidates[i], i)) for i, key in enumerate(keys)]
        return ops.where(ops.stack(above) >= keeps, candidates, thresholds)

    thresholds = ops.fori_loop(0, 32, decide_one_bit, ops.full((len(keys),), _SMALLEST, "int32"))
    masks = []
    for i, key in enumerate(keys):
        above, ties = key > thresholds[i], ops.equal(key, thresholds[i])
        room = keeps[i] - ops.sum(cost(above, i))
        first_ties = ops.logical_and(ties, ops.cumsum(cost(ties, i)) <= room)
        masks.append(ops.logical_or(above, first_ties))
    return masks


def _joined(costs: Sequence[Any], sizes: Sequence[int]) -> Any:
    if all(isinstance(cost, int) and cost == costs[0] for cost in costs):
        return costs[0]
    return np.concatenate(
        [np.broadcast_to(cost, (size,)) for cost, size in zip(costs, sizes, strict=True)]
    ).astype("int32")


def _ordered_bits(score: Any) -> Any:
    """A float32 tensor as int32 with the same order (negative zero just below zero)."""
    bits = ops.view(ops.cast(score, "float32"), "int32")
    return ops.where(bits < 0, ops.bitwise_xor(bits, 2**31 - 1), bits)
