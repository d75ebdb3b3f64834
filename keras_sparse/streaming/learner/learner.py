"""What all that learn from a stream have in common."""

from __future__ import annotations

import abc
import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from keras_sparse.messages.arguments import boolean, integer, optional, wrong
from keras_sparse.streaming.evaluation.events import (
    StreamHistory,
    TestingEvent,
    check_tested,
    event_of_predictions,
    event_positions,
)
from keras_sparse.streaming.evaluation.orderings import (
    Order,
    class_numbers,
    identity,
    order_of,
)
from keras_sparse.streaming.learner.stream_states import State, StreamStates

_ROWS = 256


class StreamLearner(abc.ABC):
    """Learns one example at a time, and can be asked at any moment.

    Attributes:
        classes: Their number.
    """

    classes: int

    @abc.abstractmethod
    def partial_fit(self, x: np.ndarray, y: int) -> None:
        """Learns from one example.

        Args:
            x: The example.
            y: Its class.

        Raises:
            ValueError: If it cannot be learned; nothing has changed then.
        """

    @abc.abstractmethod
    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """How likely each class is, `(n, classes)`, for a batch of examples."""

    @abc.abstractmethod
    def state(self) -> State:
        """All that the learner's future depends on: what JSON can hold, and arrays."""

    @abc.abstractmethod
    def restore(self, description: dict[str, Any], arrays: list[np.ndarray]) -> None:
        """Becomes what `state` described."""

    @abc.abstractmethod
    def base_initialize(self, x: np.ndarray, y: ArrayLike) -> None:
        """Prepares for a stream on examples known before, which may come again in it.

        Args:
            x: Examples.
            y: Their classes.
        """

    def announce(self, y: np.ndarray) -> None:  # noqa: B027 - most need not be told
        """Is told the classes of all examples of a stream before it begins."""

    def end_batch(self) -> None:  # noqa: B027 - most learn from each example at once
        """Is told that a batch of the stream has ended, and that it is going to be tested."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        """How likely each class is.

        Args:
            x: Examples as they stream, `(n, ...)`.

        Returns:
            Float32 `(n, classes)`.
        """
        parts = [self.probabilities(x[i : i + _ROWS]) for i in range(0, len(x), _ROWS)]
        return np.concatenate(parts) if parts else np.empty((0, self.classes), np.float32)

    def evaluate(
        self,
        x: np.ndarray,
        y: ArrayLike,
        position: int = 0,
        classes: ArrayLike | None = None,
        k: int | None = None,
    ) -> TestingEvent:
        """Tests on examples.

        Args:
            x: Examples.
            y: Their classes.
            position: Examples that were met, for the record.
            classes: Those to test; `None` for all.
            k: Whether the class is among the `k` highest scores is counted as well.

        Raises:
            ValueError: If there are no examples of the classes, or `y` is not a class for each
                example.
        """
        labels = class_numbers(y, len(x), self.classes)
        if classes is not None:
            chosen = np.isin(labels, np.asarray(classes))
            if not chosen.any():
                raise wrong("classes", classes, f"some of those in y, {np.unique(labels).tolist()}")
            x, labels = x[chosen], labels[chosen]
        return event_of_predictions(position, labels, self.predict(x), k)

    def fit_stream(
        self,
        x: np.ndarray,
        y: ArrayLike,
        order: str | Order = "class-incremental",
        *,
        test: tuple[np.ndarray, ArrayLike] | None = None,
        events: str | int = "batch",
        instances: ArrayLike | None = None,
        seed: int | None = 0,
        k: int | None = None,
        backup: str | os.PathLike[str] | None = None,
        backup_every: int = 1000,
        verbose: bool = False,
        after: Callable[[int], None] | None = None,
    ) -> StreamHistory:
        """Learns from a whole stream in one pass, and is tested on the way.

        With a `backup`, a process that was killed goes on when the same call is made again, and
        comes to the same end as if it had not been.

        Args:
            x: Examples.
            y: Their classes, `(n,)` or `(n, 1)`.
            order: An `Order`, or the name of one, as `order_of` takes it.
            test: Examples and classes to test on; on those of the classes met so far where the
                order is by class.
            events: When to test: after each `"batch"` or `"class"`, or each so many examples.
            instances: Which object each example shows, for orders that need it.
            seed: Of the order.
            k: As for `evaluate`.
            backup: A folder for states of the training; they are deleted at the end.
            backup_every: Examples between two states.
            verbose: Whether to show a progress bar.
            after: Called after each example with how many have been met.

        Returns:
            The testing events.

        Raises:
            ValueError: If an argument is none that can be used, or the states in `backup` are of
                another stream: of another order or other classes.
        """
        labels = class_numbers(y, len(x), self.classes)
        plan = order if isinstance(order, Order) else order_of(order, labels, instances, seed)
        positions = set(event_positions(plan, labels, events))
        if test is not None:
            tested = class_numbers(test[1], len(test[0]), self.classes)
            check_tested(plan, labels, tested, positions)
        boolean("verbose", verbose)
        optional(integer, "k", k)
        states = StreamStates(self, backup, backup_every, identity(plan, labels))
        self.announce(labels[plan.indices])
        begin, history = states.resumed()
        bar = keras.utils.Progbar(len(plan.indices), verbose=int(verbose))
        for done, index in enumerate(plan.indices[begin:].tolist(), begin + 1):
            self.partial_fit(x[index], int(labels[index]))
            if done in plan.ends:
                self.end_batch()
            if test is not None and done in positions:
                met = np.unique(labels[plan.indices[:done]]) if plan.by_class else None
                history.events.append(self.evaluate(*test, done, met, k))
            states.after(done, history)
            bar.update(done, finalize=done == len(plan.indices))
            if after is not None:
                after(done)
        states.delete()
        return history
