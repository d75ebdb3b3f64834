"""SAM: sharpness-aware minimization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from typing_extensions import Unpack

from keras_sparse.engine.callback import SparseCallback
from keras_sparse.engine.rule import Clock, Rule, Tensors
from keras_sparse.methods.compression_aware.base import check_rho
from keras_sparse.methods.compression_aware.two_gradients import Point, TwoGradientRule, ascended
from keras_sparse.sparsity.duration import Run
from keras_sparse.sparsity.recipe import CommonArguments, Recipe
from keras_sparse.sparsity.selection import Selection


@keras.saving.register_keras_serializable(package="keras_sparse")
class SAMRule(TwoGradientRule):
    """`theta <- theta - eta grad L(theta + rho g / ||g||)`, g the gradient at theta."""

    def __init__(self, rho: float) -> None:
        self.rho = rho

    def second_point(
        self, clock: Clock, weights: Sequence[Any], gradients: Sequence[Any], tensors: Tensors
    ) -> Point:
        """`theta + rho g / ||g||`."""
        return Point(ascended(weights, gradients, self.rho, normalize=True))


class SAM(SparseCallback):
    """Sharpness-aware minimization: trains a dense model towards a flat minimum.

    Each step moves the weights along their gradient to a distance of rho and takes the gradient
    there, on the same batch. Flat minima lose less when pruned in one shot, though more than
    those of `CrAM`. A step costs two steps of plain training.

    ```python
    model.fit(x, y, epochs=30, callbacks=[ks.SAM(rho=0.05)])
    ```

    Args:
        rho: The distance, in the Euclidean norm over all weights, greater than 0.
        **kwargs: `exclude`, `include`, `keep_dense`: which weights the logged sparsity counts.

    Raises:
        ValueError: At construction for arguments out of range; before the first step for a model
            with a `train_step` of its own.

    Source: Foret et al. (2021); Peste et al. (2023), equation C.2.
    """

    command = "sam"

    @classmethod
    def for_run(cls, sparsity: float | None = None, granularity: Any = None, **common: Any) -> SAM:
        """The model is dense; what it is pruned to afterwards is checked before."""
        Recipe(sparsity, granularity=granularity, **{k: common[k] for k in common if k != "seed"})
        return cls(**common)

    ends_sparse: ClassVar[bool] = False

    def __init__(self, rho: float = 0.05, **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(**kwargs)
        self.rho = check_rho(rho)

    @property
    def sparsity_required(self) -> bool:
        """Whether there must be a sparsity."""
        return False

    def make_rule(self, run: Run, selection: Selection, final: np.ndarray) -> Rule:
        """Two gradients a step."""
        return SAMRule(self.rho)
