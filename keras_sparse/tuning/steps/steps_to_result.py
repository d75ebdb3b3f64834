"""How many steps a training takes to a goal error."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.backend.inference import compiled_inference
from keras_sparse.backend.training_state import fetch_state
from keras_sparse.messages.arguments import function, integer, number, optional, wrong

COMPLETE, INCOMPLETE, INFEASIBLE = "complete", "incomplete", "infeasible"
RUNNING = "running"


class StepsToResult(keras.callbacks.Callback):
    """Counts the optimizer's updates up to the first check at which the validation error is low.

    Every some updates the error on all validation data is computed, by a function of its own,
    which leaves the running metrics of `fit` alone. The training stops at the goal, at a loss that
    is no number, and at the limit. Micro-batches of `gradient_accumulation_steps` are no updates.

    Give `fit` no `validation_data`, and this callback before those of sparse methods, which raise
    an error at a loss that is no number.

    ```python
    goal = ks.tuning.StepsToResult((x_test, y), goal_error=0.1, check_every=8)
    batches = ks.data.endless(x, y, batch_size=16)
    model.fit(batches, steps_per_epoch=400, callbacks=[goal])
    goal.status, goal.steps_to_result
    ```

    Args:
        validation_data: `(x, y)` as arrays.
        goal_error: The validation error to come down to; it is reached with `<=`.
        check_every: Updates between two checks, a multiple of the model's `steps_per_execution`.
        max_steps: Updates after which to stop. Defaults to the length of the training.
        error: A function of targets and outputs, both arrays of a batch, that returns an error for
            each sample. Defaults to whether the class of the largest output is wrong.
        batch_size: Samples to compute outputs of at once.

    Attributes:
        status: `"complete"`, `"incomplete"` (the goal was not reached) or `"infeasible"` (the loss
            was no number); `"running"` in between.
        steps_to_result: Updates up to the goal; `None` unless complete.
        steps: Updates that were made.
        errors: `(updates, error)` of each check.
        seconds: That the checks took.

    Raises:
        ValueError: At construction for arguments out of range; when `fit` begins for a
            `check_every` that is not a multiple of the model's `steps_per_execution`.

    Source: Lee (2020), Section 5.2.1, after Shallue et al. (2019).
    """

    def __init__(
        self,
        validation_data: Any,
        goal_error: float,
        check_every: int = 16,
        max_steps: int | None = None,
        *,
        error: Callable[[Any, Any], Any] | None = None,
        batch_size: int = 1000,
    ) -> None:
        super().__init__()
        pair = isinstance(validation_data, (tuple, list)) and len(validation_data) == 2
        if not pair or not all(hasattr(each, "shape") for each in validation_data):
            raise wrong("validation_data", validation_data, "a tuple (x, y) of arrays")
        if len(validation_data[0]) != len(validation_data[1]) or not len(validation_data[0]):
            raise wrong("validation_data", validation_data, "arrays with one entry per sample")
        self.validation_data = tuple(validation_data)
        self.goal_error = number("goal_error", goal_error, "[0, inf)")
        self.check_every = integer("check_every", check_every)
        self.max_steps = optional(integer, "max_steps", max_steps)
        self.error = misclassified if error is None else function("error", error)
        self.batch_size = integer("batch_size", batch_size)
        self._outputs: Callable[[Any], Any] | None = None
        self._of: keras.Model | None = None
        self._reset()

    def _reset(self) -> None:
        self.status = RUNNING
        self.steps_to_result: int | None = None
        self.steps = 0
        self.errors: list[tuple[int, float]] = []
        self.seconds = 0.0

    @property
    def final_error(self) -> float | None:
        """The error at the last check, `None` before the first."""
        return self.errors[-1][1] if self.errors else None

    def on_train_begin(self, logs: Any = None) -> None:
        """Begins to count."""
        self._reset()
        executed = int(getattr(self.model, "steps_per_execution", None) or 1)
        self._micro = micro_batches(self.model.optimizer)
        if self.check_every * self._micro % executed:
            raise ValueError(
                f"check_every must be a multiple of the model's steps_per_execution={executed}, "
                f"after which Keras tells callbacks of steps. Received: check_every="
                f"{self.check_every}. Compile the model with steps_per_execution="
                f"{self.check_every * self._micro}."
            )
        self._before = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Goes on counting in another epoch."""
        self._before = self.steps

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Counts, and checks if it is time."""
        # With several steps in an execution, the number is that of the last.
        self.steps = self._before + (batch + 1) // self._micro
        if not np.isfinite((logs or {}).get("loss", 0.0)):
            self._stop(INFEASIBLE)
        elif self.steps % self.check_every == 0 and (batch + 1) % self._micro == 0:
            self._check()
        if self.status == RUNNING and self.max_steps and self.steps >= self.max_steps:
            self._stop(INCOMPLETE)

    def _check(self) -> None:
        began = time.perf_counter()
        found = self._validation_error()
        self.seconds += time.perf_counter() - began
        self.errors.append((self.steps, found))
        if not np.isfinite(found):
            self._stop(INFEASIBLE)
        elif found <= self.goal_error:
            self.steps_to_result = self.steps
            self._stop(COMPLETE)

    def _validation_error(self) -> float:
        """The mean error, NaN if an output is no number."""
        fetch_state(self.model)
        if self._outputs is None or self._of is not self.model:
            # Tensors once and for all: data that stays where it is computed with.
            self._of, self._outputs = self.model, compiled_inference(self.model)
            x, y = self.validation_data
            starts = range(0, len(x), self.batch_size)
            self._batches = [
                (ops.convert_to_tensor(x[i : i + self.batch_size]), y[i : i + self.batch_size])
                for i in starts
            ]
        total, count = 0.0, 0
        for x, y in self._batches:
            outputs = np.asarray(ops.convert_to_numpy(self._outputs(x)))
            if not np.isfinite(outputs).all():
                return float("nan")
            errors = np.asarray(self.error(np.asarray(y), outputs), float)
            total, count = total + float(errors.sum()), count + errors.size
        return total / count

    def _stop(self, status: str) -> None:
        self.status = status
        self.model.stop_training = True

    def on_train_end(self, logs: Any = None) -> None:
        """The goal was not reached, if it was not."""
        if self.status == RUNNING:
            self.status = INCOMPLETE


def misclassified(y: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Whether the class of the largest output is wrong.

    Args:
        y: Class indices `(n,)` or `(n, 1)`, or one-hot rows of the shape of the outputs.
        outputs: `(n, classes)`, at least two.

    Raises:
        ValueError: If there are no classes to choose from.
    """
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        raise ValueError(
            f"Outputs of shape {outputs.shape} are no classes to choose from. Give "
            "StepsToResult(error=...), a function of targets and outputs."
        )
    given = y.argmax(axis=1) if y.shape == outputs.shape else y.reshape(len(y))
    return outputs.argmax(axis=1) != given


def micro_batches(optimizer: Any) -> int:
    """Batches that the innermost optimizer makes one update of."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return int(getattr(optimizer, "gradient_accumulation_steps", None) or 1)
