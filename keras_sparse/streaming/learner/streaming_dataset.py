"""A stream as a data set of Keras."""

from __future__ import annotations

import collections
import hashlib
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from keras_sparse.backend.training_state import fetch_state
from keras_sparse.messages.arguments import boolean, file_path, instance, integer, optional, wrong
from keras_sparse.storage.states import StateFiles
from keras_sparse.streaming.evaluation.events import (
    StreamHistory,
    check_tested,
    event_of_predictions,
    event_positions,
)
from keras_sparse.streaming.evaluation.orderings import Order, class_numbers, identity
from keras_sparse.streaming.learner.batches import Augment, ReplayBatches
from keras_sparse.streaming.learner.classifier import gives_logits, softmax
from keras_sparse.streaming.learner.model_state import assign_arrays, model_arrays
from keras_sparse.streaming.learner.schedule import PerClassLinearDecay
from keras_sparse.streaming.learner.stream_states import State
from keras_sparse.streaming.replay.replay_buffer import ReplayBuffer


class StreamingDataset(keras.utils.PyDataset):
    """Batches of what arrives and what is replayed, in the order of a stream, for `model.fit`.

    `fit` gives the weights that a `StreamingLearner` comes to. It may read ahead: the buffer does
    not depend on the weights. It passes over a stream once and in order, so give it `epochs=1` and
    `shuffle=False`.

    ```python
    images = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 1), dtype="uint8")
    stream = StreamingDataset((images, [0] * 15 + [1] * 15), ReplayBuffer(20), classes=4)
    model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
    model.fit(stream, epochs=1, shuffle=False, callbacks=[PerClassRate(stream)])
    ```

    Args:
        stream: Examples and their classes, in their order; or with an `Order` as a third, in that.
        buffer: Where they are stored.
        classes: Their number.
        replay_size: B, how many examples are replayed in a step.
        augment: As for `StreamingLearner`.
        standardize: As for `StreamingLearner`.
        seed: Of the augmentation.

    Raises:
        ValueError: If an argument is none that can be used.

    Source: Wolfe (2023), Algorithm 5.
    """

    def __init__(
        self,
        stream: tuple[Any, ...],
        buffer: ReplayBuffer,
        *,
        classes: int,
        replay_size: int = 100,
        augment: Augment | None = None,
        standardize: Any = None,
        seed: int | None = 0,
    ) -> None:
        # One worker, or the batches would be made out of order.
        super().__init__(workers=1, use_multiprocessing=False)
        if not isinstance(stream, tuple) or len(stream) not in (2, 3):
            raise wrong("stream", stream, "examples and classes, and an Order if need be")
        integer("classes", classes, 2)
        self.x, self.y = stream[0], class_numbers(stream[1], len(stream[0]), classes)
        self.order = (
            instance("stream", stream[2], Order, "an Order")
            if len(stream) == 3
            else Order(np.arange(len(self.y)), (len(self.y),), True)
        )
        instance("buffer", buffer, ReplayBuffer, "a ReplayBuffer")
        self.batches = ReplayBatches(buffer, classes, replay_size, augment, standardize, seed)
        self.begin = 0
        self.snapshot_every: int | None = None
        self.snapshots: dict[int, State] = {}
        # Those of the callbacks that test, which a state of the stream has as well.
        self.histories: list[StreamHistory] = []
        # Keras asks for the first two batches before it begins, to see their shapes.
        self._recent: collections.deque[tuple[int, Any]] = collections.deque(maxlen=2)

    def __len__(self) -> int:
        return len(self.order.indices) - self.begin

    def labels(self) -> np.ndarray:
        """The classes in the order of the stream."""
        return self.y[self.order.indices]

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        position = self.begin + index
        for made, batch in self._recent:
            if made == position:
                return batch
        if position != self.batches.position:
            raise ValueError(
                f"Batch {position} of the stream was asked for, and the next one is "
                f"{self.batches.position}. A stream passes once and in order: fit with epochs=1 "
                "and shuffle=False, and make a new data set for another pass."
            )
        place = int(self.order.indices[position])
        example, label = self.batches.checked(self.x[place], int(self.y[place]))
        batch = self.batches.batch(example, label)
        self.batches.store(example, label)
        self._recent.append((position, batch))
        if self.snapshot_every and (position + 1) % self.snapshot_every == 0:
            self.snapshots[position + 1] = self.batches.state()
        return batch


class PerClassRate(keras.callbacks.Callback):
    """Sets the learning rate of each step by how much of its class has come.

    Args:
        stream: What `fit` trains on.
        start: The rate at the first example of a class.
        end: The rate at its last.

    Raises:
        ValueError: If an argument is none that can be used.

    Source: Wolfe (2023), D.1.1.
    """

    def __init__(self, stream: StreamingDataset, start: float = 0.1, end: float = 0.001) -> None:
        super().__init__()
        self.stream = instance("stream", stream, StreamingDataset, "a StreamingDataset")
        self.schedule = PerClassLinearDecay(start, end)
        self.schedule.announce(self.stream.labels())
        self._rates = [self.schedule.next(label) for label in self.stream.labels().tolist()]

    def on_train_begin(self, logs: Any = None) -> None:
        """Checks that each step can have a rate of its own."""
        _check_single_steps(self.model)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Sets the rate."""
        self.model.optimizer.learning_rate = self._rates[self.stream.begin + batch]


class TestingEvents(keras.callbacks.Callback):
    """Tests in the course of a stream that `fit` trains on.

    Args:
        stream: What it trains on.
        x: Examples to test on, as they stream.
        y: Their classes.
        events: When: after each `"batch"` or `"class"`, or each so many examples.
        from_logits: Whether the model's outputs are logits. Defaults to what the model's loss and
            last layer say.

    Attributes:
        history: The `StreamHistory`.

    Raises:
        ValueError: If an argument is none that can be used.

    Source: Wolfe (2023), 5.6.
    """

    __test__ = False

    def __init__(
        self,
        stream: StreamingDataset,
        x: np.ndarray,
        y: ArrayLike,
        events: str | int = "batch",
        from_logits: bool | None = None,
    ) -> None:
        super().__init__()
        self.stream = instance("stream", stream, StreamingDataset, "a StreamingDataset")
        self.x, self.y = x, class_numbers(y, len(x), stream.batches.classes)
        self.from_logits = optional(boolean, "from_logits", from_logits)
        self.positions = event_positions(stream.order, stream.y, events)
        check_tested(stream.order, stream.y, self.y, self.positions)
        self.history = StreamHistory()
        stream.histories.append(self.history)

    def on_train_begin(self, logs: Any = None) -> None:
        """Makes up for a test that a killed process had not come to after its last state."""
        _check_single_steps(self.model)
        self.from_logits = gives_logits(self.model, self.from_logits)
        events, begin = self.history.events, self.stream.begin
        if begin in self.positions and (not events or events[-1].position < begin):
            self._test(begin)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Tests, if it is time."""
        position = self.stream.begin + batch + 1
        if position in self.positions:
            self._test(position)

    def _test(self, position: int) -> None:
        chosen = np.ones(len(self.y), bool)
        if self.stream.order.by_class:
            chosen = np.isin(self.y, self.stream.labels()[:position])
        inputs = self.stream.batches.standardize(self.x[chosen])
        scores = self.model.predict(inputs, verbose=0)
        found = softmax(scores) if self.from_logits else scores
        self.history.events.append(event_of_predictions(position, self.y[chosen], found))


class StreamingBackup(keras.callbacks.Callback):
    """Writes states of a stream that `fit` trains on, exact at the example it has trained on.

    When the same script is run again after it was killed, training goes on at the last state and
    comes to the weights that it would have come to, with the tests of `TestingEvents` until then.
    Put it before the callbacks that count.

    Args:
        stream: What `fit` trains on.
        folder: Where the states are; they are deleted at the end.
        every: Examples between two states.

    Raises:
        ValueError: If an argument is none that can be used.
    """

    def __init__(
        self, stream: StreamingDataset, folder: str | os.PathLike[str], every: int = 1000
    ) -> None:
        super().__init__()
        self.stream = instance("stream", stream, StreamingDataset, "a StreamingDataset")
        self.files = StateFiles(Path(file_path("folder", folder)).expanduser(), "step")
        self.stream.snapshot_every = integer("every", every)
        self._found = self.files.newest()
        self._identity = hashlib.sha256(identity(stream.order, stream.y)).hexdigest()
        if self._found is not None:
            description, arrays = self._found
            if description["stream"] != self._identity:
                raise wrong("folder", str(folder), "a folder with states of this stream")
            count = description["variables"]
            stream.batches.restore(description["batches"], arrays[count:])
            stream.begin = stream.batches.position

    def on_train_begin(self, logs: Any = None) -> None:
        """Gives the model the weights of the last state."""
        _check_single_steps(self.model)
        if self._found is not None:
            description, arrays = self._found
            assign_arrays(self.model, arrays[: description["variables"]])
            histories, tests = self.stream.histories, description["events"]
            if len(histories) != len(tests):
                allowed = f"with {len(tests)} TestingEvents, as before"
                raise wrong("callbacks", f"{len(histories)} TestingEvents", allowed)
            for history, events in zip(histories, tests, strict=True):
                history.events[:] = StreamHistory.from_json(events).events
            self._found = None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Writes a state, if it is time."""
        position = self.stream.begin + batch + 1
        if position in self.stream.snapshots:
            fetch_state(self.model)
            description, arrays = self.stream.snapshots.pop(position)
            own = model_arrays(self.model)
            mine = {
                "batches": description,
                "variables": len(own),
                "stream": self._identity,
                "events": [history.to_json() for history in self.stream.histories],
            }
            self.files.write(position, mine, [*own, *arrays])

    def on_train_end(self, logs: Any = None) -> None:
        """Deletes the states."""
        self.files.delete()


def _check_single_steps(model: keras.Model) -> None:
    """Checks that Keras calls callbacks at each step of a stream.

    Raises:
        ValueError: If several steps are one execution.
    """
    together = model.steps_per_execution
    if together != 1:
        raise ValueError(
            f"Rates, tests and states of a stream go with single steps, and {together} of model "
            f"{model.name!r} are one execution. Compile it with steps_per_execution=1."
        )
