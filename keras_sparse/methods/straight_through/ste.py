"""STE: masks of the largest weights, with the straight-through gradient."""

from __future__ import annotations

from typing import Any

import keras
from typing_extensions import Unpack

from keras_sparse.engine.rules.dense_learning import DenseLearning, TopKMasks
from keras_sparse.methods.straight_through.base import TopKCallback
from keras_sparse.sparsity.recipe import CommonArguments


@keras.saving.register_keras_serializable(package="keras_sparse")
class STERule(DenseLearning, TopKMasks):
    """`theta <- theta - eta grad L(C(theta))`, C keeping the largest weights."""


class STE(TopKCallback):
    """Computes with the largest weights and learns all of them (Top-K training).

    In each forward pass only the largest weights count. The gradient at these effective weights
    is applied to all weights, as if pruning were not there (straight-through), so that a pruned
    weight can grow back. At the end the model holds the effective weights.

    ```python
    model.fit(x, y, epochs=30, callbacks=[ks.STE(sparsity=0.9)])
    model.fit(x, y, epochs=30, callbacks=[ks.STE(granularity="2:4")])
    ```

    Args:
        sparsity: Fraction of weights to remove, in [0, 1). Left out with
            `granularity=NM(n, m)`, which fixes it, or with a mapping as `allocation`.
        every: Time between mask updates. Defaults to every step.
        **kwargs: `granularity`, `allocation` (here `"uniform"` by default, as DNW has it),
            `exclude`, `include`, `keep_dense`, `strict`, `seed`: see `SparseCallback`.

    Raises:
        ValueError: At construction for arguments out of range; before the first step for a model
            with nothing to prune.

    Source: Peste (2023), eq. 5.8 (Top-K); Wortsman et al. (2019) for DNW.
    """

    command = "ste"

    rule_class = STERule

    def __init__(
        self, sparsity: float | None = None, every: Any = "1st", **kwargs: Unpack[CommonArguments]
    ) -> None:
        super().__init__(sparsity, every, **kwargs)
