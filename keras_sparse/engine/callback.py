"""The base class of the callbacks that train sparse."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from keras_sparse.engine import installation
from keras_sparse.engine.meter import Meter
from keras_sparse.engine.rule import Rule
from keras_sparse.engine.sparse_optimizer import SparseOptimizer
from keras_sparse.messages.warning import SparsityWarning
from keras_sparse.sparsity.allocation import Allocation
from keras_sparse.sparsity.duration import Run
from keras_sparse.sparsity.granularity import Granularity
from keras_sparse.sparsity.recipe import Recipe
from keras_sparse.sparsity.selection import Selection, Which, check_built


class SparseCallback(keras.callbacks.Callback):
    """Base class: trains a model sparse for the length of one `fit`.

    A method derives from it and implements `make_rule`. The callback installs the rule when
    `fit` begins and gives the model its own optimizer back when `fit` ends; the model's weights
    are then sparse and nothing else of it has changed. An interrupted `fit` leaves the rule in
    place, so that a second `fit` with the same arguments goes on with the masks it had.

    At the end of each epoch it adds to the logs: `sparsity` (fraction of zeros among the weights
    to prune), `mask_change` (fraction of the kept weights that have changed places since the
    epoch before; NaN in the first one), `inference_flops_ratio` and `train_flops_ratio`
    (operations relative to the dense model and to dense training so far; NaN where the input size
    is unknown).

    Args:
        sparsity: Fraction of weights to remove, in [0, 1).
        granularity: `Unstructured()`, `NM(n, m)`, `Block(rows, cols)`, `Channel()` or `"n:m"`.
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
    ) -> None:
        super().__init__()
        self.recipe = Recipe(
            sparsity,
            granularity=granularity,
            allocation=allocation,
            exclude=exclude,
            include=include,
            keep_dense=keep_dense,
            strict=strict,
            open_sparsity=self._mask_is_given(),
        )
        self.seed = seed
        self.optimizer: Any = None
        self._training = False

    def _mask_is_given(self) -> bool:
        """Whether the sparsity follows from something else than the arguments."""
        return False

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

    def epoch_logs(self, epoch: int, logs: dict[str, float]) -> dict[str, float]:
        """The method's own logs, under its own prefix."""
        return {}

    def set_model(self, model: keras.Model) -> None:
        """Refuses a second model while the first one's training is unfinished."""
        if self.optimizer is not None and self.model is not model:
            raise ValueError(
                f"This {type(self).__name__} is training model {self.model.name!r}, and was given "
                f"to model {model.name!r} as well. Make one callback for each model."
            )
        super().set_model(model)

    def set_params(self, params: Any) -> None:
        """Installs the rule. Keras calls this before any `on_train_begin`.

        Being installed that early lets `BackupAndRestore` restore masks wherever it stands in
        the list of callbacks.
        """
        super().set_params(params)
        if self.model is not None:
            self._install()

    def _install(self) -> None:
        model = self.model
        check_built(model)
        run = self._run()
        selection = self.recipe.select(model)
        final = self.recipe.final(selection)
        rule = self.make_rule(run, selection, final)
        optimizer, resumed = installation.install(model, rule, selection)
        if not resumed:
            self._set_first_masks(optimizer, selection)
        self.run, self.selection, self.final, self.optimizer = run, selection, final, optimizer
        self.meter = Meter(model, selection, optimizer, run, self.recipe)

    def _set_first_masks(self, optimizer: SparseOptimizer, selection: Selection) -> None:
        try:
            masks = self.first_masks(selection, selection.variables(self.model))
            if masks is not None:
                kept = [int(ops.count_nonzero(mask)) for mask in masks]
                self.recipe.check_filled(selection, kept)
                optimizer.set_masks(masks)
        except Exception:
            installation.remove(self.model)
            raise

    def _run(self) -> Run:
        epochs, steps = self.params.get("epochs"), self.params.get("steps")
        if steps is None:
            raise ValueError(
                f"{type(self).__name__} plans its mask updates ahead and needs the length of an "
                "epoch, which this data does not tell. Give fit(steps_per_epoch=...), or "
                "dataset.apply(tf.data.experimental.assert_cardinality(...))."
            )
        return Run(epochs, steps)

    def on_train_begin(self, logs: Any = None) -> None:
        """Makes sure that the rule is in place."""
        if self.optimizer is None:
            self._install()
        self._training = True

    def on_test_begin(self, logs: Any = None) -> None:
        """Leaves a model that is only evaluated as it was."""
        if not self._training:
            self._leave()
        else:
            self.optimizer.show_evaluated()

    def on_predict_begin(self, logs: Any = None) -> None:
        """Leaves a model that only predicts as it was."""
        if not self._training:
            self._leave()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Sets the clock, which skipped steps or a restored epoch may have put out."""
        step = epoch * self.run.steps_per_epoch
        if int(ops.convert_to_numpy(self.optimizer.step)) != step:
            self.optimizer.step.assign(step)
        self.optimizer.show_sampled()
        self.meter.begin(epoch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Stops at a loss that is not a number, and measures at the end of an epoch."""
        loss = (logs or {}).get("loss", 0.0)
        last = batch >= self.run.steps_per_epoch - 1
        if (last or not np.isfinite(loss)) and keras.backend.backend() == "jax":
            self.model.jax_state_sync()
        if not np.isfinite(loss):
            self._check_diverged(batch, loss)
        if last:
            self.optimizer.show_evaluated()
            self.meter.measure()

    def _check_diverged(self, batch: int, loss: float) -> None:
        weights = self.selection.variables(self.model)
        if all(np.isfinite(ops.convert_to_numpy(weight)).all() for weight in weights):
            return  # Loss scaling skipped the step; the weights are sound.
        raise FloatingPointError(
            f"Training diverged: the loss is {loss} at batch {batch} of this epoch, and weights "
            "are not finite. Checkpoints of earlier epochs were left alone; go on from one with "
            "a lower learning rate, gradient clipping (clipnorm) or a lower sparsity."
        )

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Adds to the logs."""
        if logs is not None:
            logs.update(self.meter.logs(epoch))
            logs.update(self.epoch_logs(epoch, logs))

    def on_train_end(self, logs: Any = None) -> None:
        """Gives the model its own optimizer back, and says so if less was pruned than asked."""
        self.optimizer.show_evaluated()
        sizes, nonzeros = self.meter.sizes, self.meter.nonzeros()
        asked = float(np.nansum(self.final * sizes) / sizes.sum())
        achieved = 1 - float(nonzeros.sum() / sizes.sum())
        self._leave()
        name, message = type(self).__name__, None
        if self.ends_sparse and achieved < asked - len(sizes) / sizes.sum():
            message = (
                f"{name} was asked for {asked:.2%} zeros and ended with {achieved:.2%}. Was "
                "training stopped early, or in a dense phase? Train to the end, or prune what is "
                "missing with keras_sparse.prune(model, ...)."
            )
        elif self.ends_sparse and achieved == 0:
            message = f"{name} pruned nothing: " + (
                "no weight fell below its threshold."
                if np.all(np.isnan(self.final))
                else "it was asked for a sparsity of 0."
            )
        if message:
            warnings.warn(message, SparsityWarning, stacklevel=2)

    def _leave(self) -> None:
        installation.remove(self.model)
        self.optimizer, self._training = None, False
