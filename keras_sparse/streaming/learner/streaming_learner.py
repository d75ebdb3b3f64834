"""Cold-start streaming learning: the whole model learns from every example."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from keras_sparse.backend.any_batch import any_batch_step
from keras_sparse.engine.callback import SparseCallback
from keras_sparse.engine.own_loop import sparse_optimizer
from keras_sparse.messages.arguments import instance, integer, optional, wrong
from keras_sparse.probe.batch_norm import warn_of_stale_statistics
from keras_sparse.streaming.evaluation.orderings import class_numbers
from keras_sparse.streaming.learner.batches import Augment, ReplayBatches
from keras_sparse.streaming.learner.classifier import (
    check_classifier,
    check_soft_labels,
    compile_as_the_source,
    gives_logits,
    softmax,
)
from keras_sparse.streaming.learner.learner import StreamLearner
from keras_sparse.streaming.learner.model_state import assign_arrays, model_arrays
from keras_sparse.streaming.learner.offline import train_offline
from keras_sparse.streaming.learner.schedule import PerClassLinearDecay
from keras_sparse.streaming.learner.stream_states import State
from keras_sparse.streaming.replay.compression import ImageCompression
from keras_sparse.streaming.replay.replay_buffer import ReplayBuffer

# So many examples of a class, one after the other, are no chance.
_SORTED = 4


class StreamingLearner(StreamLearner):
    """Trains all of a model on each example and a batch of earlier ones, once.

    Each example is one step of the optimizer on the example and up to `replay_size` others from
    the buffer; then it is stored. Nothing is frozen or reset.

    ```python
    images = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 1), dtype="uint8")
    learner = StreamingLearner(model, capacity=20, standardize=(127, 64))
    learner.partial_fit(images[0], 1)
    learner.fit_stream(images, [0] * 15 + [1] * 15)
    ```

    A model that is not compiled is given the source's recipe: SGD with momentum 0.9 and weight
    decay 1e-5, and a learning rate that falls from 0.1 to 0.001 within each class. One that is
    keeps its optimizer; its loss must take soft labels, as `CategoricalCrossentropy` does.

    On TensorFlow the step is traced once, whatever the size of its batch. On JAX, and where XLA
    compiles, each size is compiled once.

    Args:
        model: A built Keras model, Sequential or functional, of one input and one output,
            `(n, classes)`.
        capacity: Of the buffer, in examples.
        capacity_bytes: Of the buffer, in bytes as the examples are stored.
        compression: Of the buffer's images.
        eviction: Of the buffer. Defaults to `"class_balanced"`.
        buffer: A buffer to use instead of one made of the four before.
        replay_size: B, how many examples are replayed in a step; with 0 none are stored either.
        augment: How a batch is varied, such as `StreamingAugment()`; `None` for not at all.
        standardize: Mean and standard deviation that turn examples into the model's input, after
            they are varied; `None` for no change.
        schedule: Sets the learning rate of each step; `None` for the optimizer's own where the
            model is compiled.
        sparse: A callback by which the model is kept sparse, such as
            `keras_sparse.StaticMask(mask=...)` or `keras_sparse.SET(0.9)`.
        steps: Length of the stream, by which `sparse` plans.
        from_logits: Whether the model's outputs are logits. Defaults to what its loss says, or, if
            it is not compiled, to whether it ends in no softmax.
        seed: Of the buffer and the augmentation.

    Raises:
        ValueError: If an argument is none that can be used, or the model cannot learn so.

    Source: Wolfe (2023), Algorithm 5.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        capacity: int | None = None,
        capacity_bytes: float | None = None,
        compression: ImageCompression | None = None,
        eviction: str | None = None,
        buffer: ReplayBuffer | None = None,
        replay_size: int = 100,
        augment: Augment | None = None,
        standardize: Any = None,
        schedule: PerClassLinearDecay | None = None,
        sparse: SparseCallback | None = None,
        steps: int | None = None,
        from_logits: bool | None = None,
        seed: int | None = 0,
    ) -> None:
        self.model, self.classes = check_classifier(model)
        self.from_logits = gives_logits(model, from_logits)
        own = {
            "capacity": capacity,
            "capacity_bytes": capacity_bytes,
            "compression": compression,
            "eviction": eviction,
        }
        if buffer is not None:
            instance("buffer", buffer, ReplayBuffer, "a ReplayBuffer")
            for name, value in own.items():
                if value is not None:
                    raise wrong(name, value, "None beside a buffer, which has its own")
        else:
            own["eviction"] = eviction or "class_balanced"
            buffer = ReplayBuffer(seed=seed, **own)  # type: ignore[arg-type]
        self.buffer = buffer
        self.standardize = standardize
        self.batches = ReplayBatches(buffer, self.classes, replay_size, augment, standardize, seed)
        kind = PerClassLinearDecay
        self.schedule = optional(instance, "schedule", schedule, kind, "a PerClassLinearDecay")
        if not model.compiled:
            self.schedule = self.schedule or PerClassLinearDecay()
            compile_as_the_source(model, self.from_logits)
        check_soft_labels(model)
        optional(integer, "steps", steps)
        self.sparse = sparse
        if sparse is not None:
            model.optimizer = sparse_optimizer(model.optimizer, model, sparse, steps=steps)  # type: ignore[arg-type]
        self._step = any_batch_step(model)

    def partial_fit(self, x: np.ndarray, y: int) -> None:
        """Learns from one example: sample, one step, store, evict.

        Args:
            x: The example, such as a uint8 image.
            y: Its class.

        Raises:
            ValueError: If it is not like those before, not finite, or of no class.
            OSError: If the disk is full.
        """
        example, label = self.batches.checked(x, y)
        if self.schedule is not None and self.schedule.sizes:
            self.model.optimizer.learning_rate = self.schedule.next(label)
        self._step(*self.batches.batch(example, label))
        self.batches.store(example, label)

    def base_initialize(self, x: np.ndarray, y: ArrayLike, epochs: int = 50) -> None:
        """Trains all of the model offline, of which nothing is frozen afterwards.

        Args:
            x: Examples.
            y: Their classes.
            epochs: Passes over them.

        Raises:
            ValueError: If the learner keeps its model sparse, of which this would know nothing.
        """
        if self.sparse is not None:
            raise ValueError(
                f"base_initialize would not keep the model sparse, as {type(self.sparse).__name__} "
                "does. Train it before: by base_initialize of a learner without sparse, or by "
                "model.fit with that callback; then make this learner of it."
            )
        train_offline(
            self.model,
            x,
            class_numbers(y, len(x), self.classes),
            classes=self.classes,
            epochs=epochs,
            standardize=self.standardize,
            from_logits=self.from_logits,
        )

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """How likely each class is, `(n, classes)`, for a batch of examples."""
        scores = self.model.predict_on_batch(self.batches.standardize(x))
        return softmax(scores) if self.from_logits else np.asarray(scores)

    def announce(self, y: np.ndarray) -> None:
        """Tells the schedule how many examples of each class are going to come."""
        runs = 1 + np.count_nonzero(np.diff(y))
        length = len(y) / runs
        if length > _SORTED:
            warn_of_stale_statistics(
                self.model,
                length,
                f"After the {length:.0f} examples of a class, the last of them,",
                "the classes before",
                stacklevel=3,
            )
        if self.schedule is not None:
            self.schedule.announce(y)

    def state(self) -> State:
        """The model, its optimizer, the buffer and the schedule."""
        own, arrays = model_arrays(self.model), self.batches.state()
        schedule = self.schedule.state() if self.schedule is not None else None
        description = {"batches": arrays[0], "schedule": schedule, "variables": len(own)}
        return description, [*own, *arrays[1]]

    def restore(self, description: dict[str, Any], arrays: list[np.ndarray]) -> None:
        """Becomes what `state` described."""
        count = description["variables"]
        assign_arrays(self.model, arrays[:count])
        self.batches.restore(description["batches"], arrays[count:])
        if self.schedule is not None:
            self.schedule.restore(description["schedule"])
