"""What cyclic and parallel grow-and-prune have in common."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from typing_extensions import Unpack

from keras_sparse.engine import installation
from keras_sparse.engine.buffers import parts
from keras_sparse.engine.callback import SparseCallback
from keras_sparse.engine.rule import Rule, Tensors
from keras_sparse.messages.arguments import function, integer, one_of, optional, wrong
from keras_sparse.methods.grow_and_prune.candidates import BestCandidate
from keras_sparse.methods.grow_and_prune.rule import GrowAndPrune
from keras_sparse.methods.grow_and_prune.schedule import Lengths, check_lengths
from keras_sparse.probe.batch_norm import batch_norm_tuning, batch_normalizations
from keras_sparse.sparsity.balance import WAYS
from keras_sparse.sparsity.duration import Run
from keras_sparse.sparsity.masks import apply_mask, choose_masks, mask_budgets
from keras_sparse.sparsity.partition import GrowPrunePartition, Partitioning, divide, resolve
from keras_sparse.sparsity.recipe import CommonArguments
from keras_sparse.sparsity.saliency import scores
from keras_sparse.sparsity.selection import Selection

Partitions = int | Sequence[GrowPrunePartition | Sequence[str]]


class GaPArguments(CommonArguments, total=False):
    """The arguments that grow-and-prune methods share, besides the lengths."""

    by: str
    learning_rate: Callable[[int, int], float] | None
    validation_data: Any
    calibration: Any
    best_checkpoint: str | os.PathLike[str] | None


class GaP(SparseCallback):
    """Base class: starts sparse at random, and in each step some partition is dense.

    A method derives from it and says which partition that is.

    Args:
        sparsity: Fraction of weights to remove, in [0, 1).
        partitions: kappa, or the partitions themselves.
        steps: K.
        epochs_per_step: T.
        finetune_epochs: T'.
        by: How layers are divided; see `GrowPrunePartition.partition`.
        learning_rate: A function of the epoch within a step and their number.
        validation_data: What candidates are scored on.
        calibration: Inputs for batch-norm tuning of candidates.
        best_checkpoint: Where the best candidate is kept.
        **kwargs: See `SparseCallback`.
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
        learning_rate: Callable[[int, int], float] | None = None,
        validation_data: Any = None,
        calibration: Any = None,
        best_checkpoint: str | os.PathLike[str] | None = None,
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        super().__init__(sparsity, **kwargs)
        check_lengths(steps, epochs_per_step, finetune_epochs)
        self.partitions = _read_partitions(partitions)
        self.steps, self.epochs_per_step = steps, epochs_per_step
        self.finetune_epochs = finetune_epochs
        self.by = one_of("by", by, WAYS)
        self.learning_rate = optional(
            function, "learning_rate", learning_rate, "a function f(epoch, epochs)"
        )
        self.validation_data, self.calibration = validation_data, calibration
        self.best_checkpoint = installation.check_weights_path("best_checkpoint", best_checkpoint)
        if validation_data is None and (calibration is not None or best_checkpoint is not None):
            raise ValueError(
                "calibration and best_checkpoint are for candidates, which need validation_data=."
            )
        self._candidates: BestCandidate | None = None
        self._candidate_loss = float("nan")

    def fit_lengths(self, run: Run) -> Lengths:
        """How the epochs of the run are shared out; called when it is divided into partitions."""
        raise NotImplementedError(f"{type(self).__name__} must implement fit_lengths")

    def default_partitions(self, run: Run, layers: int) -> int:
        """How many partitions there are if the user did not say."""
        raise NotImplementedError(f"{type(self).__name__} must implement default_partitions")

    def dense_in_each_step(self) -> np.ndarray:
        """Which tensors are dense when: booleans of shape `(steps + 2, tensors)`.

        The first row is before the first step, the last is fine-tuning.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement dense_in_each_step")

    def pruned_at_each_step(self) -> np.ndarray | None:
        """Which tensors are pruned when, `(steps + 1, tensors)`, or `None`: those just dense."""
        return None

    def dense_partition(self, step: int) -> int:
        """The number of the partition that is dense in a step."""
        raise NotImplementedError(f"{type(self).__name__} must implement dense_partition")

    def round_of(self, step: int) -> int:
        """The number of the round that a step is in."""
        raise NotImplementedError(f"{type(self).__name__} must implement round_of")

    def scores_candidates(self) -> bool:
        """Whether the model is scored at the end of each step."""
        return self.validation_data is not None

    def restarts(self, final: np.ndarray) -> bool:
        """Whether the optimizer begins anew at each step."""
        return True

    def end_step(self, step: int) -> None:
        """What is done to the model at the end of a step."""

    def make_rule(self, run: Run, selection: Selection, final: np.ndarray) -> Rule:
        """What is dense when, and how much pruning keeps."""
        self._check_learning_rate()
        self.partitioning = self._divide(run, selection)
        self.lengths = self.fit_lengths(run)
        epochs = np.arange(self.lengths.steps + 1) * self.lengths.epochs_per_step
        return GrowAndPrune(
            epochs * run.steps_per_epoch,
            self.dense_in_each_step(),
            self.recipe.budget(selection),
            self.recipe.granularity,
            self.recipe.joint,
            "restart" if self.restarts(final) else "none",
            self.pruned_at_each_step(),
        )

    def _divide(self, run: Run, selection: Selection) -> Partitioning:
        given = self.partitions
        if given is None:
            layers = len({target.layer for target in selection.targets})
            given = self.default_partitions(run, layers)
        if isinstance(given, int):
            return divide(self.model, selection, given, self.by, self.seed or 0)
        return resolve(self.model, selection, given)

    def _check_learning_rate(self) -> None:
        own = self.own_optimizer
        if self.learning_rate is not None and len(parts(own)) > 1:
            raise ValueError(
                "learning_rate=... sets one learning rate, and a MultiOptimizer has several. "
                "Leave learning_rate out, or compile the model with one optimizer."
            )
        rate = own._learning_rate
        if self.learning_rate is not None and not isinstance(rate, keras.Variable):
            raise ValueError(
                "learning_rate=... sets the optimizer's learning rate, and the optimizer has a "
                f"schedule of its own: {rate!r}. Compile it with a number, or leave "
                "learning_rate out."
            )

    def first_masks(self, selection: Selection, weights: list[Any]) -> list[Any]:
        """Random masks; with one ranking for all layers, uniform ones."""
        recipe = self.recipe
        layouts = selection.layouts
        allocation = "uniform" if recipe.joint else recipe.allocation
        sparsities = recipe.final(selection)[None]
        budget = mask_budgets(recipe.granularity, allocation, layouts, sparsities)[0]
        tensors = [ops.convert_to_tensor(weight) for weight in weights]
        drawn = scores("random", tensors, self.seed)
        return choose_masks(drawn, layouts, budget, recipe.granularity, joint=False)

    def begin_epoch(self, epoch: int) -> None:
        """Sets the learning rate, if it is asked to."""
        super().begin_epoch(epoch)
        if self.learning_rate is not None:
            begin, length = self._phase(epoch)
            rate = float(self.learning_rate(epoch - begin, length))
            self.own_optimizer.learning_rate = rate
        if self._candidates is None and self.scores_candidates():
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

    def _ends_step(self, epoch: int) -> bool:
        begin, length = self._phase(epoch)
        return self._step_of(epoch) < self.lengths.steps and epoch == begin + length - 1

    def end_epoch(self, epoch: int, logs: dict[str, float]) -> None:
        """Ends a step, and scores the candidate that there is then."""
        step, ends = self._step_of(epoch), self._ends_step(epoch)
        if ends:
            self.end_step(step)
        if self._candidates is None:
            return
        if step == self.lengths.steps:
            self._candidate_loss = self._candidates.offer(lambda: None)
        elif ends:
            self._candidate_loss = self._candidates.offer(lambda: self._prune(step))

    def epoch_logs(self, epoch: int, logs: dict[str, float]) -> dict[str, float]:
        """Where in the schedule the training is, densities, and the latest candidate's loss."""
        step, kept, sizes = self._step_of(epoch), self.meter.kept, self.meter.sizes
        tuning = step == self.lengths.steps
        peak = int(ops.convert_to_numpy(self.optimizer.counters["peak"]))
        own = {
            "gap_step": float(step),
            "gap_round": float(self.round_of(step)),
            "gap_partition": -1.0 if tuning else float(self.dense_partition(step)),
            "gap_density": float(kept.sum() / sizes.sum()),
            "gap_peak_density": float(peak / sizes.sum()),
        }
        owner = np.array(self.partitioning.of_target)
        for i in range(self.partitioning.count):
            mine = owner == i
            own[f"gap_density_{i}"] = float(kept[mine].sum() / sizes[mine].sum())
        if self._candidates is not None:
            own["gap_candidate_loss"] = self._candidate_loss
        return own

    def _prune(self, step: int) -> None:
        """Makes the model what it will be once a step's partition is pruned."""
        weights = self.selection.variables(self.model)
        tensors = [ops.convert_to_tensor(weight) for weight in weights]
        masks = [ops.convert_to_tensor(mask) for mask in self.optimizer.masks]
        rule = self.optimizer.rule
        pruned = rule.pruned(rule.closing[step + 1], Tensors(tensors, masks))
        for weight, tensor, mask in zip(weights, tensors, pruned, strict=True):
            weight.assign(apply_mask(tensor, mask))
        if batch_normalizations(self.model):
            batch_norm_tuning(self.model, self._calibration(), steps=10, momentum=None)

    def _calibration(self) -> Any:
        if self.calibration is not None:
            return self.calibration
        given = self.validation_data
        return given[0] if isinstance(given, tuple) else given

    def uninstall(self) -> None:
        """Gives the model its own optimizer back."""
        super().uninstall()
        self._candidates, self._candidate_loss = None, float("nan")


def _read_partitions(
    partitions: Partitions | None,
) -> int | tuple[GrowPrunePartition, ...] | None:
    if partitions is None:
        return None
    if isinstance(partitions, Sequence) and not isinstance(partitions, str) and partitions:
        try:
            return tuple(
                part if isinstance(part, GrowPrunePartition) else GrowPrunePartition(part)
                for part in partitions
            )
        except ValueError as error:
            raise wrong("partitions", partitions, f"lists of layers: {error}") from error
    cure = "Or give a list of partitions, such as [['conv1', 'conv2'], ['dense*']]."
    return integer("partitions", partitions, cure=cure)
