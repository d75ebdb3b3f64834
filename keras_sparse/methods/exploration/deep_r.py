"""Deep Rewiring: connections of fixed sign that die and are born."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from typing_extensions import Unpack

from keras_sparse.engine.callback import SparseCallback
from keras_sparse.engine.rule import Clock, Rule, Tensors, Update
from keras_sparse.messages.arguments import number
from keras_sparse.sparsity.bundles import Bundles
from keras_sparse.sparsity.duration import Run
from keras_sparse.sparsity.granularity import Unstructured
from keras_sparse.sparsity.masks import choose_masks
from keras_sparse.sparsity.recipe import CommonArguments
from keras_sparse.sparsity.saliency import scores
from keras_sparse.sparsity.selection import Selection

_SIGNS = "signs"


@keras.saving.register_keras_serializable(package="keras_sparse")
class DeepRRule(Rule):
    """A noisy step with an L1 pull; a weight whose sign flips dies, and another one wakes.

    `theta <- theta - eta g - eta a + sqrt(2 eta T) nu`, with `w = s theta` and fixed signs `s`.
    """

    masks_follow_step = True
    reset_grown = True

    def __init__(
        self, l1: float = 0.0, temperature: float = 0.0, joint: bool = True, seed: int = 0
    ) -> None:
        self.l1, self.temperature, self.joint, self.seed = l1, temperature, joint, seed

    def initial_state(self, weights: Sequence[Any]) -> Mapping[str, Sequence[Any]]:
        """The sign of each connection, True for plus: that of its initial weight."""
        return {_SIGNS: [weight >= 0 for weight in weights]}

    def due(self, step: Any, counters: Mapping[str, Any]) -> Any:
        """At every step."""
        return ops.ones((), "bool")

    def update_masks(self, clock: Clock, counters: Mapping[str, Any], tensors: Tensors) -> Update:
        """What has flipped its sign dies, and as many others wake at zero."""
        bundles = Bundles(tensors.weights)
        bundled = tensors.each(bundles.join)
        rates = [clock.rate_of(0)] * len(bundles.places)
        if clock.learning_rates:
            rates = bundles.spread([clock.rate_of(i) for i in range(len(self.layouts))])
        noises = bundles.normal(self.seed, clock.step)
        weights, alive = [], []
        for weight, mask, plus, rate, noise in zip(
            bundled.weights, bundled.masks, bundled.state[_SIGNS], rates, noises, strict=True
        ):
            sign = ops.cast(ops.where(plus, 1.0, -1.0), weight.dtype)
            theta = self._moved(sign * weight, ops.cast(rate, weight.dtype), noise)
            alive.append(ops.logical_and(mask, theta >= 0))
            weights.append(ops.where(alive[-1], sign * theta, ops.zeros_like(theta)))
        living = bundles.split(alive)
        woken = self._wake(clock, bundles, tensors.masks, living)
        masks = [ops.logical_or(a, w) for a, w in zip(living, woken, strict=True)]
        return Update(masks, {}, weights=bundles.split(weights))

    def _moved(self, theta: Any, rate: Any, noise: Any) -> Any:
        pushed = ops.sqrt(2 * rate * self.temperature) * ops.cast(noise, theta.dtype)
        return theta - rate * self.l1 + pushed

    def _wake(
        self, clock: Clock, bundles: Bundles, masks: Sequence[Any], alive: Sequence[Any]
    ) -> list[Any]:
        # Normal numbers of stream n use up the uniform ones of streams 2n and 2n + 1.
        chances = bundles.split(bundles.uniform(self.seed, clock.step, 2 * len(self.layouts)))
        died = bundles.counts(masks) - bundles.counts(alive)
        budget = ops.reshape(ops.sum(died), (1,)) if self.joint else died
        dormant = [ops.logical_not(mask) for mask in alive]
        return choose_masks(
            chances, self.layouts, budget, Unstructured(), self.joint, among=dormant
        )


class DeepR(SparseCallback):
    """Deep Rewiring: weights keep their sign; one that would change it dies and another wakes.

    Training starts from random masks. Each connection has a fixed sign, that of its initial
    weight. After each step weights are pulled towards zero and moved by noise; those that cross
    zero die, and as many dormant ones, chosen at random, start from zero. The number of
    connections is the same at all times, in the whole network (`allocation="global"`) or in each
    layer. The noise is a search for architectures: let it fall with the learning rate.

    ```python
    model.fit(x, y, epochs=30, callbacks=[ks.DeepR(sparsity=0.9)])
    ```

    Args:
        sparsity: Fraction of weights to remove, in [0, 1). Left out with a mapping as
            `allocation`.
        l1: The pull towards zero, the source's alpha, >= 0.
        temperature: T of the noise `sqrt(2 eta T) nu`, >= 0.
        **kwargs: `allocation`, `exclude`, `include`, `keep_dense`, `strict`, `seed`: see
            `SparseCallback`.

    Raises:
        ValueError: At construction for arguments out of range or a granularity other than single
            weights; before the first step for a model with nothing to prune.

    Source: Bellec et al. (2018), Algorithm 1.
    """

    command = "deep_r"

    def __init__(
        self,
        sparsity: float | None = None,
        l1: float = 1e-4,
        temperature: float = 1e-9,
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        super().__init__(sparsity, **kwargs)
        if self.recipe.granularity != Unstructured():
            raise ValueError(
                "DeepR rewires single weights. Received: "
                f"granularity={self.recipe.granularity}. Leave granularity out, or use RigL or SET."
            )
        self.l1 = number("l1", l1, "[0, inf)")
        self.temperature = number("temperature", temperature, "[0, inf)")

    def make_rule(self, run: Run, selection: Selection, final: np.ndarray) -> Rule:
        """Rewiring at every step; without a dormant connection there is nothing to rewire."""
        if not np.any(final > 0):
            return Rule()
        return DeepRRule(self.l1, self.temperature, self.recipe.joint, self.seed or 0)

    def first_masks(self, selection: Selection, weights: list[Any]) -> list[Any]:
        """Random masks."""
        tensors = [ops.convert_to_tensor(weight) for weight in weights]
        return self.recipe.masks(selection, scores("random", tensors, self.seed))
