"""CrAM: the compression-aware minimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from typing_extensions import Unpack

from keras_sparse.backend.graph_tensors import row
from keras_sparse.engine.rule import Clock, Rule, Tensors
from keras_sparse.messages.arguments import boolean, integer, number
from keras_sparse.methods.compression_aware.base import CompressionAwareCallback, check_rho
from keras_sparse.methods.compression_aware.drawn_operators import DrawnOperators
from keras_sparse.methods.compression_aware.two_gradients import Point, TwoGradientRule, ascended
from keras_sparse.sparsity.duration import Run
from keras_sparse.sparsity.operators import Compression
from keras_sparse.sparsity.recipe import CommonArguments
from keras_sparse.sparsity.selection import Selection

_MASKS, _USES = "masks", "uses"


@keras.saving.register_keras_serializable(package="keras_sparse")
class CrAMRule(TwoGradientRule):
    """`theta <- theta - eta (grad L(C(theta + rho grad L(theta))) [+ grad L(theta)])`."""

    def __init__(
        self,
        operators: Sequence[Compression],
        seed: int = 0,
        rho: float = 0.05,
        plus: bool = True,
        sparse_gradients: bool = False,
        mask_interval: int = 1,
        base_probability: float = 0.0,
        normalize: bool = False,
    ) -> None:
        self.operators, self.seed = list(operators), seed
        self.choice = DrawnOperators(self.operators, seed)
        self.rho, self.plus, self.normalize = rho, plus, normalize
        self.sparse_gradients, self.mask_interval = sparse_gradients, mask_interval
        self.base_probability = base_probability

    def initial_state(self, weights: Sequence[Any]) -> Mapping[str, Sequence[Any]]:
        """For each operator its latest masks and how often they were used, if they are kept."""
        if self.mask_interval == 1:
            return {}
        count = len(self.choice.operators)
        return {
            _MASKS: [ops.ones((count, *weight.shape), "bool") for weight in weights],
            _USES: [ops.zeros(count, "int32") for _ in weights],
        }

    def is_plain(self, clock: Clock) -> Any:
        """With `base_probability`."""
        return self.choice.with_probability(self.base_probability, clock.step)

    def _is_drawn(self, step: Any) -> Any:
        count = len(self.choice.operators)
        return ops.equal(ops.arange(count, dtype="int32"), self.choice.drawn(step))

    def update_state(self, clock: Clock, tensors: Tensors) -> Mapping[str, Sequence[Any]]:
        """Counts the use of the drawn operator."""
        if self.mask_interval == 1:
            return {}
        used = self._is_drawn(clock.step)
        if self.base_probability:
            used = ops.logical_and(used, ops.logical_not(self.is_plain(clock)))
        return {_USES: [uses + ops.cast(used, "int32") for uses in tensors.state[_USES]]}

    def second_point(
        self, clock: Clock, weights: Sequence[Any], gradients: Sequence[Any], tensors: Tensors
    ) -> Point:
        """`C(theta + rho g)` with C the drawn operator; what is not pruned is only perturbed."""
        ascent = ascended(weights, gradients, self.rho, self.normalize)
        pruned = [ascent[i] for i in self.indices]
        drawn = self.choice.drawn(clock.step)
        due: Any = None
        memory: dict[str, list[Any]] = {}
        if self.mask_interval == 1:
            masks = self.choice.masks(drawn, pruned, self.layouts)
        else:
            is_due = ops.equal(row(tensors.state[_USES][0], drawn) % self.mask_interval, 0)
            kept = tensors.state[_MASKS]
            masks = ops.cond(
                is_due,
                lambda: self.choice.masks(drawn, pruned, self.layouts),
                lambda: [row(mask, drawn) for mask in kept],
            )
            due, memory = self._memory(clock, is_due, kept, masks)
        values = self.choice.compress(drawn, pruned, masks, self.layouts)
        own = masks if self.sparse_gradients else None
        return Point(self.with_pruned(ascent, values), own, due, memory)

    def _memory(
        self, clock: Clock, due: Any, kept: Sequence[Any], masks: Sequence[Any]
    ) -> tuple[Any, dict[str, list[Any]]]:
        if self.base_probability:
            due = ops.logical_and(due, ops.logical_not(self.is_plain(clock)))
        drawn = self._is_drawn(clock.step)
        of_rank = {
            rank: ops.reshape(drawn, (-1,) + (1,) * rank)
            for rank in {len(mask.shape) for mask in masks}
        }
        new = [
            ops.where(of_rank[len(mask.shape)], mask, old)
            for old, mask in zip(kept, masks, strict=True)
        ]
        return due, {_MASKS: new}


class CrAM(CompressionAwareCallback):
    """Trains one dense model that can be pruned or quantized afterwards, in one shot.

    Each step moves the weights along their gradient, compresses what it finds by one of the
    operators, drawn at random, and takes the gradient there, on the same batch. The user's
    optimizer gets that gradient, or its sum with the one at the weights (`plus`), once. The model
    stays dense; afterwards `prune` or `compress` it, with a short `batch_norm_tuning` and no
    further training. A step costs two steps of plain training.

    ```python
    model.fit(x, y, epochs=30, callbacks=[ks.CrAM([0.5, 0.7, 0.9], rho=0.05)])
    ks.one_shot_sweep(model, test, calibration=x[:1000], sparsities=[0.5, 0.8, 0.9]).print()
    ```

    One sparsity is the source's CrAM+-k, several are CrAM+-Multi; `plus=False` is CrAM,
    `sparse_gradients=True` adds "SG", `operators=["2:4", "4:8"]` is CrAM+-N:M and
    `operators=["4bit"]` CrAM+-4Bits. The sum of two gradients acts like twice the learning rate.
    With `normalize` and no sparsity it is SAM.

    Weight decay of the optimizer and regularizers of layers act once a step, on the weights, and
    have no part in the perturbation. Coupled weight decay is a layer's `L2` regularizer, Keras's
    `SGD(weight_decay=...)` is decoupled; with momentum they differ. Frozen layers are neither
    perturbed nor compressed. `mask_change` in the logs is the mean over the operators that prune.

    Args:
        sparsities: Fractions of weights to remove, each in [0, 1), of which every step draws one.
            Defaults to 0.5, 0.7 and 0.9, or to none if there are `operators`.
        rho: How far the weights are moved: a factor of the gradient, greater than 0. 0.05 on
            ImageNet, 0.15 on CIFAR-10, 0.005 for BERT in the source; it does not carry over to
            another batch size, since the gradient is not normalized.
        plus: Whether the gradient at the weights is added.
        sparse_gradients: Whether the gradient at pruned weights is masked. Good for convolutional
            models, not for transformers. Quantizers do not mask.
        operators: What to draw besides: n:m patterns (`"2:4"`), bits (`"4bit"`), `TopK(...)`,
            `Quantize(...)`.
        mask_interval: For how many uses of an operator its masks stay as they are, at least 1.
        base_probability: With which probability a step is one of plain training, in [0, 1].
        normalize: Whether the gradient of the perturbation is divided by its norm, as in SAM.
        **kwargs: `granularity` and `allocation` of the sparsities, `exclude`, `include`,
            `keep_dense`, `strict`, `seed`: see `SparseCallback`.

    Raises:
        ValueError: At construction for arguments out of range or no operator; before the first
            step for an operator that does not fit a layer, a model with nothing to prune, or one
            with a `train_step` of its own.

    Source: Peste et al. (2023), Algorithm 2, equations 5.2 to 5.6.
    """

    command = "cram"

    @classmethod
    def for_run(
        cls, sparsity: float | None = None, granularity: Any = None, **common: Any
    ) -> CompressionAwareCallback:
        """With the sparse gradients of CrAM+."""
        return super().for_run(sparsity, granularity, sparse_gradients=True, **common)

    def __init__(
        self,
        sparsities: Sequence[float] | float | None = None,
        rho: float = 0.05,
        plus: bool = True,
        sparse_gradients: bool = False,
        operators: Sequence[Any] | Any = (),
        mask_interval: int = 1,
        base_probability: float = 0.0,
        normalize: bool = False,
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        super().__init__(sparsities, operators, **kwargs)
        self.rho = check_rho(rho)
        self.plus = boolean("plus", plus)
        self.sparse_gradients = boolean("sparse_gradients", sparse_gradients)
        self.normalize = boolean("normalize", normalize)
        self.mask_interval = integer("mask_interval", mask_interval)
        self.base_probability = number("base_probability", base_probability, "[0, 1]")

    def make_rule(self, run: Run, selection: Selection, final: np.ndarray) -> Rule:
        """Two gradients a step."""
        return CrAMRule(
            self.bound(selection),
            self.seed or 0,
            rho=self.rho,
            plus=self.plus,
            sparse_gradients=self.sparse_gradients,
            mask_interval=self.mask_interval,
            base_probability=self.base_probability,
            normalize=self.normalize,
        )
