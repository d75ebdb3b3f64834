"""When masks are updated, and how much is pruned each time."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_sparse.messages.arguments import instance, number, optional
from keras_sparse.sparsity.duration import Duration, Run

_PACKAGE = "keras_sparse"


class Schedule:
    """Base class: a list of mask updates over a run.

    A schedule says at which optimizer steps masks are updated and how far along the way from the
    initial to the final sparsity each update goes; the final sparsity belongs to the method.
    """

    initial: float = 0.0

    def updates(self, run: Run) -> tuple[np.ndarray, np.ndarray]:
        """Resolves the schedule for a run.

        Args:
            run: The run's length in epochs and steps.

        Returns:
            Increasing integer steps of shape `(updates,)`, and for each the progress from the
            initial sparsity (0) to the final one (1).

        Raises:
            ValueError: If an update would fall outside the run.
        """
        raise NotImplementedError

    def sparsities(self, run: Run, final: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Steps of the updates and the sparsity after each, shape `(updates,) + final.shape`."""
        steps, progress = self.updates(run)
        final = np.asarray(final, float)
        start = np.minimum(self.initial, final)
        return steps, start + np.multiply.outer(progress, final - start)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, serializable."""
        return {
            k.lstrip("_"): v.get_config() if isinstance(v, Duration) else v
            for k, v in vars(self).items()
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Schedule:
        """Builds the schedule from `get_config`."""
        return cls(**config)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k.lstrip('_')}={v}" for k, v in vars(self).items())
        return f"{type(self).__name__}({arguments})"


def _within(run: Run, what: str, time: Duration, last: int | None = None) -> int:
    step, last = time.to_steps(run), run.steps - 1 if last is None else last
    if step > last:
        raise ValueError(
            f"{what}={time} is step {step}, but the run has only {run.steps} steps "
            f"({run.epochs} epochs of {run.steps_per_epoch}): it would never come about. Train "
            f"longer, or set {what} within the run, for example as a fraction such as '75%'."
        )
    return step


@keras.saving.register_keras_serializable(_PACKAGE)
class OneShot(Schedule):
    """Prunes once, straight to the final sparsity.

    Args:
        at: When, as a `Duration` or what `Duration.of` takes. Defaults to the run's first step.
    """

    def __init__(self, at: Any = 0) -> None:
        self.at = Duration.of(at, "at")

    def updates(self, run: Run) -> tuple[np.ndarray, np.ndarray]:
        """One update, at `at`."""
        return np.array([_within(run, "at", self.at)]), np.ones(1)


@keras.saving.register_keras_serializable(_PACKAGE)
class Constant(Schedule):
    """The final sparsity from `begin` on, masks chosen anew every `every`.

    Args:
        begin: When masks are chosen first. Defaults to the run's first step.
        end: The last moment at which masks may be chosen anew. Defaults to the run's end.
        every: Time between updates. Defaults to 100 steps.
    """

    def __init__(self, begin: Any = 0, end: Any = "100%", every: Any = "100st") -> None:
        self.begin, self.end = Duration.of(begin, "begin"), Duration.of(end, "end")
        self.every = Duration.of(every, "every")

    def updates(self, run: Run) -> tuple[np.ndarray, np.ndarray]:
        """Updates at `begin`, `begin + every`, ... up to `end`."""
        steps = _regular_steps(self.begin, self.end, self.every, run)
        return steps, np.ones(len(steps))


@keras.saving.register_keras_serializable(_PACKAGE)
class Polynomial(Schedule):
    """Sparsity rises from `initial` to the final one along a polynomial, cubic by default.

    At step t between `begin` (t0) and `end` (t1) the sparsity is
    `s_f + (s_0 - s_f) * (1 - (t - t0) / (t1 - t0)) ** power`. The last update is at `end`
    itself, whatever `every` is, so that the final sparsity is met exactly.

    ```python
    schedule = Polynomial(begin=0, end="75%", every="100st")
    ```

    Args:
        begin: First update. Defaults to a fifth of the run.
        end: Last update. Defaults to four fifths of the run.
        every: Time between updates. Defaults to 100 steps.
        initial: Sparsity of the first update, in [0, 1). Defaults to 0.
        power: Exponent, greater than 0. Defaults to 3.

    Raises:
        ValueError: If an argument is out of range.

    Source: Zhu and Gupta (2017); `power` and `every` as in TensorFlow's pruning toolkit.
    """

    def __init__(
        self,
        begin: Any = "20%",
        end: Any = "80%",
        every: Any = "100st",
        initial: float = 0.0,
        power: float = 3.0,
    ) -> None:
        self.begin, self.end = Duration.of(begin, "begin"), Duration.of(end, "end")
        self.every = Duration.of(every, "every")
        self.initial = number("initial", initial, "[0, 1)")
        self.power = number("power", power, "(0, inf)")

    def updates(self, run: Run) -> tuple[np.ndarray, np.ndarray]:
        """Updates at `begin`, `begin + every`, ... and at `end`."""
        steps = _regular_steps(self.begin, self.end, self.every, run, with_end=True)
        length = max(steps[-1] - steps[0], 1)
        remaining = (steps[-1] - steps) / length
        return steps, 1 - remaining**self.power


def _regular_steps(
    begin: Duration, end: Duration, every: Duration, run: Run, with_end: bool = False
) -> np.ndarray:
    first, last = _within(run, "begin", begin), _within(run, "end", end, run.steps)
    last = min(last, run.steps - 1)
    if last < first:
        raise ValueError(
            f"begin={begin} (step {first}) comes after end={end} (step {last}). "
            "Let the schedule begin before it ends."
        )
    steps = np.arange(first, last + 1, max(every.to_steps(run), 1))
    return np.append(steps, last) if with_end and steps[-1] != last else steps


def checked_schedule(schedule: Schedule | None) -> Schedule | None:
    """A schedule given by a user, or `None`.

    Raises:
        ValueError: If it is neither.
    """
    allowed = "OneShot(...), Polynomial(...) or Constant(...)"
    return optional(instance, "schedule", schedule, Schedule, allowed)
