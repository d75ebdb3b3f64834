"""How smooth the loss is along the path of a training."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.backend.replicas import strategy_scope
from keras_sparse.backend.training_state import fetch_state
from keras_sparse.engine import installation
from keras_sparse.messages.arguments import integer, number
from keras_sparse.probe.calibration import calibration_batches, check_data
from keras_sparse.probe.gradients import LossGradients
from keras_sparse.probe.snapshot import borrowed


class LipschitzSmoothness(keras.callbacks.Callback):
    """Estimates the Lipschitz constant of the gradient between one step and the next.

    Every some steps the gradient on all training data is computed at the weights w before a step
    and at `w + gamma d` for gamma of 0.1 to 1.0, with d what the step changed: the estimate is the
    largest `||grad f(w + gamma d) - grad f(w)|| / ||gamma d||`. Pruned weights are left out. The
    weights are afterwards what they were, to the last bit, and nothing else is touched: the model
    runs in inference mode, eleven times over the data.

    Adds `lipschitz` to the logs of an epoch: the mean of the estimates in it, NaN without any.

    ```python
    smoothness = ks.tuning.LipschitzSmoothness((x, y), every=10)
    model.fit(x, y, epochs=3, callbacks=[ks.GMP(0.9), smoothness])
    smoothness.mean, smoothness.values
    ```

    Args:
        train_data: `(x, y)`, or a finite iterable of such batches.
        every: Steps between two estimates.
        delta: The step of gamma.
        chunk: Samples whose gradient is computed at once, for arrays.

    Attributes:
        values: `(step, estimate)`, with w as it was before that step, counted from 1. A step
            that changes nothing gives none.

    Raises:
        ValueError: At construction for arguments out of range; when `fit` begins for a model that
            takes several steps at once (`steps_per_execution`).

    Source: Lee (2020), Appendix 5.C, Eq. 5.16, after Santurkar et al. (2018).
    """

    def __init__(
        self, train_data: Any, every: int = 100, delta: float = 0.1, chunk: int = 1000
    ) -> None:
        super().__init__()
        check_data(train_data)
        self.train_data = train_data
        self.every = integer("every", every)
        self.delta = number("delta", delta, "(0, 1]")
        self.chunk = integer("chunk", chunk)
        self.values: list[tuple[int, float]] = []
        self._step = 0
        self._before: list[np.ndarray] | None = None

    @property
    def mean(self) -> float:
        """The mean of all estimates, NaN without any."""
        return float(np.mean([value for _, value in self.values])) if self.values else float("nan")

    def on_train_begin(self, logs: Any = None) -> None:
        """Begins to count, and compiles the gradient."""
        executed = int(getattr(self.model, "steps_per_execution", None) or 1)
        if executed > 1:
            raise ValueError(
                "LipschitzSmoothness looks at the weights before and after a step. Received: a "
                f"model of steps_per_execution={executed}. Compile it with steps_per_execution=1."
            )
        self.values, self._step = [], 0
        self._gradients: Any = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Begins the mean of an epoch."""
        self._first = len(self.values)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Sets the weights before a step aside."""
        self._step += 1
        if self._step % self.every == 0:
            fetch_state(self.model)
            self._before = self._weights()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Estimates, where the step is due."""
        if self._before is None:
            return
        fetch_state(self.model)
        before, self._before = self._before, None
        moved = [new - old for new, old in zip(self._weights(), before, strict=True)]
        found = self._estimate(before, moved)
        if np.isfinite(found):
            self.values.append((self._step, found))

    def _weights(self) -> list[np.ndarray]:
        own = self.model.trainable_variables
        return [np.asarray(ops.convert_to_numpy(v), np.float64) for v in own]

    def _masks(self) -> list[np.ndarray | None]:
        """Which weights are kept, `None` of what is not pruned."""
        found: list[np.ndarray | None] = [None] * len(self.model.trainable_variables)
        sparse = installation.find(self.model)
        if sparse is not None:
            for target, mask in zip(sparse.targets, sparse.masks, strict=True):
                found[target.index] = np.asarray(ops.convert_to_numpy(mask), bool)
        return found

    def _estimate(self, before: list[np.ndarray], moved: list[np.ndarray]) -> float:
        """The largest change of the gradient per length, NaN if nothing has moved."""
        own = self.model.trainable_variables
        if self._gradients is None:
            self._gradients = LossGradients(self.model, own)
        length = np.sqrt(sum(float(np.sum(d**2)) for d in moved))
        if not length or not np.isfinite(length):
            return float("nan")
        masks, largest = self._masks(), 0.0
        with borrowed(self.model, own):
            first = self._gradient_at(before, masks)
            count = round(1 / self.delta)
            for part in np.linspace(self.delta, count * self.delta, count):
                at = [w + part * d for w, d in zip(before, moved, strict=True)]
                there = self._gradient_at(at, masks)
                apart = sum(float(np.sum((a - b) ** 2)) for a, b in zip(there, first, strict=True))
                largest = max(largest, np.sqrt(apart) / (part * length))
        return float(largest)

    def _gradient_at(
        self, values: list[np.ndarray], masks: list[np.ndarray | None]
    ) -> list[np.ndarray]:
        """The gradient of the mean loss of all data, zero where a weight is pruned."""
        with strategy_scope(self.model):
            for variable, value in zip(self.model.trainable_variables, values, strict=True):
                variable.assign(value.astype(variable.dtype))
        total, samples = [np.zeros(value.shape) for value in values], 0
        for x, y in calibration_batches(self.model, self.train_data, self.chunk):
            count = int(keras.tree.flatten(x)[0].shape[0])
            found = self._gradients(x, y)
            samples += count
            for sum_of, gradient in zip(total, found, strict=True):
                sum_of += count * np.asarray(ops.convert_to_numpy(gradient), np.float64)
        return [
            np.where(True if mask is None else mask, each / samples, 0.0)
            for each, mask in zip(total, masks, strict=True)
        ]

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Adds the mean of the epoch to its logs."""
        if logs is not None:
            own = [value for _, value in self.values[self._first :]]
            logs["lipschitz"] = float(np.mean(own)) if own else float("nan")
