"""Sparse variational dropout: noise on each weight, as much as it bears."""

from __future__ import annotations

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
from keras_sparse.sparsity.duration import Duration, Run
from keras_sparse.sparsity.masks import apply_mask
from keras_sparse.sparsity.recipe import CommonArguments
from keras_sparse.sparsity.selection import Selection

_K1, _K2, _K3 = 0.63576, 1.87320, 1.48695
_CLIP = 8.0
_TINY = 1e-16
_PULLS = "pulls"


def kl_divergence(log_alpha: Any) -> Any:
    """The KL divergence of a weight's posterior from the log-uniform prior.

    `k1 - k1 sigmoid(k2 + k3 log_alpha) + 0.5 ln(1 + 1 / alpha)`

    Source: Molchanov, Ashukha and Vetrov (2017), eq. 14, with the constant that makes it vanish
    for large alpha.
    """
    return _K1 * (1 - ops.sigmoid(_K2 + _K3 * log_alpha)) + 0.5 * ops.softplus(-log_alpha)


def kl_slope(log_alpha: Any) -> Any:
    """The derivative of `kl_divergence` by `log_alpha`."""
    s = ops.sigmoid(_K2 + _K3 * log_alpha)
    return -_K1 * _K3 * s * (1 - s) - 0.5 * ops.sigmoid(-log_alpha)


def log_alpha_of(weight: Any, log_variance: Any) -> Any:
    """`ln(sigma^2 / theta^2)`, the noise of a weight relative to its size."""
    return log_variance - ops.log(ops.square(weight) + _TINY)


@keras.saving.register_keras_serializable(package="keras_sparse")
class SparseVariationalDropoutRule(SampledWeights):
    """`min E[L(theta + sigma eps)] + b_t sum KL(sigma^2 / theta^2)`, eps normal."""

    def __init__(
        self,
        rate: float,
        seed: int = 0,
        kl_weight: float = 0.0,
        anneal_steps: int = 0,
        initial_log_variance: float = -10.0,
        threshold: float = 3.0,
    ) -> None:
        super().__init__(rate, seed)
        self.kl_weight, self.anneal_steps = kl_weight, anneal_steps
        self.initial_log_variance, self.threshold = initial_log_variance, threshold

    def first_parameters(self, weights: Sequence[Any]) -> list[Any]:
        """`ln sigma^2`, the same for all."""
        return [ops.full_like(weight, self.initial_log_variance) for weight in weights]

    def initial_state(self, weights: Sequence[Any]) -> Mapping[str, Sequence[Any]]:
        """The variances, and the penalty's gradients by the means at the latest step."""
        pulls = [ops.zeros_like(weight) for weight in weights]
        return {**super().initial_state(weights), _PULLS: pulls}

    def slopes(
        self, clock: Clock, tensors: Tensors, bundles: Bundles
    ) -> tuple[list[Any], Mapping[str, Sequence[Any]]]:
        """`g eps sigma / 2 + b_t dKL/dlog_alpha`, g at the noisy weight; and `dKL/dtheta`.

        `log_alpha` is clipped, and the penalty without a gradient beyond.
        """
        progress = (ops.cast(clock.step, "float32") + 1) / max(self.anneal_steps, 1)
        weight = self.kl_weight * ops.minimum(progress, 1.0)
        slopes, pulls = [], []
        for g, w, v, noise in zip(
            tensors.gradients,
            tensors.weights,
            tensors.state[PARAMETER],
            self._noise(clock.step, bundles, tensors.state[PARAMETER]),
            strict=True,
        ):
            log_alpha = log_alpha_of(w, v)
            slope = ops.cast(weight, w.dtype) * kl_slope(log_alpha)
            penalty = apply_mask(slope, ops.abs(log_alpha) < _CLIP)
            slopes.append(0.5 * g * noise + penalty)
            pulls.append(-2 * w / (ops.square(w) + _TINY) * penalty)
        return slopes, {_PULLS: pulls}

    def _noise(self, step: Any, bundles: Bundles, parameters: Sequence[Any]) -> list[Any]:
        drawn = zip(parameters, bundles.normal(self.seed, step), strict=True)
        return [ops.exp(0.5 * v) * ops.cast(e, v.dtype) for v, e in drawn]

    def learning_gradients(self, gradients: Sequence[Any], tensors: Tensors) -> Sequence[Any]:
        """`dtheta = g + b_t dKL/dtheta`."""
        return [g + pull for g, pull in zip(gradients, tensors.state[_PULLS], strict=True)]

    def kept(self, weights: Sequence[Any], parameters: Sequence[Any]) -> list[Any]:
        """`log_alpha <= threshold`."""
        return [
            log_alpha_of(w, v) <= self.threshold for w, v in zip(weights, parameters, strict=True)
        ]

    def effective(self, clock: Clock, tensors: Tensors) -> Sequence[Any]:
        """`theta + sigma eps`, drawn for the next step."""
        bundles = Bundles(tensors.weights)
        noises = self._noise(clock.step + 1, bundles, bundles.join(tensors.state[PARAMETER]))
        pairs = zip(bundles.join(tensors.weights), noises, strict=True)
        return bundles.split([w + noise for w, noise in pairs])

    def evaluated(self, tensors: Tensors) -> Sequence[Any]:
        """The means of the weights that are kept."""
        return [apply_mask(w, m) for w, m in zip(tensors.weights, tensors.masks, strict=True)]

    def computed_weights(
        self,
        nonzeros: Sequence[float],
        masks: Sequence[np.ndarray],
        state: Mapping[str, Sequence[np.ndarray]],
    ) -> Sequence[float]:
        """All: noise is never zero."""
        return self.trained_weights(masks, state)

    def trained_weights(
        self, masks: Sequence[np.ndarray], state: Mapping[str, Sequence[np.ndarray]]
    ) -> Sequence[float]:
        """All."""
        return [float(mask.size) for mask in masks]


class SparseVariationalDropout(SparsityFollows):
    """Learns how much noise each weight bears, and prunes those that bear any.

    Each weight is a normal distribution with a learned mean and a learned variance, from which
    it is drawn at every step. The penalty, a KL divergence, rewards variance that is large
    relative to the mean. A weight whose noise drowns it (`ln(sigma^2 / theta^2) > threshold`, by
    default a dropout rate above 0.95) is pruned. How sparse the model gets comes of this and
    cannot be set: tune `kl_weight` and the length of the run.

    ```python
    callback = ks.SparseVariationalDropout(kl_weight=1 / len(x))
    model.fit(x, y, epochs=30, callbacks=[callback])
    ```

    The noise is drawn once a step, the same for all samples of the batch. The source draws it for
    each activation (local reparameterization), which has the same mean gradient and less
    variance, but needs other layers. From the end of an epoch to the beginning of the next the
    model has the means, with zeros for pruned weights: validation, checkpoints of that time and
    the final model have exact zeros. In the middle of an epoch the model has drawn weights.

    The variances have an Adam optimizer of their own; twenty bytes more for each weight. A step
    costs as much as a dense one.

    Args:
        kl_weight: Of the sum of KL divergences in the mean loss of a sample, >= 0. The source's
            is one divided by the number of training samples.
        anneal: Time in which it rises to that, linearly from 0. Defaults to half of the run.
        noise_learning_rate: Of `ln sigma^2`, greater than 0. Defaults to 20 divided by the steps
            of the run: Adam can then drown any weight in a part of the run.
        initial_log_variance: `ln sigma^2` at the beginning.
        threshold: `ln alpha` above which a weight is pruned.
        **kwargs: `exclude`, `include`, `keep_dense`, `strict`, `seed`: see `SparseCallback`.

    Raises:
        ValueError: At construction for arguments out of range, or if a sparsity is asked for;
            before the first step for a model with nothing to prune.

    Source: Molchanov, Ashukha and Vetrov (2017), eqs. 12 to 15.
    """

    command = "sparse_vd"

    knobs = "kl_weight and threshold"

    def __init__(
        self,
        kl_weight: float = 1e-4,
        anneal: Any = "50%",
        noise_learning_rate: float | None = None,
        initial_log_variance: float = -10.0,
        threshold: float = 3.0,
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.kl_weight = number("kl_weight", kl_weight, "[0, inf)")
        rate = optional(number, "noise_learning_rate", noise_learning_rate, "(0, inf)")
        self.noise_learning_rate = rate
        self.anneal = Duration.of(anneal, "anneal")
        self.initial_log_variance = number("initial_log_variance", initial_log_variance)
        self.threshold = number("threshold", threshold, f"({-_CLIP}, {_CLIP})")

    def make_rule(self, run: Run, selection: Selection, final: np.ndarray) -> Rule:
        """A variance for each weight."""
        return SparseVariationalDropoutRule(
            self.noise_learning_rate or default_rate(run.steps),
            self.seed or 0,
            self.kl_weight,
            self.anneal.to_steps(run),
            self.initial_log_variance,
            self.threshold,
        )

    def epoch_logs(self, epoch: int, logs: dict[str, float]) -> dict[str, float]:
        """The mean of `ln sigma^2`."""
        values = [ops.convert_to_numpy(v).ravel() for v in self.optimizer.state[PARAMETER]]
        return {"svd_log_variance_mean": float(np.mean(np.concatenate(values)))}
