"""SR-STE: n:m training with a sparse-refined straight-through gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike
from typing_extensions import Unpack

from keras_sparse.engine.rule import Tensors
from keras_sparse.engine.rules.dense_learning import DenseLearning, TopKMasks
from keras_sparse.messages.arguments import number
from keras_sparse.methods.straight_through.base import TopKCallback
from keras_sparse.sparsity.allocation import Allocation
from keras_sparse.sparsity.duration import Run
from keras_sparse.sparsity.granularity import Granularity
from keras_sparse.sparsity.recipe import LayerArguments
from keras_sparse.sparsity.selection import Selection


@keras.saving.register_keras_serializable(package="keras_sparse")
class SRSTERule(DenseLearning, TopKMasks):
    """`theta <- theta - eta (g + lambda (1 - m) theta)`, g the gradient at `m theta`."""

    uses_gradients = True

    def __init__(
        self,
        budget: ArrayLike,
        granularity: Granularity,
        joint: bool,
        every: int = 1,
        decay: float = 2e-4,
    ) -> None:
        super().__init__(budget, granularity, joint, every)
        self.decay = decay

    def learning_gradients(self, gradients: Sequence[Any], tensors: Tensors) -> Sequence[Any]:
        """The straight-through gradient, and a pull of pruned weights towards zero."""
        return [
            g + self.decay * ops.where(mask, ops.zeros_like(w), w)
            for g, w, mask in zip(gradients, tensors.weights, tensors.masks, strict=True)
        ]


class SRSTEArguments(LayerArguments, total=False):
    """The common arguments that `SRSTE` does not name itself."""

    allocation: Allocation
    seed: int | None


class SRSTE(TopKCallback):
    """Trains n:m patterns from scratch: straight-through, with a decay of what is pruned.

    Like `STE`, and pruned weights are pulled towards zero besides, which keeps masks from
    changing back and forth.

    ```python
    model.fit(x, y, epochs=30, callbacks=[ks.SRSTE()])  # 2:4
    model.fit(x, y, epochs=30, callbacks=[ks.SRSTE(granularity="1:4", exclude="conv1")])
    ```

    Args:
        sparsity: Fraction of weights to remove, for a granularity that does not fix it.
        decay: lambda, >= 0, the strength of the pull.
        every: Time between mask updates. Defaults to every step.
        granularity: Defaults to `"2:4"`.
        **kwargs: `allocation` (here `"uniform"` by default), `exclude`, `include`, `keep_dense`,
            `strict`, `seed`: see `SparseCallback`.

    Raises:
        ValueError: At construction for arguments out of range; before the first step for a layer
            that does not fit the pattern.

    Source: Zhou et al. (2021).
    """

    command = "sr_ste"

    rule_class = SRSTERule

    def __init__(
        self,
        sparsity: float | None = None,
        decay: float = 2e-4,
        every: Any = "1st",
        granularity: Granularity | str = "2:4",
        **kwargs: Unpack[SRSTEArguments],
    ) -> None:
        super().__init__(sparsity, every, granularity=granularity, **kwargs)
        self.decay = number("decay", decay, "[0, inf)")

    def rule_arguments(self, run: Run, selection: Selection, final: np.ndarray) -> dict[str, Any]:
        """The decay."""
        return {"decay": self.decay}
