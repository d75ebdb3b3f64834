"""L0: gates that are open or closed at random, and a penalty on the open ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from typing_extensions import Unpack

from keras_sparse.engine.rule import Clock, Rule, Tensors
from keras_sparse.messages.arguments import number, optional
from keras_sparse.methods.sampled.base import (
    PARAMETER,
    SampledWeights,
    SparsityFollows,
    default_rate,
)
from keras_sparse.sparsity.bundles import Bundles
from keras_sparse.sparsity.duration import Run
from keras_sparse.sparsity.masks import apply_mask
from keras_sparse.sparsity.recipe import CommonArguments
from keras_sparse.sparsity.selection import Selection

BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1
_GATES = "gates"


def hard_concrete(log_alpha: Any, u: Any) -> tuple[Any, Any]:
    """A gate and its slope, drawn by a uniform number.

    `s = sigmoid((ln u - ln(1 - u) + log_alpha) / beta)`,
    `z = clip(s (zeta - gamma) + gamma, 0, 1)`.

    Args:
        log_alpha: Float tensor, the gates' parameters.
        u: Uniform numbers in [0, 1) of the same shape.

    Returns:
        `z`, and its derivative by `log_alpha`: 0 where z is exactly 0 or 1.

    Source: Louizos, Welling and Kingma (2018), eqs. 10 and 11.
    """
    s = ops.sigmoid((ops.log(u) - ops.log(1 - u) + log_alpha) / BETA)
    stretched = s * (ZETA - GAMMA) + GAMMA
    inside = ops.logical_and(stretched > 0, stretched < 1)
    slope = (ZETA - GAMMA) * s * (1 - s) / BETA
    return ops.clip(stretched, 0.0, 1.0), apply_mask(slope, inside)


def open_probability(log_alpha: Any) -> Any:
    """`P(z != 0) = sigmoid(log_alpha - beta ln(-gamma / zeta))`.

    Source: Louizos, Welling and Kingma (2018), eq. 12.
    """
    return ops.sigmoid(log_alpha - BETA * math.log(-GAMMA / ZETA))


def settled_gate(log_alpha: Any) -> Any:
    """The gate of a model in use, `clip(sigmoid(log_alpha) (zeta - gamma) + gamma, 0, 1)`.

    Source: Louizos, Welling and Kingma (2018), eq. 13.
    """
    return ops.clip(ops.sigmoid(log_alpha) * (ZETA - GAMMA) + GAMMA, 0.0, 1.0)


@keras.saving.register_keras_serializable(package="keras_sparse")
class L0Rule(SampledWeights):
    """`min E[L(w z)] + lambda sum P(z != 0)`, with a hard concrete gate z for each weight."""

    def __init__(
        self, rate: float, seed: int = 0, penalty: float = 0.0, closed: float = 0.1
    ) -> None:
        super().__init__(rate, seed)
        self.penalty, self.closed = penalty, closed

    def first_parameters(self, weights: Sequence[Any]) -> list[Any]:
        """`log_alpha = ln((1 - p) / p)`."""
        first = math.log((1 - self.closed) / self.closed)
        return [ops.full_like(weight, first) for weight in weights]

    def initial_state(self, weights: Sequence[Any]) -> Mapping[str, Sequence[Any]]:
        """The parameters, and the gates of the latest step."""
        gates = [ops.ones_like(weight) for weight in weights]
        return {**super().initial_state(weights), _GATES: gates}

    def _drawn(self, step: Any, bundles: Bundles, parameters: Sequence[Any]) -> list[Any]:
        drawn = zip(parameters, bundles.uniform(self.seed, step), strict=True)
        return [hard_concrete(a, ops.cast(u, a.dtype)) for a, u in drawn]

    def slopes(
        self, clock: Clock, tensors: Tensors, bundles: Bundles
    ) -> tuple[list[Any], Mapping[str, Sequence[Any]]]:
        """`g w dz/dlog_alpha + lambda P (1 - P)`, with g the gradient at `w z`; and the z."""
        drawn = self._drawn(clock.step, bundles, tensors.state[PARAMETER])
        slopes = []
        for g, w, a, (_, slope) in zip(
            tensors.gradients, tensors.weights, tensors.state[PARAMETER], drawn, strict=True
        ):
            p = open_probability(a)
            slopes.append(g * w * slope + self.penalty * p * (1 - p))
        return slopes, {_GATES: [z for z, _ in drawn]}

    def learning_gradients(self, gradients: Sequence[Any], tensors: Tensors) -> Sequence[Any]:
        """`dw = g z`."""
        return [g * z for g, z in zip(gradients, tensors.state[_GATES], strict=True)]

    def kept(self, weights: Sequence[Any], parameters: Sequence[Any]) -> list[Any]:
        """Where the gate of the model in use is open."""
        return [settled_gate(a) > 0 for a in parameters]

    def effective(self, clock: Clock, tensors: Tensors) -> Sequence[Any]:
        """`w z`, with gates drawn for the next step."""
        bundles = Bundles(tensors.weights)
        drawn = self._drawn(clock.step + 1, bundles, bundles.join(tensors.state[PARAMETER]))
        pairs = zip(bundles.join(tensors.weights), drawn, strict=True)
        return bundles.split([w * z for w, (z, _) in pairs])

    def evaluated(self, tensors: Tensors) -> Sequence[Any]:
        """`w` times the settled gates."""
        gates = [settled_gate(a) for a in tensors.state[PARAMETER]]
        return [apply_mask(w * z, z > 0) for w, z in zip(tensors.weights, gates, strict=True)]

    def computed_weights(
        self,
        nonzeros: Sequence[float],
        masks: Sequence[np.ndarray],
        state: Mapping[str, Sequence[np.ndarray]],
    ) -> Sequence[float]:
        """As many as gates are expected to be open."""
        return self.trained_weights(masks, state)

    def trained_weights(
        self, masks: Sequence[np.ndarray], state: Mapping[str, Sequence[np.ndarray]]
    ) -> Sequence[float]:
        """Those with an open gate: behind a closed one neither weight nor gate has a gradient."""
        open_ = [ops.convert_to_numpy(open_probability(a)) for a in state[PARAMETER]]
        return [float(np.sum(p)) for p in open_]


class L0(SparsityFollows):
    """Learns for each weight how likely it is needed, by gates that open and close at random.

    Each weight is multiplied by a gate in [0, 1], drawn anew at every step from a distribution
    that is exactly 0 or 1 with some probability (hard concrete). What is learned, besides the
    weights, is a parameter of each gate; a penalty on the expected number of open gates closes
    those that the loss does not hold open. How sparse the model gets comes of this and cannot be
    set: tune `penalty`.

    ```python
    model.fit(x, y, epochs=30, callbacks=[ks.L0(penalty=1e-4)])
    ```

    From the end of an epoch to the beginning of the next the model has settled gates, which are
    not drawn: validation, checkpoints of that time and the final model have exact zeros, and the
    weights that are left are multiplied by gates up to 1. In the middle of an epoch the model has
    drawn ones. `train_flops_ratio` counts the gates that are expected to be open.

    The gates have an Adam optimizer of their own; twenty bytes more for each weight.

    Args:
        penalty: lambda of `lambda sum P(gate is open)` in the mean loss of a sample, >= 0. The
            source's lambda divided by the number of training samples.
        gate_learning_rate: Of the gates' parameters, greater than 0. Defaults to 20 divided by
            the steps of the run: Adam can then open or close any gate in a part of the run.
        initial_dropout: p in (0, 1), from which gates start at `log_alpha = ln((1 - p) / p)`.
            Small for a trained model; the source has 0.2 to 0.5 from scratch.
        **kwargs: `exclude`, `include`, `keep_dense`, `strict`, `seed`: see `SparseCallback`.

    Raises:
        ValueError: At construction for arguments out of range, or if a sparsity is asked for;
            before the first step for a model with nothing to prune.

    Source: Louizos, Welling and Kingma (2018), with beta 2/3, gamma -0.1, zeta 1.1 and a gate
    for each single weight.
    """

    command = "l0"

    knobs = "penalty"

    def __init__(
        self,
        penalty: float = 1e-4,
        gate_learning_rate: float | None = None,
        initial_dropout: float = 0.1,
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.penalty = number("penalty", penalty, "[0, inf)")
        rate = optional(number, "gate_learning_rate", gate_learning_rate, "(0, inf)")
        self.gate_learning_rate = rate
        self.initial_dropout = number("initial_dropout", initial_dropout, "(0, 1)")

    def make_rule(self, run: Run, selection: Selection, final: np.ndarray) -> Rule:
        """A gate for each weight."""
        rate = self.gate_learning_rate or default_rate(run.steps)
        return L0Rule(rate, self.seed or 0, self.penalty, self.initial_dropout)

    def epoch_logs(self, epoch: int, logs: dict[str, float]) -> dict[str, float]:
        """The expected fraction of open gates."""
        gates = [ops.convert_to_numpy(v) for v in self.optimizer.state[PARAMETER]]
        open_ = self.optimizer.rule.trained_weights([], {PARAMETER: gates})
        return {"l0_open": float(sum(open_) / sum(gate.size for gate in gates))}
