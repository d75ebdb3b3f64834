"""The base class of callbacks that install something in a model for the length of one `fit`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_sparse.backend.first_batch import at_first_batch, build_metrics_first
from keras_sparse.backend.training_state import fetch_state
from keras_sparse.probe.finite import not_finite
from keras_sparse.sparsity.duration import Run


def _guarded(event: Callable[..., Any]) -> Callable[..., Any]:
    """An event of Keras that leaves the model as it was if it fails."""

    @functools.wraps(event)
    def guarded(self: FitCallback, *args: Any, **kwargs: Any) -> Any:
        try:
            return event(self, *args, **kwargs)
        except Exception:
            self._leave()
            raise

    return guarded


def _guard_events(cls: type) -> None:
    for name, value in list(vars(cls).items()):
        if name.startswith("on_") or name == "set_params":
            setattr(cls, name, _guarded(value))


class FitCallback(keras.callbacks.Callback):
    """Base class: installs something in a model when `fit` begins, and takes it out at its end.

    A subclass implements `install` and `uninstall`, and the hooks below them that it needs. An
    exception in any of its events takes out what was installed before it goes on its way.
    Ctrl-C leaves it in place: a second `fit` with the same arguments goes on where the first one
    was interrupted. A model without variables yet gets them from the first batch.

    A copy (`copy.deepcopy`, `pickle`) has the settings, and nothing of a model that was trained.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Guards the events that a subclass defines."""
        super().__init_subclass__(**kwargs)
        _guard_events(cls)

    def __init__(self) -> None:
        super().__init__()
        self._forget()

    def _forget(self) -> None:
        """Everything that belongs to one `fit`."""
        self.installed = False
        self._fitting = False
        self._waiting = False
        self._measured = False
        self._history: Any = None
        self._epoch = 0

    def __getstate__(self) -> dict[str, Any]:
        bare = FitCallback()
        fitting = {**vars(bare), "params": None}
        return {**self._settings(), **fitting}

    def _settings(self) -> dict[str, Any]:
        """What a copy takes along."""
        return dict(vars(self))

    def install(self, run: Run) -> None:
        """Puts in the model what is to be there for the length of the `fit`.

        Args:
            run: The length of the `fit`.

        Raises:
            ValueError: If the model or the run does not suit. Nothing may be left in the model.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement install")

    def uninstall(self) -> None:
        """Takes it out again. Also called where `install` has failed."""
        raise NotImplementedError(f"{type(self).__name__} must implement uninstall")

    def begin_epoch(self, epoch: int) -> None:
        """Acts before the first batch of an epoch."""

    def end_batches(self, epoch: int) -> None:
        """Acts after the last batch of an epoch, before it is evaluated and before checkpoints."""

    def begin_evaluation(self) -> None:
        """Acts before the first batch of an evaluation in `fit`."""

    def end_epoch(self, epoch: int, logs: dict[str, float]) -> None:
        """Acts at the end of an epoch, after its evaluation."""

    def epoch_logs(self, epoch: int, logs: dict[str, float]) -> dict[str, float]:
        """What is added to the logs of an epoch. Changes nothing."""
        return {}

    def end_fit(self) -> None:
        """Acts when `fit` comes to its end, before `uninstall`."""

    def after_fit(self) -> None:
        """Looks at what `fit` hands back, after the other callbacks have had their say."""

    def watched(self) -> Sequence[Any]:
        """The variables that a diverged training shows in."""
        return self.model.trainable_variables

    def in_training(self) -> bool:
        """Whether a training with this callback is unfinished."""
        return self.installed or self._waiting

    def set_model(self, model: keras.Model) -> None:
        """Refuses a second model while the first one's training is unfinished."""
        if self.in_training() and self.model is not model:
            raise ValueError(
                f"This {type(self).__name__} is training model {self.model.name!r}, and was given "
                f"to model {model.name!r} as well. Make one callback for each model."
            )
        super().set_model(model)

    def set_params(self, params: Any) -> None:
        """Installs. Keras calls this before any `on_train_begin`.

        Being installed that early lets `BackupAndRestore` restore variables wherever it stands
        in the list of callbacks.
        """
        again = params is not None and params is self.params
        super().set_params(params)
        if again:
            raise ValueError(
                f"The same {type(self).__name__} stands in the list of callbacks twice. Give it "
                "once."
            )
        if self.model is not None and has_variables(self.model):
            self._install()

    def _install(self) -> None:
        self.run = self._run()
        self.install(self.run)
        self.installed = True

    def _run(self) -> Run:
        epochs, steps = self.params.get("epochs"), self.params.get("steps")
        if steps is None:
            raise ValueError(
                f"{type(self).__name__} plans ahead and needs the length of an epoch, which this "
                "data does not tell. Give fit(steps_per_epoch=...), or "
                "dataset.apply(tf.data.experimental.assert_cardinality(...))."
            )
        return Run(epochs, steps)

    def on_train_begin(self, logs: Any = None) -> None:
        """Makes sure that everything is in place."""
        self._fitting, history = True, getattr(self.model, "history", None)
        # One that has not begun yet stands further down the list of callbacks, by default last.
        self._history = None if hasattr(history, "epoch") else history
        if not self.installed and has_variables(self.model):
            self._install()
        if self.installed:
            build_metrics_first(self.model)
            return
        self._waiting = True
        at_first_batch(self.model, self._built)

    def _built(self) -> None:
        self._waiting = False
        self._install()
        self.begin_epoch(self._epoch)

    def on_test_begin(self, logs: Any = None) -> None:
        """Leaves a model that is only evaluated as it was."""
        if not self._fitting:
            self._leave()

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Prepares for an evaluation in `fit`."""
        if self._fitting and batch == 0:
            self.begin_evaluation()

    def on_predict_begin(self, logs: Any = None) -> None:
        """Leaves a model that only predicts as it was."""
        if not self._fitting:
            self._leave()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Begins an epoch."""
        self._epoch, self._measured = epoch, False
        if self.installed:
            self.begin_epoch(epoch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Stops at a loss that is not a number, and looks at the model at the end of an epoch."""
        loss = (logs or {}).get("loss", 0.0)
        last = batch >= self.run.steps_per_epoch - 1
        if last or not np.isfinite(loss):
            fetch_state(self.model)
        if not np.isfinite(loss):
            own = getattr(self.model.optimizer, "variables", ())
            self._check_diverged([*self.watched(), *own], f"the loss is {loss} at batch {batch}")
        if last:
            self.finish_batches()

    def finish_batches(self) -> None:
        """Looks at the model after the last batch of an epoch, also where the data ended early."""
        if self._measured:
            return
        self._check_diverged(self.watched(), f"at the end of epoch {self._epoch + 1}")
        self.end_batches(self._epoch)
        self._measured = True

    def _check_diverged(self, variables: Sequence[Any], found: str) -> None:
        broken = not_finite(variables)
        if not broken:
            return  # Loss scaling skipped the step; the weights are sound.
        shown = ", ".join(variable.path for variable in broken[:3])
        more = ", ..." if len(broken) > 3 else ""
        raise FloatingPointError(
            f"Training diverged: {found}, and weights are not finite ({shown}{more}). Checkpoints "
            "of earlier epochs were left alone; go on from one with a lower learning rate, "
            "gradient clipping (clipnorm) or a lower sparsity, and look for NaN in the data."
        )

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Acts, and adds to the logs."""
        self.finish_batches()
        logs = {} if logs is None else logs
        self.end_epoch(epoch, logs)
        logs.update(self.epoch_logs(epoch, logs))

    def on_train_end(self, logs: Any = None) -> None:
        """Leaves the model as it was, but for what was trained."""
        history, fitted = self._history, self.installed
        if fitted:
            self.end_fit()
        self._leave()
        if not fitted:
            return
        if history is None:
            self.after_fit()
            return
        own = history.on_train_end

        def last(logs: Any = None) -> None:
            vars(history).pop("on_train_end", None)
            own(logs)
            self.after_fit()

        history.on_train_end = last

    def _leave(self) -> None:
        if self.model is not None:
            self.uninstall()
        self._forget()


_guard_events(FitCallback)


def has_variables(model: Any) -> bool:
    """Whether a model has been built."""
    return bool(model.built and model.variables)
