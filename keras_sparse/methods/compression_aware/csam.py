"""C-SAM: sharpness-aware minimization of the compressed model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from typing_extensions import Unpack

from keras_sparse.engine.rule import Clock, Rule, Tensors
from keras_sparse.methods.compression_aware.base import CompressionAwareCallback, check_rho
from keras_sparse.methods.compression_aware.drawn_operators import DrawnOperators
from keras_sparse.methods.compression_aware.two_gradients import Point, TwoGradientRule, ascended
from keras_sparse.sparsity.duration import Run
from keras_sparse.sparsity.operators import Compression
from keras_sparse.sparsity.recipe import CommonArguments
from keras_sparse.sparsity.selection import Selection


@keras.saving.register_keras_serializable(package="keras_sparse")
class CSAMRule(TwoGradientRule):
    """`theta <- theta - eta grad L_C(theta + rho h / ||h||)`, h the gradient of `L_C` at theta.

    `L_C(theta) = L(C(theta))`, whose gradient is the one at the compressed weights, masked.
    """

    def __init__(self, operators: Sequence[Compression], seed: int = 0, rho: float = 0.05) -> None:
        self.operators, self.seed = list(operators), seed
        self.choice = DrawnOperators(self.operators, seed)
        self.rho = rho

    @property
    def passes(self) -> float:
        """Two, and a forward pass of the dense model for its statistics."""
        return 2 + 1 / 3

    def _compressed(self, clock: Clock, values: Sequence[Any]) -> Point:
        drawn = self.choice.drawn(clock.step)
        pruned = [values[i] for i in self.indices]
        masks = self.choice.masks(drawn, pruned, self.layouts)
        compressed = self.choice.compress(drawn, pruned, masks, self.layouts)
        return Point(self.with_pruned(values, compressed), masks)

    def first_point(self, clock: Clock, weights: Sequence[Any], tensors: Tensors) -> Point:
        """`C(theta)`."""
        return self._compressed(clock, weights)

    def second_point(
        self, clock: Clock, weights: Sequence[Any], gradients: Sequence[Any], tensors: Tensors
    ) -> Point:
        """`C(theta + rho h / ||h||)`."""
        return self._compressed(clock, ascended(weights, gradients, self.rho, normalize=True))


class CSAM(CompressionAwareCallback):
    """Compressed SAM: trains a dense model towards minima that are flat once it is compressed.

    As `CrAM` with masked gradients, but the gradient that perturbs the weights is itself taken at
    the compressed weights, and normalized. The dense model is run as well, for its statistics and
    metrics: a step costs 2 1/3 steps of plain training (3 with `run_eagerly`).

    ```python
    model.fit(x, y, epochs=30, callbacks=[ks.CSAM([0.5, 0.7, 0.9])])
    ```

    Args:
        sparsities: As in `CrAM`.
        rho: The distance of the perturbation, in the Euclidean norm over all weights, greater
            than 0.
        operators: As in `CrAM`.
        **kwargs: `granularity` and `allocation` of the sparsities, `exclude`, `include`,
            `keep_dense`, `strict`, `seed`: see `SparseCallback`.

    Raises:
        ValueError: As `CrAM` does.

    Source: Peste et al. (2023), equation 5.7.
    """

    command = "csam"

    def __init__(
        self,
        sparsities: Sequence[float] | float | None = None,
        rho: float = 0.05,
        operators: Sequence[Any] | Any = (),
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        super().__init__(sparsities, operators, **kwargs)
        self.rho = check_rho(rho)

    def make_rule(self, run: Run, selection: Selection, final: np.ndarray) -> Rule:
        """Two gradients a step."""
        return CSAMRule(self.bound(selection), self.seed or 0, self.rho)
