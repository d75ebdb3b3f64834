"""One-shot compression of a model by an operator, outside of training."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops
from typing_extensions import Unpack

from keras_sparse.messages.keywords import known_keywords
from keras_sparse.posttrain.pruned_weights import check_finite
from keras_sparse.probe.nonzeros import count_nonzero
from keras_sparse.sparsity.operators import get_operator
from keras_sparse.sparsity.recipe import Recipe, RecipeArguments
from keras_sparse.sparsity.report import SparsityReport, report


@known_keywords(RecipeArguments)
def compress(
    model: keras.Model, operator: Any, **kwargs: Unpack[RecipeArguments]
) -> SparsityReport:
    """Prunes or rounds the weights of a model at once and in place.

    By a sparsity or an n:m pattern it is `prune`; by a number of bits it rounds each kernel,
    symmetrically and by output channel. Activations stay as they are, and so do biases and
    normalization, so that the model remains a float model that computes with few levels.

    ```python
    ks.compress(model, "4bit")
    ks.compress(model, ks.TopK(0.8, granularity="4x1"), allocation="uniform")
    ks.batch_norm_tuning(model, x[:1000])
    ```

    Args:
        model: A built Keras model of any kind.
        operator: A sparsity such as 0.9, a pattern such as `"2:4"`, bits such as `"4bit"`,
            `TopK(...)` or `Quantize(...)`.
        **kwargs: `allocation`, `exclude`, `include`, `keep_dense`, `strict`: see
            `SparseCallback`.

    Returns:
        A `SparsityReport` of the compressed model.

    Raises:
        ValueError: For arguments out of range, an operator that does not fit a layer, or a model
            with nothing to compress or with weights that are not finite.

    Source: Peste et al. (2023), 5.4.1.
    """
    chosen = get_operator(operator)
    recipe = Recipe(None, sparsity_required=False, **kwargs)
    selection = recipe.select(model)
    check_finite(model)
    variables = selection.variables(model)
    layouts = selection.layouts
    weights = [ops.convert_to_tensor(variable) for variable in variables]
    values = chosen.bind(recipe, selection).compress(weights, layouts)
    recipe.check_filled(selection, [count_nonzero(value) for value in values])
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return report(
        model, exclude=recipe.exclude, include=recipe.include, keep_dense=recipe.keep_dense
    )
