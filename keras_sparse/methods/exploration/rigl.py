"""RigL: rigging the lottery."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from typing_extensions import Unpack

from keras_sparse.engine.rule import Clock, Tensors
from keras_sparse.methods.exploration.base import DropAndGrow, Exploration, cosine_fractions
from keras_sparse.sparsity.recipe import CommonArguments


@keras.saving.register_keras_serializable(package="keras_sparse")
class RigLRule(DropAndGrow):
    """In each tensor the smallest weights go, and as many grow where the gradient is largest."""

    uses_gradients = True

    def grow_scores(self, clock: Clock, tensors: Tensors) -> Sequence[Any]:
        """The dense gradient."""
        return tensors.gradients


class RigL(Exploration):
    """Rigging the lottery: small weights move to where the gradient is largest.

    Training starts from random masks. Every so often, in each tensor, a fraction of the kept
    weights, the smallest, is dropped, and as many grow where the dense gradient of that step,
    of the whole batch on all replicas, is largest in magnitude; they start from zero, with the
    optimizer's moments at zero. The fraction falls along a cosine,
    `f(t) = a / 2 (1 + cos(pi t / T_end))`. Only the steps of an update are dense.

    ```python
    model.fit(x, y, epochs=30, callbacks=[ks.RigL(sparsity=0.9)])
    model.fit(x, y, epochs=30, callbacks=[ks.RigL(0.9, allocation="uniform", keep_dense="first")])
    ```

    The batch of an update also takes an ordinary step on the weights kept (the source skips it).

    Args:
        sparsity: Fraction of weights to remove, in [0, 1). Left out with a mapping as
            `allocation`.
        drop_fraction: `a`, the fraction of the kept weights that a first update would drop.
        every: Time between updates, the source's delta T. Defaults to 100 steps, or a twentieth of
            the run where that is less.
        end: When updates end, the source's T_end. Defaults to three quarters of the run.
        **kwargs: `granularity`, `allocation` (here `"erk"` by default), `exclude`, `include`,
            `keep_dense`, `strict`, `seed`: see `SparseCallback`.

    Raises:
        ValueError: At construction for arguments out of range; before the first step if no update
            would fall within the run.

    Source: Evci et al. (2020).
    """

    command = "rigl"

    rule_class = RigLRule

    def __init__(
        self,
        sparsity: float | None = None,
        drop_fraction: float = 0.3,
        every: Any = None,
        end: Any = "75%",
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        kwargs.setdefault("allocation", "erk")
        super().__init__(sparsity, drop_fraction, every, end, **kwargs)

    def fractions(self, steps: np.ndarray, last: int) -> np.ndarray:
        """Cosine decay to zero."""
        return cosine_fractions(self.drop_fraction, steps, last)
