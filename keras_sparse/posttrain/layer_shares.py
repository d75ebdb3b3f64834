"""How a sparsity is shared out over layers that are then pruned one by one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from keras import ops

from keras_sparse.posttrain.pruned_weights import PrunedWeights
from keras_sparse.sparsity.granularity import NM
from keras_sparse.sparsity.saliency import layer_adaptive
from keras_sparse.sparsity.top_k import top_k_masks


def layer_budget(chosen: PrunedWeights, squares: Sequence[np.ndarray]) -> np.ndarray:
    """What each layer keeps: a row of `PrunedWeights.budgets` with a count for each.

    With allocation `"global"` all layers are ranked together by what a weight adds to its layer's
    outputs, `W_ij^2 ||X_j||^2`, relative to the sum over all weights of the layer that add at
    least as much. Only the counts follow from this ranking: which weights of a layer stay is the
    method's own choice. With another allocation, or n:m, the counts are those of that.

    Args:
        chosen: The weights to prune.
        squares: For each of them `||X_j||^2`, what `W_j` is multiplied with, squared and summed
            up over all samples; arrays that broadcast to the weights' shapes. Ones where inputs
            cannot be seen.

    Returns:
        Integers of shape `(targets,)`.

    Raises:
        ValueError: If inputs are not finite or all zero.

    Source: Lee et al. (2021), with the scores of Sun et al. (2023), section 3, for magnitudes.
    """
    recipe, layouts = chosen.recipe, chosen.layouts
    (budget,) = chosen.budgets()
    each = (chosen.read_one(i) ** 2 * square for i, square in enumerate(squares))
    if not recipe.joint or isinstance(recipe.granularity, NM):
        chosen.check_scores(each)
        return np.broadcast_to(budget, len(layouts))
    added, own = list(each), [weight**2 for weight in chosen.read()]
    chosen.check_scores(added)
    costs = [recipe.granularity.costs(layout) for layout in layouts]
    units = []
    for layout, cost, scores, magnitudes in zip(layouts, costs, added, own, strict=True):
        ranked = scores if scores.any() else magnitudes  # a layer whose inputs are all zero
        largest = max(float(ranked.max()), np.finfo(float).tiny)
        scores = ops.convert_to_tensor(ranked / largest, "float32")
        pooled = ops.convert_to_numpy(recipe.granularity.pool(scores, layout))
        units.append(ops.convert_to_tensor(layer_adaptive(pooled, cost)))
    kept = top_k_masks(units, budget, costs, joint=True)
    return np.array(
        [
            int(np.sum(ops.convert_to_numpy(mask) * cost))
            for mask, cost in zip(kept, costs, strict=True)
        ]
    )
