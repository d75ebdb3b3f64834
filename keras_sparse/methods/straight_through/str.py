"""STR: soft threshold weight reparameterization."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from typing_extensions import Unpack

from keras_sparse.engine.buffers import learning_rates
from keras_sparse.engine.callback import SparseCallback
from keras_sparse.engine.rule import Clock, Rule, Tensors, Update
from keras_sparse.engine.rules.dense_learning import DenseLearning
from keras_sparse.engine.rules.learned import momentum_step
from keras_sparse.messages.arguments import number, optional
from keras_sparse.sparsity.duration import Run
from keras_sparse.sparsity.masks import apply_mask
from keras_sparse.sparsity.recipe import CommonArguments
from keras_sparse.sparsity.selection import Selection

SMALLEST = 1e-35  # s starts at its end divided by this at most, in float32
_S, _VELOCITY = "s", "s_velocity"


@keras.saving.register_keras_serializable(package="keras_sparse")
class STRRule(DenseLearning):
    """The model gets `sign(w) relu(|w| - sigmoid(s))`, with one trainable `s` a tensor."""

    uses_gradients = True

    def __init__(
        self, initial: float = -5.0, weight_decay: float = 5e-4, momentum: float = 0.9
    ) -> None:
        self.initial, self.weight_decay, self.momentum = initial, weight_decay, momentum

    def initial_state(self, weights: Sequence[Any]) -> Mapping[str, Sequence[Any]]:
        """All thresholds alike."""
        return {
            _S: [ops.cast(self.initial, weight.dtype) for weight in weights],
            _VELOCITY: [ops.zeros((), weight.dtype) for weight in weights],
        }

    def update_state(self, clock: Clock, tensors: Tensors) -> Mapping[str, Sequence[Any]]:
        """SGD with momentum and weight decay on s, at the optimizer's learning rate."""
        new: dict[str, list[Any]] = {_S: [], _VELOCITY: []}
        for i, (g, w, mask, s, velocity) in enumerate(
            zip(
                tensors.gradients,
                tensors.weights,
                tensors.masks,
                tensors.state[_S],
                tensors.state[_VELOCITY],
                strict=True,
            )
        ):
            slope = s_gradient(g, w, mask, s) + self.weight_decay * s
            s, velocity = momentum_step(s, velocity, slope, clock.rate_of(i), self.momentum)
            new[_S].append(s)
            new[_VELOCITY].append(velocity)
        return new

    def learning_gradients(self, gradients: Sequence[Any], tensors: Tensors) -> Sequence[Any]:
        """`dw = g 1[|w| > t]`."""
        return [apply_mask(g, m) for g, m in zip(gradients, tensors.masks, strict=True)]

    def due(self, step: Any, counters: Mapping[str, Any]) -> Any:
        """At every step."""
        return ops.ones((), "bool")

    def update_masks(self, clock: Clock, counters: Mapping[str, Any], tensors: Tensors) -> Update:
        """What is above its threshold."""
        return Update(above(tensors.weights, tensors.state[_S]), {})

    def effective(self, clock: Clock, tensors: Tensors) -> Sequence[Any]:
        """Soft thresholding."""
        return [
            apply_mask(ops.sign(w) * (ops.abs(w) - ops.sigmoid(s)), m)
            for w, s, m in zip(tensors.weights, tensors.state[_S], tensors.masks, strict=True)
        ]


def above(weights: Sequence[Any], s: Sequence[Any]) -> list[Any]:
    """Where weights exceed `sigmoid(s)` in magnitude."""
    pairs = zip(weights, s, strict=True)
    return [ops.abs(w) > ops.sigmoid(ops.cast(t, w.dtype)) for w, t in pairs]


def s_gradient(gradient: Any, weight: Any, mask: Any, s: Any) -> Any:
    """`ds = -(sum g sign(w) m) t (1 - t)` with `t = sigmoid(s)` and `m = 1[|w| > t]`.

    Source: Kusupati et al. (2020), the gradient of its equation for the weights.
    """
    t = ops.sigmoid(s)
    return -ops.sum(apply_mask(gradient * ops.sign(weight), mask)) * t * (1 - t)


def decayed(learning_rates: Sequence[float], weight_decay: float, momentum: float) -> float:
    """The fraction of s that weight decay alone leaves after the steps of a run.

    Args:
        learning_rates: Of each step.
        weight_decay: lambda of s.
        momentum: That of s, in [0, 1).

    Raises:
        ValueError: If s would swing past 0.
    """
    s, velocity = 1.0, 0.0
    for rate in learning_rates:
        velocity = momentum * velocity + weight_decay * s
        s -= rate * velocity
        if s <= 0:
            raise ValueError(
                f"With momentum={momentum} and a learning rate of {rate:.2g}, STR's weight_decay="
                f"{weight_decay} makes thresholds swing instead of settling. Lower weight_decay, "
                "or the momentum."
            )
    return s


class STR(SparseCallback):
    """Learns a threshold for each layer, and with it how sparse each layer becomes.

    The model's weights are the learned ones less a threshold, and zero below it:
    `sign(w) relu(|w| - sigmoid(s))`, with a trainable `s` for each weight tensor. Weight decay
    drives `s` from far below towards zero, and so the threshold up, until the loss holds against
    it. The sparsity comes of this and cannot be set: raise `weight_decay` for more of it, and
    lower `momentum` where that is too strong. Without weight decay next to nothing is pruned.

    ```python
    model.fit(x, y, epochs=30, callbacks=[ks.STR(threshold=0.05)])
    ```

    Besides the logs of every sparse training it adds `str_threshold_mean`.

    Args:
        threshold: The threshold, in (0, 1), that weight decay alone would reach at the end of
            the run; `s` starts from where it has to for that.
        weight_decay: lambda of `s`, >= 0. The weights have the optimizer's own.
        momentum: Momentum of `s`, in [0, 1); its learning rate is the optimizer's.
        initial: `s` at the beginning, in place of `threshold`.
        **kwargs: `exclude`, `include`, `keep_dense`, `strict`: see `SparseCallback`.

    Raises:
        ValueError: At construction for arguments out of range; before the first step for a model
            with nothing to prune, or a weight decay too strong for the learning rate and momentum.

    Source: Kusupati et al. (2020).
    """

    command = "str"
    takes_sparsity = False

    def __init__(
        self,
        threshold: float = 0.05,
        weight_decay: float = 5e-4,
        momentum: float = 0.9,
        initial: float | None = None,
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        if "sparsity" in kwargs:
            raise ValueError(
                "STR has no sparsity to set: it follows from threshold and weight_decay. For a "
                "given sparsity use AC/DC, GMP or DPF."
            )
        super().__init__(**kwargs)
        self.threshold = number("threshold", threshold, "(0, 1)")
        self.weight_decay = number("weight_decay", weight_decay, "[0, inf)")
        self.momentum = number("momentum", momentum, "[0, 1)")
        self.initial = optional(number, "initial", initial)

    @property
    def sparsity_required(self) -> bool:
        """Whether there must be a sparsity."""
        return False

    def make_rule(self, run: Run, selection: Selection, final: np.ndarray) -> Rule:
        """Thresholds that weight decay takes to where they are meant to be."""
        rates = learning_rates(
            self.own_optimizer, run.steps, selection.variables(self.model)
        ).tolist()
        left = decayed(rates, self.weight_decay, self.momentum)
        self._s = self.initial
        if self._s is None:
            if left < SMALLEST:
                raise ValueError(
                    f"In {run.steps:,} steps STR's weight_decay={self.weight_decay} leaves "
                    f"{left:.1g} of the parameters of the thresholds, so that they would start "
                    "beyond what float32 holds. Lower weight_decay, or the momentum."
                )
            self._s = math.log(self.threshold / (1 - self.threshold)) / left
        return STRRule(self._s, self.weight_decay, self.momentum)

    def first_masks(self, selection: Selection, weights: list[Any]) -> list[Any]:
        """What is above the initial threshold."""
        tensors = [ops.convert_to_tensor(weight) for weight in weights]
        return above(tensors, [ops.convert_to_tensor(self._s, "float32")] * len(tensors))

    def epoch_logs(self, epoch: int, logs: dict[str, float]) -> dict[str, float]:
        """The mean threshold."""
        s = np.array([ops.convert_to_numpy(v) for v in self.optimizer.state[_S]])
        return {"str_threshold_mean": float(np.mean(1 / (1 + np.exp(-s))))}
