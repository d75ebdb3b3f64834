"""GaP: scheduled grow-and-prune, one partition of the layers after the other."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.engine import training
from keras_sparse.engine.callback import SparseCallback
from keras_sparse.engine.candidates import BestCandidate
from keras_sparse.engine.grow_and_prune import GrowAndPrune
from keras_sparse.engine.rule import Rule, Tensors
from keras_sparse.methods.gap_schedule import (
    ORDERS,
    check_lengths,
    default_partitions,
    dense_in_each_step,
    fit_lengths,
)
from keras_sparse.posttrain.batch_norm import batch_norm_tuning, batch_normalizations
from keras_sparse.sparsity.balance import WAYS
from keras_sparse.sparsity.duration import Run
from keras_sparse.sparsity.masks import apply_mask, choose_masks, mask_budgets
from keras_sparse.sparsity.names import unknown_name
from keras_sparse.sparsity.partition import GrowPrunePartition, Partitioning, divide, resolve
from keras_sparse.sparsity.saliency import scores
from keras_sparse.sparsity.selection import Selection

Partitions = int | Sequence[GrowPrunePartition | Sequence[str]]


class CyclicGaP(SparseCallback):
    """Starts sparse at random, and makes one part of the model dense after the other.

    The layers are divided into partitions. In each step one of them is dense and trained for some
    epochs with the others, which are sparse; then its smallest weights are pruned, and the next
    one grows, from zeros. After whole rounds every weight has been tried, and the model was never
    dense as a whole. At the end the model is fine-tuned with all of it pruned.

    ```python
    gap = ks.CyclicGaP(0.9, partitions=4, steps=8, epochs_per_step=4, finetune_epochs=16)
    model.fit(x, y, epochs=48, callbacks=[gap])
    ```

    Each step, and fine-tuning, is a training of its own: the optimizer's moments are zero again,
    and its iterations, so that a `keras.optimizers.schedules` schedule begins anew; write it for
    one step. A schedule that knows the length of fine-tuning is given as `learning_rate`. A
    `LearningRateScheduler` sees epochs of the whole run.

    Besides the logs of every sparse training it adds `gap_step`, `gap_round`, `gap_partition`
    (whose turn it is; -1 in fine-tuning), `gap_density` and `gap_density_0`, ... (the fraction of
    the prunable weights, in all and by partition, that are not pruned), `gap_peak_density` (the
    largest density so far) and, with `validation_data`, `gap_candidate_loss`.

    Args:
        sparsity: Fraction of weights to remove, in [0, 1). Left out with
            `granularity=NM(n, m)`, which fixes it, or with a mapping as `allocation`.
        partitions: kappa, the number of partitions; or partitions in the order in which they
            grow, each a `GrowPrunePartition` or a list of names. Defaults to 4, or fewer where
            the model has fewer layers to prune or the run fewer epochs to train.
        steps: K, how often a partition grows; at least `partitions`.
        epochs_per_step: T, epochs for which it is dense.
        finetune_epochs: T', epochs at the end with fixed masks. `K T + T'` are the epochs of the
            `fit`; what is left out of the three follows from the others and the run: by default
            two rounds in two thirds of the run, then fine-tuning.
        by: How layers are divided: `"params"`, `"flops"`, `"stages"` or `"random"`; see
            `GrowPrunePartition.partition`.
        order: `"cyclic"`, or `"random"`: each step draws anew which layers grow, as many as
            the partition has whose turn it would be (an ablation).
        restart: Whether the optimizer begins anew at each step. At a sparsity of 0 nothing grows,
            and nothing begins anew.
        learning_rate: A function `f(epoch, epochs)` of the epoch within a step or fine-tuning and
            their length, that gives the learning rate. Defaults to leaving it to the optimizer.
        validation_data: `(x, y)` or batches, as `evaluate` takes them, on which candidates are
            scored: what each step's model is once pruned, with batch-norm statistics tuned
            to that, and each fine-tuned epoch's.
        calibration: Inputs for batch-norm tuning, an array of shape `(samples,) + input_shape` or
            batches; training data is best. Defaults to the inputs of `validation_data`.
        best_checkpoint: Path ending in `.weights.h5` at which the best candidate is kept, for
            `model.load_weights`. Defaults to none.
        **kwargs: `granularity`, `allocation`, `exclude`, `include`, `keep_dense`, `strict`, `seed`:
            see `SparseCallback`. With `allocation="global"` (the source's non-uniform sparsity) the
            random masks are uniform, and each pruning ranks the weights of the whole model.

    Raises:
        ValueError: At construction for arguments out of range; before the first step for
            partitions that do not fit the model, or steps that do not fit the run.

    Source: Ma et al. (2022), Algorithm 1, sections 2.1 and 3, A.2 and B.
    """

    def __init__(
        self,
        sparsity: float | None = None,
        partitions: Partitions | None = None,
        steps: int | None = None,
        epochs_per_step: int | None = None,
        finetune_epochs: int | None = None,
        *,
        by: str = "params",
        order: str = "cyclic",
        restart: bool = True,
        learning_rate: Callable[[int, int], float] | None = None,
        validation_data: Any = None,
        calibration: Any = None,
        best_checkpoint: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(sparsity, **kwargs)
        check_lengths(steps, epochs_per_step, finetune_epochs)
        for name, value, known in (("by", by, WAYS), ("order", order, ORDERS)):
            if value not in known:
                raise unknown_name(name, value, known)
        self.partitions = _read_partitions(partitions)
        self.steps, self.epochs_per_step = steps, epochs_per_step
        self.finetune_epochs = finetune_epochs
        self.by, self.order, self.restart = by, order, restart
        self.learning_rate = learning_rate
        self.validation_data, self.calibration = validation_data, calibration
        self.best_checkpoint = training.check_weights_path("best_checkpoint", best_checkpoint)
        if validation_data is None and (calibration is not None or best_checkpoint is not None):
            raise ValueError(
                "calibration and best_checkpoint are for candidates, which need validation_data=."
            )
        self._candidates: BestCandidate | None = None
        self._candidate_loss = float("nan")

    def make_rule(self, run: Run, selection: Selection, final: np.ndarray) -> Rule:
        """What is dense when, and how much pruning keeps."""
        self._check_learning_rate()
        self.partitioning = self._divide(run, selection)
        self.lengths = fit_lengths(
            run.epochs,
            self.partitioning.count,
            self.steps,
            self.epochs_per_step,
            self.finetune_epochs,
        )
        dense = dense_in_each_step(
            self.lengths.steps,
            self.partitioning.count,
            self.partitioning.of_target,
            self.partitioning.layer_of_target,
            self.order,
            self.seed or 0,
        )
        epochs = np.arange(self.lengths.steps + 1) * self.lengths.epochs_per_step
        return GrowAndPrune(
            epochs * run.steps_per_epoch,
            dense,
            self.recipe.budgets(selection, final[None])[0],
            self.recipe.granularity,
            self.recipe.joint,
            "restart" if self.restart and np.any(final > 0) else "none",
        )

    def _divide(self, run: Run, selection: Selection) -> Partitioning:
        given = self.partitions
        if given is None:
            layers = len({target.layer for target in selection.targets})
            given = default_partitions(
                run.epochs, layers, self.steps, self.epochs_per_step, self.finetune_epochs
            )
        if isinstance(given, int):
            return divide(self.model, selection, given, self.by, self.seed or 0)
        return resolve(self.model, selection, given)

    def _check_learning_rate(self) -> None:
        rate = training.own_optimizer(self.model)._learning_rate
        if self.learning_rate is not None and not isinstance(rate, keras.Variable):
            raise ValueError(
                "learning_rate=... sets the optimizer's learning rate, and the optimizer has a "
                f"schedule of its own: {rate!r}. Compile it with a number, or leave "
                "learning_rate out."
            )

    def first_masks(self, selection: Selection, weights: list[Any]) -> list[Any]:
        """Random masks; with one ranking for all layers, uniform ones."""
        recipe = self.recipe
        layouts = [target.layout for target in selection.targets]
        allocation = "uniform" if recipe.joint else recipe.allocation
        sparsities = recipe.final(selection)[None]
        budget = mask_budgets(recipe.granularity, allocation, layouts, sparsities)[0]
        tensors = [ops.convert_to_tensor(weight) for weight in weights]
        drawn = scores("random", tensors, self.seed)
        return choose_masks(drawn, layouts, budget, recipe.granularity, joint=False)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Sets the learning rate, if it is asked to."""
        super().on_epoch_begin(epoch, logs)
        if self.learning_rate is not None:
            begin, length = self._phase(epoch)
            rate = float(self.learning_rate(epoch - begin, length))
            training.own_optimizer(self.model).learning_rate = rate
        if self._candidates is None and self.validation_data is not None:
            self._candidates = BestCandidate(
                self.model, self.validation_data, self.best_checkpoint, resumed=epoch > 0
            )

    def _step_of(self, epoch: int) -> int:
        """The step that an epoch belongs to; `steps` in fine-tuning."""
        return min(epoch // self.lengths.epochs_per_step, self.lengths.steps)

    def _phase(self, epoch: int) -> tuple[int, int]:
        """The first epoch and the length of the step, or of the fine-tuning, of an epoch."""
        step, length = self._step_of(epoch), self.lengths.epochs_per_step
        tuning = step == self.lengths.steps
        return step * length, self.lengths.finetune_epochs if tuning else length

    def epoch_logs(self, epoch: int, logs: dict[str, float]) -> dict[str, float]:
        """Where in the schedule the training is, densities, and the latest candidate's loss."""
        step, count = self._step_of(epoch), self.partitioning.count
        tuning = step == self.lengths.steps
        kept = np.array([np.count_nonzero(mask) for mask in self.meter.masks()])
        peak = int(ops.convert_to_numpy(self.optimizer.counters["peak"]))
        own = {
            "gap_step": float(step),
            "gap_round": float(step // count),
            "gap_partition": -1.0 if tuning else float(step % count),
            "gap_density": float(kept.sum() / self.meter.sizes.sum()),
            "gap_peak_density": float(peak / self.meter.sizes.sum()),
        }
        owner = np.array(self.partitioning.of_target)
        for i in range(count):
            mine = owner == i
            own[f"gap_density_{i}"] = float(kept[mine].sum() / self.meter.sizes[mine].sum())
        if self._candidates is not None:
            begin, length = self._phase(epoch)
            if tuning:
                self._candidate_loss = self._candidates.offer(lambda: None)
            elif epoch == begin + length - 1:
                self._candidate_loss = self._candidates.offer(lambda: self._prune(step))
            own["gap_candidate_loss"] = self._candidate_loss
        return own

    def _prune(self, step: int) -> None:
        """Makes the model what it will be once a step's partition is pruned."""
        weights = self.selection.variables(self.model)
        tensors = [ops.convert_to_tensor(weight) for weight in weights]
        masks = [ops.convert_to_tensor(mask) for mask in self.optimizer.masks]
        rule = self.optimizer.rule
        pruned = rule.pruned(rule.dense[step + 1], Tensors(tensors, masks))
        for weight, tensor, mask in zip(weights, tensors, pruned, strict=True):
            weight.assign(apply_mask(tensor, mask))
        if batch_normalizations(self.model):
            # Enough to leave half a percent of the values that tuning starts from.
            batch_norm_tuning(self.model, self._calibration(), steps=50)

    def _calibration(self) -> Any:
        if self.calibration is not None:
            return self.calibration
        given = self.validation_data
        return given[0] if isinstance(given, tuple) else given

    def _leave(self) -> None:
        super()._leave()
        self._candidates, self._candidate_loss = None, float("nan")


def _read_partitions(
    partitions: Partitions | None,
) -> int | tuple[GrowPrunePartition, ...] | None:
    if partitions is None:
        return None
    if isinstance(partitions, int) and not isinstance(partitions, bool) and partitions >= 1:
        return partitions
    if isinstance(partitions, (bool, int, float, str)) or not partitions:
        raise ValueError(
            "partitions is an integer >= 1, or a list of partitions, such as "
            f"[['conv1', 'conv2'], ['dense*']]. Received: partitions={partitions!r}"
        )
    return tuple(
        part if isinstance(part, GrowPrunePartition) else GrowPrunePartition(part)
        for part in partitions
    )
