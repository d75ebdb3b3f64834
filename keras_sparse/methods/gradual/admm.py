"""ADMM pruning: a quadratic pull towards the nearest sparse weights, then a hard cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike
from typing_extensions import Unpack

from keras_sparse.engine.callback import SparseCallback
from keras_sparse.engine.rule import Clock, Rule, Tensors, Update
from keras_sparse.engine.rules.scheduled_masks import ScheduledMasks
from keras_sparse.messages.arguments import number
from keras_sparse.sparsity.duration import Duration, Run
from keras_sparse.sparsity.granularity import Granularity
from keras_sparse.sparsity.masks import apply_mask, largest_masks
from keras_sparse.sparsity.recipe import CommonArguments
from keras_sparse.sparsity.selection import Selection

_Z, _U = "z", "u"


@keras.saving.register_keras_serializable(package="keras_sparse")
class ADMMRule(ScheduledMasks):
    """Minimizes `L(W) + rho/2 ||W - Z + U||^2`; `Z = prune(W + U)`, `U += W - Z` at each update.

    The last update is the cut: the largest weights are kept, and the pull ends.
    """

    uses_gradients = True
    changes_with_masks = (_Z, _U)

    def __init__(
        self,
        steps: ArrayLike,
        budgets: ArrayLike,
        granularity: Granularity,
        joint: bool,
        resets: ArrayLike | None = None,
        reset_buffers: str = "none",
        rho: float = 1e-3,
    ) -> None:
        super().__init__(steps, budgets, granularity, joint, resets, reset_buffers)
        self.rho = rho

    def initial_state(self, weights: Sequence[Any]) -> Mapping[str, Sequence[Any]]:
        """`Z = prune(W)` and `U = 0`."""
        return {_Z: self._project(weights), _U: [ops.zeros_like(weight) for weight in weights]}

    def _project(self, weights: Sequence[Any]) -> list[Any]:
        masks = largest_masks(weights, self.layouts, self.budgets[-1], self.granularity, self.joint)
        return [apply_mask(w, m) for w, m in zip(weights, masks, strict=True)]

    def update_masks(self, clock: Clock, counters: Mapping[str, Any], tensors: Tensors) -> Update:
        """Moves Z and U; at the last update cuts."""
        cut = super().update_masks(clock, counters, tensors)
        shifted = [w + u for w, u in zip(tensors.weights, tensors.state[_U], strict=True)]
        z = self._project(shifted)
        u = [s - value for s, value in zip(shifted, z, strict=True)]
        return cut._replace(state={_Z: z, _U: u})

    def learning_gradients(self, gradients: Sequence[Any], tensors: Tensors) -> Sequence[Any]:
        """The pull of the quadratic term, as long as nothing is cut."""
        pulled = [
            g + self.rho * (w - z + u)
            for g, w, z, u in zip(
                gradients, tensors.weights, tensors.state[_Z], tensors.state[_U], strict=True
            )
        ]
        whole = ops.all(ops.stack([ops.all(mask) for mask in tensors.masks]))
        return [
            apply_mask(ops.where(whole, p, g), m)
            for p, g, m in zip(pulled, gradients, tensors.masks, strict=True)
        ]


class ADMM(SparseCallback):
    """Pulls dense training towards sparse weights, then cuts and fine-tunes.

    The weights are pulled towards the nearest sparse ones by a quadratic penalty whose target and
    multipliers are moved now and then (alternating direction method of multipliers). At the end
    of that phase the largest weights are kept, and the rest of the run trains them on.

    ```python
    model.fit(x, y, epochs=30, callbacks=[ks.ADMM(sparsity=0.9)])
    ```

    Two tensors of the weights' size are kept besides: 8 bytes more for each weight.

    Args:
        sparsity: Fraction of weights to remove in the end, in [0, 1). Left out with
            `granularity=NM(n, m)`, which fixes it, or with a mapping as `allocation`.
        rho: Strength of the pull, >= 0.
        every: Time between updates of target and multipliers. Defaults to an epoch.
        cut: When weights are cut. Defaults to 70 % of the run.
        **kwargs: `granularity`, `allocation`, `exclude`, `include`, `keep_dense`, `strict`, `seed`:
            see `SparseCallback`.

    Raises:
        ValueError: At construction for arguments out of range; before the first step for a cut
            outside the run or a model with nothing to prune.

    Source: Zhang et al. (2018); Ma et al. (2022), B.1.
    """

    command = "admm"

    def __init__(
        self,
        sparsity: float | None = None,
        rho: float = 1e-3,
        every: Any = 1,
        cut: Any = "70%",
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        super().__init__(sparsity, **kwargs)
        self.rho = number("rho", rho, "[0, inf)")
        self.every, self.cut = Duration.of(every, "every"), Duration.of(cut, "cut")

    def make_rule(self, run: Run, selection: Selection, final: np.ndarray) -> Rule:
        """Updates until the cut, and the cut."""
        cut = self.cut.to_steps(run)
        if cut >= run.steps:
            raise ValueError(
                f"cut={self.cut} is step {cut}, but the run has only {run.steps} steps: weights "
                "would never be cut. Train longer, or give a fraction such as cut='70%'."
            )
        every = max(self.every.to_steps(run), 1)
        steps = np.append(np.arange(every, cut, every), cut)
        sparsities = np.multiply.outer(np.arange(len(steps) + 1) == len(steps), final)
        return ADMMRule(
            steps,
            self.recipe.budgets(selection, sparsities),
            self.recipe.granularity,
            self.recipe.joint,
            rho=self.rho if np.any(final > 0) else 0.0,
        )
