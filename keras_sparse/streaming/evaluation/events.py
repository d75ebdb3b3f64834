"""Tests in the course of a stream, and what a number of them say together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from keras_sparse.messages.arguments import array, integer, wrong
from keras_sparse.streaming.evaluation.calibration import ExpectedCalibrationError
from keras_sparse.streaming.evaluation.orderings import Order, class_numbers

_BINS = 15


@dataclasses.dataclass(frozen=True)
class TestingEvent:
    """What a test in the course of a stream found.

    Args:
        position: Examples that the learner had met.
        classes: That the tested examples are of.
        accuracy: The share whose class has the highest score.
        top_k_accuracy: The share whose class is among the highest `k` scores, by `k`.
        ece: The expected calibration error.
        confusion: Tested examples of each class (row) that were taken for each (column), of all
            classes.
        bins: For each bin of confidence the number of examples, those taken right, and the sum of
            confidences.
    """

    __test__ = False

    position: int
    classes: list[int]
    accuracy: float
    top_k_accuracy: dict[int, float]
    ece: float
    confusion: list[list[int]]
    bins: list[list[float]]

    @property
    def per_class(self) -> dict[int, float]:
        """The accuracy on each tested class."""
        counts = np.array(self.confusion)
        return {c: float(counts[c, c] / counts[c].sum()) for c in self.classes if counts[c].any()}


def event_of_predictions(
    position: int, y: ArrayLike, probabilities: ArrayLike, k: int | None = None
) -> TestingEvent:
    """Makes an event of predictions.

    Args:
        position: Examples that the learner had met.
        y: True classes, `(n,)`.
        probabilities: `(n, classes)`.
        k: For the accuracy of the `k` highest scores; `None` for none.

    Raises:
        ValueError: If there are no examples, or `y` is not a class for each of them.
    """
    found = np.asarray(probabilities, np.float32)
    labels = class_numbers(y, *found.shape)
    metric = ExpectedCalibrationError(_BINS)
    metric.update_state(labels, found)
    taken = found.argmax(1)
    confusion = np.zeros((found.shape[1], found.shape[1]), int)
    np.add.at(confusion, (labels, taken), 1)
    bins = [keras.ops.convert_to_numpy(v) for v in (metric.counts, metric.hits, metric.confidences)]
    top = {}
    if k is not None:
        best = np.argsort(-found, axis=1, kind="stable")[:, : integer("k", k)]
        top[k] = float((best == labels[:, None]).any(1).mean())
    return TestingEvent(
        position,
        [int(c) for c in np.unique(labels)],
        float((taken == labels).mean()),
        top,
        float(metric.result()),
        confusion.tolist(),
        np.stack(bins, 1).astype(float).tolist(),
    )


def event_positions(order: Order, y: np.ndarray, events: str | int) -> tuple[int, ...]:
    """After how many examples of a stream there is a test.

    Args:
        order: The stream's.
        y: Classes of the data set, in its own order.
        events: `"batch"`, `"class"`, or a number of examples.

    Raises:
        ValueError: If it is none of these.
    """
    n = len(order.indices)
    if events == "batch":
        return order.ends
    if events == "class":
        changes = np.flatnonzero(np.diff(y[order.indices])) + 1
        return (*changes.tolist(), n)
    if isinstance(events, str):
        raise wrong("events", events, "'batch', 'class' or an integer of at least 1")
    every = integer("events", events)
    return tuple(dict.fromkeys([*range(every, n + 1, every), n]))


def check_tested(order: Order, y: np.ndarray, tested: np.ndarray, positions: Iterable[int]) -> None:
    """Checks that each test in the course of a stream has examples.

    Args:
        order: The stream's.
        y: Classes of the data set, in its own order.
        tested: Classes of the examples to test on.
        positions: After how many examples of the stream there is a test.

    Raises:
        ValueError: If the first test has none: it is of the classes that were met.
    """
    met = y[order.indices[: min(positions)]]
    if order.by_class and not np.isin(tested, met).any():
        allowed = f"examples of classes {np.unique(met).tolist()}, which the first test is of"
        raise wrong("test", np.unique(tested).tolist(), allowed)


@dataclasses.dataclass
class StreamHistory:
    """The testing events of a stream.

    Args:
        events: In their order.
    """

    events: list[TestingEvent] = dataclasses.field(default_factory=list)

    @property
    def accuracies(self) -> list[float]:
        """The accuracy at each event."""
        return [event.accuracy for event in self.events]

    @property
    def average_ece(self) -> float:
        """The mean of the events' calibration errors. Source: Wolfe (2023), D.1.4."""
        return float(np.mean([event.ece for event in self.events]))

    @property
    def forgetting(self) -> float:
        """How far each class has fallen from its best accuracy, in the mean.

        Of the classes that were tested before the last event; 0 if there are none.
        """
        last = self.events[-1].per_class if self.events else {}
        best: dict[int, float] = {}
        for event in self.events[:-1]:
            for label, accuracy in event.per_class.items():
                best[label] = max(best.get(label, 0.0), accuracy)
        falls = [best[label] - last[label] for label in best if label in last]
        return float(np.mean(falls)) if falls else 0.0

    def omega(self, offline: Sequence[float]) -> float:
        """`omega_all` of the events' accuracies."""
        return omega_all(self.accuracies, offline)

    def to_json(self) -> list[dict[str, Any]]:
        """What JSON can hold."""
        return [dataclasses.asdict(event) for event in self.events]

    @classmethod
    def from_json(cls, stored: Sequence[dict[str, Any]]) -> StreamHistory:
        """What `to_json` gave."""
        events = [
            TestingEvent(
                **{
                    **each,
                    "top_k_accuracy": {int(k): v for k, v in each["top_k_accuracy"].items()},
                }
            )
            for each in stored
        ]
        return cls(events)


def omega_all(stream: ArrayLike, offline: ArrayLike) -> float:
    """The mean over testing events of accuracy by that of a model trained offline.

    ```python
    omega_all([0.6, 0.5], [0.8, 0.7])  # 0.732
    ```

    Args:
        stream: Accuracies at the events.
        offline: Accuracies of models trained offline on what had come until each.

    Raises:
        ValueError: If there are not as many, or one of `offline` is not above 0.

    Source: Wolfe (2023), 5.6.
    """
    ours, theirs = array("stream", stream), array("offline", offline)
    if ours.shape != theirs.shape:
        raise wrong("offline", offline, f"one accuracy for each of {len(ours)} events")
    if (theirs <= 0).any():
        raise wrong("offline", offline, "accuracies above 0")
    return float(np.mean(ours / theirs))
