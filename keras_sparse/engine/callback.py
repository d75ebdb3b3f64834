"""The base class of the callbacks that train sparse."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from keras_sparse.backend.replicas import strategy_scope
from keras_sparse.engine import installation
from keras_sparse.engine.between_steps import hold_masks, mask_averages
from keras_sparse.engine.buffers import parts
from keras_sparse.engine.fit_callback import FitCallback
from keras_sparse.engine.meter import Meter
from keras_sparse.engine.rule import Rule
from keras_sparse.engine.sparse_optimizer import SparseOptimizer
from keras_sparse.messages.arguments import random_seed
from keras_sparse.messages.keywords import keywords_of, unknown_keyword
from keras_sparse.messages.warning import SparsityWarning
from keras_sparse.probe.nonzeros import count_nonzero
from keras_sparse.sparsity.allocation import Allocation
from keras_sparse.sparsity.duration import Run
from keras_sparse.sparsity.granularity import Granularity
from keras_sparse.sparsity.recipe import Recipe
from keras_sparse.sparsity.selection import Selection, Which


class SparseCallback(FitCallback):
    """Base class: trains a model sparse for the length of one `fit`.

    A method derives from it and implements `make_rule`. The callback installs the rule when
    `fit` begins and gives the model its own optimizer back when `fit` ends; the model's weights
    are then sparse and nothing else of it has changed. An interrupted `fit` leaves the rule in
    place, so that a second `fit` with the same arguments goes on with the masks it had.

    At the end of each epoch it adds to the logs: `sparsity` (fraction of zeros among the weights
    to prune), `mask_change` (fraction of the kept weights that have changed places since the
    epoch before; NaN in the first one), `inference_flops_ratio` and `train_flops_ratio`
    (operations relative to the dense model and to dense training so far; NaN where the input size
    is unknown). Of each validation metric it adds a `sparse_val_...`, which is the metric where
    the model is as sparse as asked, and the worst value there is (infinity) where it is not yet:
    choose the best epoch by it, with `SparseEarlyStopping`, `ModelCheckpoint` or keras-tuner,
    and list this callback before those that read it.

    Args:
        sparsity: Fraction of weights to remove, in [0, 1).
        granularity: `Unstructured()`, `NM(n, m)`, `Block(rows, cols)`, `Channel()`, `"n:m"`, or
            `"xnnpack"`, which gives each layer the pattern that the runtime computes faster.
        allocation: `"global"`, `"uniform"`, `"er"`, `"erk"` or a mapping from layers to
            sparsities.
        exclude: Layers, names, globs or a predicate of what stays dense.
        include: The same of what is pruned though it would not be by default.
        keep_dense: Any of `"first"`, `"last"`, `"depthwise"`.
        strict: Whether a layer of which nothing is left is an error rather than a warning.
        seed: Seed of whatever is random in the method.

    Attributes:
        ends_sparse: Whether the method means the final model to be sparse.
        takes_sparsity: Whether a sparsity can be asked for.
        command: The name by which the command line knows the method, if it does.
    """

    ends_sparse: ClassVar[bool] = True
    takes_sparsity: ClassVar[bool] = True
    command: ClassVar[str | None] = None

    @classmethod
    def for_run(cls, **common: Any) -> SparseCallback:
        """The callback as runs of the command line have it.

        Args:
            **common: The common arguments that were given.
        """
        return cls(**common)

    def __init__(
        self,
        sparsity: float | None = None,
        *,
        granularity: Granularity | str | None = None,
        allocation: Allocation = "global",
        exclude: Which = (),
        include: Which = (),
        keep_dense: Any = (),
        strict: bool = False,
        seed: int | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__()
        if unknown:
            own = type(self).__mro__[: type(self).__mro__.index(SparseCallback) + 1]
            known = keywords_of(*own)
            raise unknown_keyword(type(self).__name__, next(iter(unknown)), known)
        self.recipe = Recipe(
            sparsity,
            granularity=granularity,
            allocation=allocation,
            exclude=exclude,
            include=include,
            keep_dense=keep_dense,
            strict=strict,
            sparsity_required=self.sparsity_required,
        )
        self.seed = random_seed("seed", seed)
        self.optimizer: Any = None
        self._own: Any = None

    @property
    def sparsity_required(self) -> bool:
        """Whether there must be a sparsity: not where it follows from something else."""
        return True

    @property
    def own_optimizer(self) -> Any:
        """The user's own optimizer, built where it is a `MultiOptimizer`."""
        own = self._own or installation.own_optimizer(self.model)
        if own is not None and len(parts(own)) > 1 and not own.built:
            with strategy_scope(self.model):
                own.build(self.model.trainable_variables)
        return own

    def make_rule(self, run: Run, selection: Selection, final: np.ndarray) -> Rule:
        """The method itself.

        Args:
            run: The length of the `fit`.
            selection: What is pruned.
            final: The sparsity asked for: a number, or one for each target.

        Raises:
            ValueError: If the run is too short for the method.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement make_rule")

    def first_masks(self, selection: Selection, weights: list[Any]) -> list[Any] | None:
        """Masks to train with from the first step, or `None` to start dense."""
        return None

    def notes(self, selection: Selection) -> Mapping[str, np.ndarray]:
        """What the method's logs follow from, kept with the masks in checkpoints.

        Returns:
            First values by name. `self.optimizer.notes` has variables of these names.
        """
        return {}

    def _settings(self) -> dict[str, Any]:
        gone = ("meter", "selection", "final", "run")
        kept = {key: value for key, value in vars(self).items() if key not in gone}
        return {**kept, "optimizer": None, "_own": None}

    def in_training(self) -> bool:
        """Whether a training with this callback is unfinished."""
        installed = self.installed and installation.find(self.model) is self.optimizer
        return installed or self._waiting

    def install(self, run: Run) -> None:
        """Puts the rule between the model and its optimizer, and the first masks in force."""
        model, self._told = self.model, False
        selection = self.recipe.select(model)
        final = self.recipe.final(selection)
        rule = self.make_rule(run, selection, final)
        optimizer, resumed = installation.install(
            model, rule, selection, self.notes(selection), self.params
        )
        self.optimizer, self.selection, self.final = optimizer, selection, final
        if not resumed:
            self._set_first_masks(optimizer, selection)
        self.meter = Meter(model, selection, optimizer, run, self.recipe)

    def _set_first_masks(self, optimizer: SparseOptimizer, selection: Selection) -> None:
        masks = self.first_masks(selection, selection.variables(self.model))
        if masks is not None:
            kept = [count_nonzero(mask) for mask in masks]
            self.recipe.check_filled(selection, kept)
            optimizer.set_masks(masks)

    def install_in(self, optimizer: Any, model: keras.Model, run: Run) -> SparseOptimizer:
        """Wraps an optimizer outside of `fit`. See `sparse_optimizer`."""
        self.set_model(model)
        self._own = optimizer
        selection = self.recipe.select(model)
        final = self.recipe.final(selection)
        rule = self.make_rule(run, selection, final)
        if type(rule).train_step is not Rule.train_step:
            raise ValueError(
                f"{type(self).__name__} takes two gradients in a step of Keras's own, and cannot "
                "do so outside of model.fit. Use it as a callback of fit."
            )
        with strategy_scope(model):
            sparse = SparseOptimizer(optimizer, rule, selection.targets)
            sparse.build(model.trainable_variables)
        self._set_first_masks(sparse, selection)
        return sparse

    def uninstall(self) -> None:
        """Gives the model its own optimizer back."""
        if self.optimizer is not None:
            installation.remove(self.model)
        self.optimizer = None

    def watched(self) -> Sequence[Any]:
        """The model's weights, dense ones that are kept apart, and what the rule learns."""
        optimizer = self.optimizer
        state = [variable for group in optimizer.state.values() for variable in group]
        return [*self.model.trainable_variables, *optimizer.shadows, *state]

    def begin_epoch(self, epoch: int) -> None:
        """Sets the clock, which skipped steps or a restored epoch may have put out."""
        step = epoch * self.run.steps_per_epoch
        if int(ops.convert_to_numpy(self.optimizer.step)) != step:
            self.optimizer.step.assign(step)
        self.optimizer.show_sampled()
        self.meter.begin(epoch)

    def end_batches(self, epoch: int) -> None:
        """Gives the model, and averages of it, the weights to evaluate, and measures them."""
        self._check_steps(epoch)
        self.optimizer.show_evaluated()
        mask_averages(self.optimizer)
        self.meter.measure()

    def _check_steps(self, epoch: int) -> None:
        """Says so if the model trains by another optimizer than its own."""
        step = int(ops.convert_to_numpy(self.optimizer.step))
        skipped = installation.skips_steps(self.model)
        if self._told or skipped or step > epoch * self.run.steps_per_epoch:
            return
        self._told = True
        asked, _ = self._asked_and_achieved()
        warnings.warn(
            f"{type(self).__name__} was asked for {asked:.2%} zeros and prunes nothing: "
            f"the optimizer that model {self.model.name!r} is compiled with took no step in epoch "
            f"{epoch + 1}. If the model's train_step uses optimizers of its own, compile it with "
            "keras_sparse.sparse_optimizer(optimizer, model, method, steps=...) in their place, "
            "or put the masks into its layers with keras_sparse.prune_wrap.",
            SparsityWarning,
            stacklevel=2,
        )

    def begin_evaluation(self) -> None:
        """Puts zeros where masks say so, whatever other callbacks have written meanwhile."""
        self.optimizer.show_evaluated()
        hold_masks(self.optimizer)
        self.meter.count()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Puts zeros where masks say so before the first step of an epoch."""
        if batch == 0 and self.installed:
            hold_masks(self.optimizer)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Adds to the logs."""
        self.finish_batches()
        if logs is not None:
            logs.update(self.meter.logs(epoch))
        super().on_epoch_end(epoch, logs)
        if logs is not None and self.ends_sparse:
            sparse = self._is_as_sparse_as_asked()
            for name in [name for name in logs if name.startswith("val_")]:
                logs[f"sparse_{name}"] = logs[name] if sparse else worst(name)

    def _asked_and_achieved(self) -> tuple[float, float]:
        sizes = self.meter.sizes
        asked = float(np.nansum(self.final * sizes) / sizes.sum())
        return asked, 1 - float(self.meter.nonzeros().sum() / sizes.sum())

    def _is_as_sparse_as_asked(self) -> bool:
        asked, achieved = self._asked_and_achieved()
        # Each tensor's count is rounded by itself.
        return achieved >= asked - len(self.meter.sizes) / self.meter.sizes.sum()

    def end_fit(self) -> None:
        """Gives a model whose weights are drawn those to be evaluated with."""
        self.optimizer.show_evaluated()

    def after_fit(self) -> None:
        """Says so if the model that is handed back is less sparse than asked."""
        if not self.ends_sparse:
            return
        name, message = type(self).__name__, None
        asked, achieved = self._asked_and_achieved()
        if not self._is_as_sparse_as_asked():
            message = (
                f"{name} was asked for {asked:.2%} zeros and ended with {achieved:.2%}. Was "
                "training stopped early or in a dense phase, or are these the weights of an "
                "earlier epoch (EarlyStopping(restore_best_weights=True))? Train to the end, "
                "choose the best of the sparse epochs with keras_sparse.SparseEarlyStopping, or "
                "prune what is missing with keras_sparse.prune(model, ...)."
            )
        elif achieved == 0:
            message = f"{name} pruned nothing: " + (
                "no weight fell below its threshold."
                if np.all(np.isnan(self.final))
                else "it was asked for a sparsity of 0."
            )
        if message:
            warnings.warn(message, SparsityWarning, stacklevel=2)


def worst(metric: str) -> float:
    """A value that no other of a metric is worse than."""
    return math.inf if "loss" in metric or "error" in metric else -math.inf
