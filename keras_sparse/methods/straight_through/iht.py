"""IHT: iterative hard thresholding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_sparse.engine.rule import Tensors
from keras_sparse.engine.rules.dense_learning import TopKMasks
from keras_sparse.methods.straight_through.base import TopKCallback


@keras.saving.register_keras_serializable(package="keras_sparse")
class IHTRule(TopKMasks):
    """`theta <- T_k(theta - eta g)`: a dense step, then all but the largest weights go."""

    def learning_gradients(self, gradients: Sequence[Any], tensors: Tensors) -> Sequence[Any]:
        """All gradients, those of pruned weights included."""
        return gradients

    def trained_weights(
        self, masks: Sequence[np.ndarray], state: Mapping[str, Sequence[np.ndarray]]
    ) -> Sequence[float]:
        """All weights."""
        return [float(mask.size) for mask in masks]


class IHT(TopKCallback):
    """Iterative hard thresholding: a dense step, then all but the largest weights are cut off.

    A pruned weight returns if a single step makes it one of the largest; what it loses otherwise
    is gone, unlike with `STE`. Use an optimizer without momentum for the algorithm of the
    theory.

    ```python
    model.compile(keras.optimizers.SGD(0.1), loss)
    model.fit(x, y, epochs=30, callbacks=[ks.IHT(sparsity=0.9)])
    ```

    Args:
        sparsity: Fraction of weights to remove, in [0, 1). Left out with
            `granularity=NM(n, m)`, which fixes it, or with a mapping as `allocation`.
        every: Time between two cuts; in between all weights are those last kept and whatever
            their gradients made of the others is cut at the end of each step. Defaults to every
            step.
        **kwargs: `granularity`, `allocation` (here `"uniform"` by default; `"global"` is the
            theory's), `exclude`, `include`, `keep_dense`, `strict`, `seed`: see `SparseCallback`.

    Raises:
        ValueError: At construction for arguments out of range; before the first step for a model
            with nothing to prune.

    Source: Peste (2023), eq. 3.2 and 3.3.
    """

    command = "iht"

    rule_class = IHTRule
