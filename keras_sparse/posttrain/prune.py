"""One-shot pruning of a model, outside of training."""

from __future__ import annotations

import keras
from keras import ops
from typing_extensions import Unpack

from keras_sparse.messages.arguments import one_of, random_seed
from keras_sparse.messages.keywords import known_keywords
from keras_sparse.posttrain.pruned_weights import check_finite
from keras_sparse.probe.nonzeros import count_nonzero
from keras_sparse.sparsity.masks import apply_mask
from keras_sparse.sparsity.recipe import Recipe, RecipeArguments
from keras_sparse.sparsity.report import SparsityReport, report
from keras_sparse.sparsity.saliency import SALIENCIES, scores


@known_keywords(RecipeArguments)
def prune(
    model: keras.Model,
    sparsity: float | None = None,
    *,
    saliency: str = "magnitude",
    seed: int | None = None,
    **kwargs: Unpack[RecipeArguments],
) -> SparsityReport:
    """Sets the least important weights of a model to zero, at once and in place.

    To train on with these zeros, add `StaticMask(mask="current")` to `fit`. A model with batch
    normalization recovers much of what it lost by `batch_norm_tuning` alone.

    ```python
    ks.prune(model, sparsity=0.8)
    ks.batch_norm_tuning(model, x[:1000])
    ```

    Args:
        model: A built Keras model of any kind.
        sparsity: Fraction of weights to remove, in [0, 1). Left out with
            `granularity=NM(n, m)`, which fixes it, or with a mapping as `allocation`.
        saliency: `"magnitude"` or `"random"`.
        seed: Seed of random saliency.
        **kwargs: `granularity`, `allocation`, `exclude`, `include`, `keep_dense`, `strict`: see
            `SparseCallback`.

    Returns:
        A `SparsityReport` of the pruned model.

    Raises:
        ValueError: For arguments out of range, or a model with nothing to prune or with weights
            that are not finite.

    Source: Peste (2023), 2.2.1 and 2.2.2.
    """
    one_of("saliency", saliency, SALIENCIES)
    random_seed("seed", seed)
    recipe = Recipe(sparsity, **kwargs)
    selection = recipe.select(model)
    check_finite(model)
    variables = selection.variables(model)
    weights = [ops.convert_to_tensor(variable) for variable in variables]
    masks = recipe.masks(selection, scores(saliency, weights, seed))
    recipe.check_filled(selection, [count_nonzero(mask) for mask in masks])
    for variable, weight, mask in zip(variables, weights, masks, strict=True):
        variable.assign(apply_mask(weight, mask))
    return report(
        model, exclude=recipe.exclude, include=recipe.include, keep_dense=recipe.keep_dense
    )
