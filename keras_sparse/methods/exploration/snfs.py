"""SNFS: sparse networks from scratch, also called sparse momentum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from typing_extensions import Unpack

from keras_sparse.engine.rule import Clock, Tensors
from keras_sparse.methods.exploration.base import (
    DropAndGrow,
    Exploration,
    cosine_fractions,
)
from keras_sparse.methods.exploration.redistribution import share_out
from keras_sparse.sparsity.masks import kept_counts
from keras_sparse.sparsity.recipe import CommonArguments
from keras_sparse.sparsity.saliency import magnitude

_DECAY = 0.9


@keras.saving.register_keras_serializable(package="keras_sparse")
class SNFSRule(DropAndGrow):
    """Weights grow where the mean gradient is large, in tensors where it is large."""

    uses_gradients = True

    def initial_state(self, weights: Sequence[Any]) -> Mapping[str, Sequence[Any]]:
        """The mean gradient, zero."""
        return {"mean_gradient": [ops.zeros_like(weight) for weight in weights]}

    def update_state(self, clock: Clock, tensors: Tensors) -> Mapping[str, Sequence[Any]]:
        """An exponential moving average of the dense gradient."""
        pairs = zip(tensors.state["mean_gradient"], tensors.gradients, strict=True)
        return {"mean_gradient": [_DECAY * m + (1 - _DECAY) * g for m, g in pairs]}

    def grow_scores(self, clock: Clock, tensors: Tensors) -> Sequence[Any]:
        """The mean gradient."""
        return tensors.state["mean_gradient"]

    def growth(self, kept: Sequence[Any], tensors: Tensors, active: Any) -> Any:
        """All that was dropped, in proportion to the mean of |mean gradient| at kept weights."""
        left, sizes = kept_counts(kept), np.array([layout.size for layout in self.layouts])
        total = ops.sum(active) - ops.sum(left)
        mass = ops.stack(
            [
                ops.sum(ops.where(mask, value, ops.zeros_like(value)))
                for mask, value in zip(kept, magnitude(tensors.state["mean_gradient"]), strict=True)
            ]
        )
        mean = mass / ops.cast(ops.maximum(left, 1), mass.dtype)
        return share_out(total, mean, sizes - left)


class SNFS(Exploration):
    """Sparse networks from scratch: weights move to where the mean gradient is largest.

    Training starts from random masks. After each epoch each tensor loses a fraction of its kept
    weights, the smallest; what all tensors lost is shared out over them in proportion to the mean
    magnitude of their kept weights' mean gradient, and grows where that of a pruned weight is
    largest. The mean gradient is an exponential moving average (0.9) of the dense gradient, so
    every step computes all gradients and each weight takes 4 bytes more.

    ```python
    model.fit(x, y, epochs=30, callbacks=[ks.SNFS(sparsity=0.9)])
    ```

    Args:
        sparsity: Fraction of weights to remove, in [0, 1). Left out with a mapping as
            `allocation`.
        drop_fraction: Fraction of the kept weights that a first update would drop; it falls to
            zero along a cosine.
        every: Time between updates. Defaults to an epoch.
        end: When updates end. Defaults to the end of the run.
        **kwargs: `granularity`, `allocation` (of the first masks, here `"uniform"` by default),
            `exclude`, `include`, `keep_dense`, `strict`, `seed`: see `SparseCallback`.

    Raises:
        ValueError: At construction for arguments out of range; before the first step if no update
            would fall within the run.

    Source: Dettmers and Zettlemoyer (2019).
    """

    command = "snfs"

    rule_class = SNFSRule
    always_dense = True

    def __init__(
        self,
        sparsity: float | None = None,
        drop_fraction: float = 0.5,
        every: Any = 1,
        end: Any = "100%",
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        kwargs.setdefault("allocation", "uniform")
        super().__init__(sparsity, drop_fraction, every, end, **kwargs)

    def fractions(self, steps: np.ndarray, last: int) -> np.ndarray:
        """Cosine decay to zero."""
        return cosine_fractions(self.drop_fraction, steps, last)
