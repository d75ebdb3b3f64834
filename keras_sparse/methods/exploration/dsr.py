"""DSR: dynamic sparse reparameterization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from typing_extensions import Unpack

from keras_sparse.engine.rule import Tensors
from keras_sparse.methods.exploration.base import DropAndGrow, Exploration
from keras_sparse.methods.exploration.redistribution import share_out
from keras_sparse.sparsity.masks import kept_counts, prune_further
from keras_sparse.sparsity.recipe import CommonArguments


@keras.saving.register_keras_serializable(package="keras_sparse")
class DSRRule(DropAndGrow):
    """The smallest weights of all tensors go; tensors that kept more grow more."""

    def keep(self, update: Any, tensors: Tensors, active: Any) -> list[Any]:
        """The largest weights of all tensors together."""
        fraction = ops.take(self.fractions, update)
        in_all = ops.sum(active)
        budget = ops.reshape(in_all - self.dropped(fraction, in_all), (1,))
        return prune_further(
            tensors.weights, tensors.masks, self.layouts, budget, self.granularity, joint=True
        )

    def growth(self, kept: Sequence[Any], tensors: Tensors, active: Any) -> Any:
        """All that was dropped, in proportion to what each tensor kept."""
        left, sizes = kept_counts(kept), np.array([layout.size for layout in self.layouts])
        total = ops.sum(active) - ops.sum(left)
        return share_out(total, left, sizes - left)


class DSR(Exploration):
    """Dynamic sparse reparameterization: weights move between layers as well.

    Training starts from random masks. Every so often a fraction of the kept weights is dropped,
    the smallest of all layers together, and as many grow at random positions, in each layer in
    proportion to the weights that it kept. No step is ever dense. (The source drops what is
    smaller than a threshold that it adapts so that about so many go; here exactly so many go.)

    ```python
    model.fit(x, y, epochs=30, callbacks=[ks.DSR(sparsity=0.9)])
    ```

    Args:
        sparsity: Fraction of weights to remove, in [0, 1). Left out with a mapping as
            `allocation`.
        drop_fraction: Fraction of the kept weights that an update drops, in (0, 1).
        every: Time between updates. Defaults to an epoch.
        end: When updates end. Defaults to three quarters of the run.
        **kwargs: `granularity`, `allocation` (of the first masks, here `"uniform"` by default),
            `exclude`, `include`, `keep_dense`, `strict`, `seed`: see `SparseCallback`.

    Raises:
        ValueError: At construction for arguments out of range; before the first step if no update
            would fall within the run.

    Source: Mostafa and Wang (2019), as in Ma et al. (2022).
    """

    command = "dsr"

    rule_class = DSRRule

    def __init__(
        self,
        sparsity: float | None = None,
        drop_fraction: float = 0.1,
        every: Any = 1,
        end: Any = "75%",
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        kwargs.setdefault("allocation", "uniform")
        super().__init__(sparsity, drop_fraction, every, end, **kwargs)
