"""Pruned copies of a network in training: how much of it is enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_sparse.backend.random_state import undisturbed_random
from keras_sparse.backend.training_state import fetch_state
from keras_sparse.engine.fit_callback import FitCallback
from keras_sparse.messages.arguments import integer, one_of, random_seed, wrong
from keras_sparse.plots.pretraining import pretraining_curve
from keras_sparse.probe.calibration import calibration_batches, check_data
from keras_sparse.probe.snapshot import borrowed
from keras_sparse.sparsity.duration import Duration, Run
from keras_sparse.structured.pretraining.pretraining_report import (
    PretrainingReport,
    pretraining_report,
)
from keras_sparse.structured.units.accuracy import accuracy
from keras_sparse.structured.units.contributions import numbers
from keras_sparse.structured.units.greedy_forward_selection import greedy_forward_selection
from keras_sparse.structured.units.i_spasp import i_spasp
from keras_sparse.structured.units.objective import Objective
from keras_sparse.structured.units.two_layer import smaller_model, two_layers

Pruner = Callable[[keras.Model, Any, int], keras.Model]


class ProbedStep(NamedTuple):
    """What was measured after a step of training.

    Args:
        step: Updates so far.
        dense_loss: Of the network as it is.
        pruned_loss: Of its pruned copy.
        dense_metric: Of the network as it is.
        pruned_metric: Of its pruned copy.
    """

    step: int
    dense_loss: float
    pruned_loss: float
    dense_metric: float
    pruned_metric: float


class PretrainingProbe(FitCallback):
    """Prunes a copy of the model now and then, to tell from which step on it could be pruned.

    The training goes on as if nothing had been: weights, optimizer, statistics and random numbers
    are those of a `fit` without it, bit by bit.

    ```python
    probe = ks.PretrainingProbe((x, y), size=50, every="100st")
    model.fit(x, y, epochs=20, callbacks=[probe])
    print(probe.report().text())
    probe.plot("pretraining.png")
    ```

    Logs `probe_dense_loss`, `probe_pruned_loss`, and the same of the metric, of the latest probe.

    Args:
        data: Samples on which copies are pruned and measured: arrays `(x, y)`, or batches that can
            be read again and again.
        size: Units that the pruner is to select.
        every: How often: epochs, `"100st"` or a share of the run such as `"10%"`. Before the first
            step and after the last one in any case. With several steps in an execution it is as
            soon as one ends.
        pruner: `"greedy_forward_selection"`, `"i_spasp"` or `"random"`, for models of two layers,
            or a function of the model, the data and the size that returns the pruned copy,
            fine-tuned if that is wanted.
        metric: `"accuracy"`, or a function of targets and predictions (arrays); more is better.
        seed: Of what the pruner draws.

    Attributes:
        history: A `ProbedStep` for each probe of the latest `fit`.

    Raises:
        ValueError: At construction for arguments out of range; before the first step for a model
            that the pruner or the data do not suit.

    Source: Wolfe (2023), 3.4 and 3.6.2.
    """

    def __init__(
        self,
        data: Any,
        size: int,
        *,
        every: Duration | str | float = 1,
        pruner: str | Pruner = "greedy_forward_selection",
        metric: str | Callable[[np.ndarray, np.ndarray], float] = "accuracy",
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_data(data)
        self.data, self.size = data, integer("size", size)
        self.every = Duration.of(every, "every")
        if not callable(pruner):
            one_of("pruner", pruner, PRUNERS)
        if not callable(metric):
            one_of("metric", metric, ("accuracy",))
        if random_seed("seed", seed) is None:
            raise wrong("seed", seed, "an integer of at least 0")
        self.pruner, self.metric, self.seed = pruner, metric, seed
        self.history: list[ProbedStep] = []

    def install(self, run: Run) -> None:
        """Finds out when to probe."""
        if not callable(self.pruner):
            two_layers(self.model)
        if getattr(self.model, "loss", None) is None:
            raise wrong("model", self.model.name, "compiled with a loss")
        self._between = max(self.every.to_steps(run), 1)
        self._done = 0
        self._next = 0

    def uninstall(self) -> None:
        """Nothing is in the model."""

    def begin_epoch(self, epoch: int) -> None:
        """Probes before the first step."""
        if self._next == 0:
            self._done = epoch * self.run.steps_per_epoch
            before = [each for each in self.history if each.step <= self._done]
            self.history = before if self._done else []
            self._probe_once()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Probes when it is time."""
        super().on_train_batch_end(batch, logs)
        self._done = self._epoch * self.run.steps_per_epoch + batch + 1
        if self._done >= self._next:
            fetch_state(self.model)
            self._probe_once()

    def end_fit(self) -> None:
        """Probes after the last step."""
        self._probe_once()

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), "history": []}

    def _probe_once(self) -> None:
        """Probes, unless that was done at this step."""
        self._next = (self._done // self._between + 1) * self._between
        if not self.history or self.history[-1].step != self._done:
            self._probe()

    def _probe(self) -> None:
        model = self.model
        optimizer = getattr(model.optimizer, "variables", ())
        with undisturbed_random(), borrowed(model, [*model.variables, *optimizer]):
            prune = self.pruner if callable(self.pruner) else PRUNERS[self.pruner]
            given = (self.seed,) if prune in PRUNERS.values() else ()
            pruned = prune(model, self.data, self.size, *given)
            measured = [self._measure(each) for each in (model, pruned)]
        (dense_loss, dense), (pruned_loss, found) = measured
        self.history.append(ProbedStep(self._done, dense_loss, pruned_loss, dense, found))

    def _measure(self, model: keras.Model) -> tuple[float, float]:
        predictions, targets = [], []
        for x, y in calibration_batches(self.model, self.data, 1024):
            batch = keras.tree.map_structure(ops.convert_to_tensor, x)
            with keras.StatelessScope():
                predictions.append(ops.convert_to_numpy(model(batch, training=False)))
            targets.append(numbers("data", y))
        made, wanted = np.concatenate(predictions), np.concatenate(targets)
        loss = self.model.loss
        value = Objective(wanted, loss).of_predictions(ops.convert_to_tensor(made), 1)
        if callable(self.metric):
            return float(value[0]), float(self.metric(wanted, made))
        return float(value[0]), accuracy(made, wanted, loss)

    def epoch_logs(self, epoch: int, logs: dict[str, float]) -> dict[str, float]:
        """What the latest probe measured."""
        latest = self.history[-1]._asdict()
        return {f"probe_{name}": value for name, value in latest.items() if name != "step"}

    def report(self, *, tol: float = 0.01, target: float | None = None) -> PretrainingReport:
        """The steps from which on the model could be pruned.

        Args:
            tol: How far below the best pruned copy's metric the plateau begins.
            target: What the first hit is to reach.

        Raises:
            ValueError: If there was no probe yet.
        """
        steps, _, _, dense, pruned = self._columns()
        return pretraining_report(steps, pruned, dense, tol=tol, target=target)

    def plot(self, path: Any = None, *, title: str | None = None) -> Any:
        """Draws the losses of the model and of its pruned copies against the steps of training.

        Args:
            path: The picture to write, ending in `.png`. Defaults to none.
            title: The title. Defaults to none.

        Returns:
            The matplotlib `Figure`.

        Raises:
            ValueError: If there was no probe yet.
        """
        steps, dense, pruned, *_ = self._columns()
        curves = {"pruned": (steps, pruned), "dense": (steps, dense)}
        found = self.report()
        marks = {"as good as the dense network at the end": found.winning_ticket}
        shown = {name: step for name, step in marks.items() if step is not None}
        return pretraining_curve(curves, path, marks=shown, title=title)

    def _columns(self) -> list[list[float]]:
        if not self.history:
            raise ValueError("There was no probe yet: give this callback to fit first.")
        return [list(column) for column in zip(*self.history, strict=True)]


def _greedy(model: keras.Model, data: Any, size: int, seed: int) -> keras.Model:
    found = greedy_forward_selection(model, data, size, seed=seed)
    return smaller_model(model, found.indices, found.gains)


def _pursued(model: keras.Model, data: Any, size: int, seed: int) -> keras.Model:
    return smaller_model(model, i_spasp(model, data, size, seed=seed).indices)


def _random(model: keras.Model, data: Any, size: int, seed: int) -> keras.Model:
    units = int(two_layers(model).hidden.kernel.shape[1])
    return smaller_model(model, np.random.default_rng(seed).permutation(units)[:size])


PRUNERS: dict[str, Callable[..., keras.Model]] = {
    "greedy_forward_selection": _greedy,
    "i_spasp": _pursued,
    "random": _random,
}
