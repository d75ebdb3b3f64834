"""One training of a batch-size study: to a goal, or to the limit of its steps."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_sparse.data import endless
from keras_sparse.engine.own_loop import sparse_optimizer
from keras_sparse.methods.at_start.base import masks_from_scores
from keras_sparse.methods.at_start.sensitivity import connection_sensitivity
from keras_sparse.methods.at_start.static_mask import StaticMask
from keras_sparse.probe.gradients import LossGradients
from keras_sparse.probe.snapshot import Snapshot
from keras_sparse.sparsity.recipe import Recipe
from keras_sparse.sparsity.saliency import scores
from keras_sparse.tuning.steps.momentum_sgd import MomentumSGD
from keras_sparse.tuning.steps.steps_to_result import INFEASIBLE, StepsToResult

MASKS = ("snip", "random", "magnitude")
OPTIMIZERS = {"sgd": False, "momentum": False, "nesterov": True}
_SCORED_AT_ONCE = 1000


class Workload(NamedTuple):
    """What all trials of a study have in common.

    Args:
        build_model: Returns a new model; it need not be compiled.
        optimizer: `"sgd"`, `"momentum"` or `"nesterov"`.
        goal_error: The validation error to come down to.
        check_every: Updates between two checks.
        max_steps: Updates after which a trial is incomplete.
        mask: What masks are chosen by, before the first step.
        seed: Of the first trial.
        error: See `StepsToResult`.
        memory_batch: Samples of the largest batch that is computed at once.
        strategy: A `tf.distribute.Strategy`, a function that makes one, or `None`.
        jit_compile: As for `model.compile`.
    """

    build_model: Callable[[], keras.Model]
    optimizer: str
    goal_error: float
    check_every: int
    max_steps: int
    mask: str
    seed: int
    error: Callable[[Any, Any], Any] | None
    memory_batch: int | None
    strategy: Any
    jit_compile: bool | str

    def micro_batches(self, batch_size: int) -> int:
        """Into how many batches a larger one is cut."""
        return math.ceil(batch_size / (self.memory_batch or batch_size))


class Record(NamedTuple):
    """A trial of a study.

    Args:
        sparsity: Fraction of weights that are pruned.
        batch_size: Of an update.
        trial: Its number, by which initial weights and metaparameters follow.
        values: Its metaparameters.
        status: `"complete"`, `"incomplete"` or `"infeasible"`.
        steps: Updates that were made: to the goal, if it is complete.
        error: The last validation error; `None` before any check.
        limit: Updates at which it would have stopped.
        measured_sparsity: Of the prunable weights at the end.
        seconds: That it took, checks included.
    """

    sparsity: float
    batch_size: int
    trial: int
    values: dict[str, float]
    status: str
    steps: int
    error: float | None
    limit: int
    measured_sparsity: float
    seconds: float


class Trainer:
    """Makes trials one after the other, with one compiled step for all of a batch size.

    Args:
        workload: What they have in common.
        data: `(x_train, y_train, x_validation, y_validation)`.
    """

    def __init__(self, workload: Workload, data: tuple[Any, Any, Any, Any]) -> None:
        self.workload, self.train = workload, (data[0], data[1])
        self._scores: dict[int, list[np.ndarray]] = {}
        strategy = workload.strategy
        scoped = strategy is not None and not hasattr(strategy, "scope")
        self._strategy = strategy() if scoped else strategy
        # TensorFlow cannot run several steps at once that update masks on replicas.
        self._executed = workload.check_every if strategy is None else 1
        self._goal = StepsToResult(
            (data[2], data[3]),
            workload.goal_error,
            workload.check_every,
            error=workload.error,
        )
        self._of: tuple[float, int] | None = None

    def _scope(self) -> Any:
        return contextlib.nullcontext() if self._strategy is None else self._strategy.scope()

    def _prepare(self, sparsity: float, batch_size: int) -> None:
        """Builds and compiles the model of a sparsity and a batch size, unless it is at hand."""
        if self._of == (sparsity, batch_size):
            return
        keras.utils.clear_session(free_memory=False)
        work = self.workload
        micro = work.micro_batches(batch_size)
        with self._scope():
            self.model = work.build_model()
            loss = getattr(self.model, "loss", None) or (
                keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            )
            self.optimizer = MomentumSGD(
                nesterov=OPTIMIZERS[work.optimizer],
                gradient_accumulation_steps=micro if micro > 1 else None,
            )
            self.sparse: Any = None
            if sparsity:
                mask = StaticMask(mask="current")
                steps = work.max_steps
                self.sparse = sparse_optimizer(self.optimizer, self.model, mask, steps=steps)
            self.model.compile(
                self.sparse or self.optimizer,
                loss,
                steps_per_execution=self._executed,
                jit_compile=work.jit_compile,
            )
            self.model.optimizer.build(self.model.trainable_variables)
        self._first = Snapshot(self.model, self.model.optimizer.variables)
        recipe = Recipe(sparsity)
        self._pruned = recipe, recipe.select(self.model)
        self._gradients = LossGradients(self.model, self._pruned[1].variables(self.model))
        self._of = (sparsity, batch_size)

    def run(
        self,
        sparsity: float,
        batch_size: int,
        trial: int,
        values: Mapping[str, float],
        limit: int | None = None,
    ) -> Record:
        """Makes a trial.

        Args:
            sparsity: Fraction of weights to prune before the first step.
            batch_size: Samples of an update.
            trial: Its number.
            values: Settings of `MomentumSGD`.
            limit: Updates after which to stop. Defaults to the workload's.
        """
        began, work = time.perf_counter(), self.workload
        self._prepare(sparsity, batch_size)
        seed = work.seed + trial
        self._begin(sparsity, trial, seed)
        self.optimizer.set(**values)
        micro = work.micro_batches(batch_size)
        limit = min(limit or work.max_steps, work.max_steps)
        self._goal.max_steps = limit
        keras.utils.set_random_seed(seed)
        batches = endless(*self.train, batch_size // micro, seed=seed)
        executions = math.ceil(limit * micro / self._executed)
        try:
            self.model.fit(
                batches,
                steps_per_epoch=executions * self._executed,
                callbacks=[self._goal],
                shuffle=False,
                verbose=0,
            )
        except FloatingPointError:
            self._goal.status = INFEASIBLE
        goal, error = self._goal, self._goal.final_error
        return Record(
            sparsity,
            batch_size,
            trial,
            dict(values),
            goal.status,
            goal.steps,
            error if error is None or math.isfinite(error) else None,
            limit,
            self._sparsity(),
            time.perf_counter() - began,
        )

    def _begin(self, sparsity: float, trial: int, seed: int) -> None:
        """Draws the weights of a trial's seed, and prunes them."""
        with self._scope():
            keras.utils.set_random_seed(seed)
            fresh = self.workload.build_model()
            for variable, value in zip(self.model.variables, fresh.variables, strict=True):
                variable.assign(ops.convert_to_numpy(value))
        self._first.restore()
        if sparsity:
            recipe, selection = self._pruned
            with self._scope():
                self.sparse.set_masks(masks_from_scores(recipe, selection, self._scored(trial)))

    def _scored(self, trial: int) -> list[np.ndarray]:
        """What the weights that a trial begins with matter, whatever the sparsity."""
        if trial not in self._scores:
            weights = self._pruned[1].variables(self.model)
            if self.workload.mask == "snip":
                found = connection_sensitivity(
                    self.model,
                    weights,
                    self.train,
                    batch_size=_SCORED_AT_ONCE,
                    gradients=self._gradients,
                )
            else:
                tensors = [ops.convert_to_tensor(weight) for weight in weights]
                drawn = scores(self.workload.mask, tensors, self.workload.seed + trial)
                found = [np.asarray(ops.convert_to_numpy(each)) for each in drawn]
            self._scores[trial] = found
        return self._scores[trial]

    def _sparsity(self) -> float:
        weights = self._pruned[1].variables(self.model)
        values = [np.ravel(ops.convert_to_numpy(weight)) for weight in weights]
        return float(np.mean(np.concatenate(values) == 0))
