"""Masks: chosen from scores, applied to weights, compared with each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_sparse.messages.arguments import wrong
from keras_sparse.probe.layout import Layout
from keras_sparse.sparsity.allocation import Allocation, keep_counts
from keras_sparse.sparsity.bundles import Bundles
from keras_sparse.sparsity.granularity import NM, Granularity, Unstructured
from keras_sparse.sparsity.saliency import magnitude
from keras_sparse.sparsity.top_k import top_k_masks


def mask_budgets(
    granularity: Granularity,
    allocation: Allocation,
    layouts: Sequence[Layout],
    sparsities: np.ndarray,
) -> np.ndarray:
    """What each mask update may keep, in the terms that `choose_masks` takes.

    Args:
        granularity: The pruning pattern.
        allocation: How sparsity is shared out over layers.
        layouts: Layouts of the tensors.
        sparsities: Sparsity after each update, shape `(updates,)` or `(updates, tensors)`.

    Returns:
        Integers of shape `(updates, 1)` or `(updates, tensors)`: weights to keep or, for an n:m
        pattern, how many of every m.
    """
    if isinstance(granularity, NM):
        kept = np.ceil((1 - sparsities) * granularity.m - 1e-9).astype(np.int64)
        return np.maximum(kept, granularity.n).reshape(len(sparsities), -1)
    one_unit = [int(np.max(granularity.costs(layout))) for layout in layouts]
    return keep_counts(allocation, layouts, sparsities, at_least=one_unit)


def choose_masks(
    scores: Sequence[Any],
    layouts: Sequence[Layout],
    budget: Any,
    granularity: Granularity,
    joint: bool,
    *,
    absolute: bool = False,
    among: Sequence[Any] | None = None,
) -> list[Any]:
    """Keeps the highest scores that a budget allows. Runs inside the compiled graph.

    Args:
        scores: Float tensors of the weights' shapes.
        layouts: The weights' layouts.
        budget: One row of `mask_budgets`, a tensor or array.
        granularity: The pruning pattern.
        joint: Whether all tensors share one ranking (allocation `"global"`).
        absolute: Whether scores are ranked by their absolute values. They are >= 0 otherwise
            where `among` is given.
        among: Boolean tensors of the weights' shapes: where one is False, the weight ranks below
            all others, whatever its score.

    Returns:
        Boolean tensors of the weights' shapes, True where a weight is kept.
    """
    single = isinstance(granularity, Unstructured)
    if absolute and not single:
        scores, absolute = magnitude(scores), False
    if among is not None and not single:
        pairs = zip(scores, among, strict=True)
        scores, among = [ops.where(mask, s, -ops.ones((), s.dtype)) for s, mask in pairs], None
    if isinstance(granularity, NM):
        budget = ops.broadcast_to(ops.cast(budget, "int32"), (len(layouts),))
        return [
            granularity.mask(score, layout, budget[i])
            for i, (score, layout) in enumerate(zip(scores, layouts, strict=True))
        ]
    units = [granularity.pool(s, layout) for s, layout in zip(scores, layouts, strict=True)]
    costs = [granularity.costs(layout) for layout in layouts]
    among = None if among is None else [ops.reshape(mask, (-1,)) for mask in among]
    chosen = top_k_masks(units, budget, costs, joint, absolute=absolute, among=among)
    return [granularity.expand(u, layout) for u, layout in zip(chosen, layouts, strict=True)]


def largest_masks(
    weights: Sequence[Any],
    layouts: Sequence[Layout],
    budget: Any,
    granularity: Granularity,
    joint: bool,
) -> list[Any]:
    """Keeps the weights of largest magnitude that a budget allows: see `choose_masks`.

    Magnitudes of large tensors are not written out.
    """
    return choose_masks(weights, layouts, budget, granularity, joint, absolute=True)


def prune_further(
    weights: Sequence[Any],
    masks: Sequence[Any],
    layouts: Sequence[Layout],
    budget: Any,
    granularity: Granularity,
    joint: bool,
) -> list[Any]:
    """Masks of the largest of the weights that are not pruned yet.

    A weight that is pruned ranks below every one that is not, whatever its value. Of masks that
    keep what the budget allows, all is kept. The arguments are those of `choose_masks`, and
    `masks`, those in force.
    """
    return choose_masks(weights, layouts, budget, granularity, joint, absolute=True, among=masks)


def kept_counts(masks: Sequence[Any]) -> Any:
    """Kept weights of each tensor, an integer tensor of shape `(tensors,)`."""
    return Bundles(masks).counts(masks)


def apply_mask(tensor: Any, mask: Any) -> Any:
    """The tensor with exact zeros where the mask is False, whatever stood there."""
    return ops.where(mask, tensor, ops.zeros((), tensor.dtype))


def mask_change(before: Sequence[Any], after: Sequence[Any]) -> dict[str, float]:
    """How far two sets of masks differ.

    Args:
        before: Boolean arrays, True where a weight is kept.
        after: Boolean arrays of the same shapes.

    Returns:
        `swapped`, the fraction of the weights kept before that are not kept after;
        `hamming`, the fraction of all positions that differ; `jaccard`, one minus
        intersection over union.

    Raises:
        ValueError: If the shapes differ.

    Source: Peste (2023), 3.4.2 and Figure 3.2b.
    """
    for name, masks in {"before": before, "after": after}.items():
        if not isinstance(masks, Sequence) or isinstance(masks, str):
            raise wrong(name, masks, "a list of boolean arrays")
        if not all(np.isin(np.asarray(mask), (0, 1)).all() for mask in masks):
            raise wrong(name, masks, "a list of boolean arrays")
    if [np.shape(b) for b in before] != [np.shape(a) for a in after]:
        raise ValueError(
            "before and after must be masks of the same shapes. Received: shapes "
            f"{[np.shape(b) for b in before]} and {[np.shape(a) for a in after]}"
        )
    total = kept = dropped = differ = union = 0
    for one, two in zip(before, after, strict=True):
        b, a = np.asarray(one, bool), np.asarray(two, bool)
        total += b.size
        kept += int(b.sum())
        dropped += int((b & ~a).sum())
        differ += int((a ^ b).sum())
        union += int((a | b).sum())
    return {
        "swapped": dropped / kept if kept else 0.0,
        "hamming": differ / total if total else 0.0,
        "jaccard": differ / union if union else 0.0,
    }
