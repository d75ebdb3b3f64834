"""A stream as a data set of Keras."""

from __future__ import annotations

import collections
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from keras_sparse.backend.training_state import fetch_state
from keras_sparse.messages.arguments import boolean, file_path, instance, integer, wrong
from keras_sparse.storage.states import StateFiles
from keras_sparse.streaming.evaluation.events import (
    StreamHistory,
    event_of_predictions,
    event_positions,
)
from keras_sparse.streaming.evaluation.orderings import Order, class_numbers
from keras_sparse.streaming.learner.batches import Augment, ReplayBatches
from keras_sparse.streaming.learner.model_state import assign_arrays, model_arrays
from keras_sparse.streaming.learner.schedule import PerClassLinearDecay
from keras_sparse.streaming.learner.stream_states import State
from keras_sparse.streaming.learner.streaming_learner import softmax
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
        self.x, self.y = stream[0], np.asarray(stream[1])
        if len(self.x) != len(self.y):
            raise wrong("stream", self.y, f"one class for each of {len(self.x)} examples")
        self.order = (
            instance("stream", stream[2], Order, "an Order")
            if len(stream) == 3
            else Order(np.arange(len(self.y)), (len(self.y),), True)
        )
        instance("buffer", buffer, ReplayBuffer, "a ReplayBuffer")
        integer("classes", classes, 2)
        self.batches = ReplayBatches(buffer, classes, replay_size, augment, standardize, seed)
        self.begin = 0
        self.snapshot_every: int | None = None
        self.snapshots: dict[int, State] = {}
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
        from_logits: Whether the model's outputs are logits.

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
        from_logits: bool = True,
    ) -> None:
        super().__init__()
        self.stream = instance("stream", stream, StreamingDataset, "a StreamingDataset")
        self.x, self.y = x, class_numbers(y)
        self.from_logits = boolean("from_logits", from_logits)
        self.positions = event_positions(stream.order, stream.y, events)
        self.history = StreamHistory()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Tests, if it is time."""
        position = self.stream.begin + batch + 1
        if position not in self.positions:
            return
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
    comes to the weights that it would have come to. Put it before the callbacks that count.

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
        if self._found is not None:
            description, arrays = self._found
            count = description["variables"]
            stream.batches.restore(description["batches"], arrays[count:])
            stream.begin = stream.batches.position

    def on_train_begin(self, logs: Any = None) -> None:
        """Gives the model the weights of the last state."""
        if self._found is not None:
            description, arrays = self._found
            assign_arrays(self.model, arrays[: description["variables"]])
            self._found = None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Writes a state, if it is time."""
        position = self.stream.begin + batch + 1
        if position in self.stream.snapshots:
            fetch_state(self.model)
            description, arrays = self.stream.snapshots.pop(position)
            own = model_arrays(self.model)
            self.files.write(
                position, {"batches": description, "variables": len(own)}, [*own, *arrays]
            )

    def on_train_end(self, logs: Any = None) -> None:
        """Deletes the states."""
        self.files.delete()
