"""SET: sparse evolutionary training."""

from __future__ import annotations

from typing import Any

import keras
from typing_extensions import Unpack

from keras_sparse.methods.exploration.base import DropAndGrow, Exploration
from keras_sparse.sparsity.recipe import CommonArguments


@keras.saving.register_keras_serializable(package="keras_sparse")
class SETRule(DropAndGrow):
    """In each tensor the smallest weights go, and as many grow at random."""


class SET(Exploration):
    """Sparse evolutionary training: after each epoch small weights move to random places.

    Training starts from random masks. In each tensor a fraction of the kept weights, the smallest,
    is dropped, and as many grow at random positions, from zero. The number of weights of each
    tensor never changes, and no step is ever dense.

    ```python
    model.fit(x, y, epochs=30, callbacks=[ks.SET(sparsity=0.9)])
    ```

    Args:
        sparsity: Fraction of weights to remove, in [0, 1). Left out with a mapping as
            `allocation`.
        drop_fraction: Fraction of the kept weights that an update drops, in (0, 1).
        every: Time between updates. Defaults to an epoch.
        end: When the last update may be. Defaults to the end, so that the last epoch keeps its
            masks.
        **kwargs: `granularity`, `allocation` (here `"er"` by default), `exclude`, `include`,
            `keep_dense`, `strict`, `seed`: see `SparseCallback`.

    Raises:
        ValueError: At construction for arguments out of range; before the first step if no update
            would fall within the run.

    Source: Mocanu et al. (2018); weights are dropped by magnitude, as is done in practice.
    """

    command = "set"

    rule_class = SETRule

    def __init__(
        self,
        sparsity: float | None = None,
        drop_fraction: float = 0.3,
        every: Any = 1,
        end: Any = "100%",
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        kwargs.setdefault("allocation", "er")
        super().__init__(sparsity, drop_fraction, every, end, **kwargs)
