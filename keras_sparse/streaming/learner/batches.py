"""The batch of a step: what arrives, and what is replayed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from keras_sparse.messages.arguments import array, integer, random_seed, wrong
from keras_sparse.streaming.replay.replay_buffer import ReplayBuffer

Augment = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]


def standardizer(standardize: Any) -> Callable[[np.ndarray], np.ndarray]:
    """What turns stored examples into a model's input.

    Args:
        standardize: Mean and standard deviation, numbers or one for each channel; `None` for
            nothing.

    Raises:
        ValueError: If it is neither.
    """
    if standardize is None:
        return lambda x: np.asarray(x, np.float32)
    if not isinstance(standardize, (tuple, list)) or len(standardize) != 2:
        raise wrong("standardize", standardize, "None, or mean and standard deviation")
    mean, std = (array("standardize", each).astype(np.float32) for each in standardize)
    if (std <= 0).any():
        raise wrong("standardize", standardize, "a mean and a standard deviation above 0")
    return lambda x: (np.asarray(x, np.float32) - mean) / std


class ReplayBatches:
    """Makes the batch of each step, and stores what arrived after it.

    Args:
        buffer: Where what arrived is stored.
        classes: Their number.
        replay_size: B, at most how many examples are replayed.
        augment: Varies uint8 images and one-hot labels with random numbers, such as a
            `StreamingAugment`; `None` for nothing.
        standardize: As `standardizer` takes it; applied after `augment`.
        seed: Of the augmentation.

    Raises:
        ValueError: If an argument is none that can be used.

    Source: Wolfe (2023), Algorithm 5.
    """

    def __init__(
        self,
        buffer: ReplayBuffer,
        classes: int,
        replay_size: int = 100,
        augment: Augment | None = None,
        standardize: Any = None,
        seed: int | None = 0,
    ) -> None:
        self.buffer, self.classes = buffer, classes
        self.replay_size = integer("replay_size", replay_size, 0)
        if augment is not None and not callable(augment):
            raise wrong(
                "augment", augment, "None or a function of images, labels and random numbers"
            )
        self.augment, self.standardize = augment, standardizer(standardize)
        drawn = random_seed("seed", seed)
        self.seed = int(np.random.default_rng().integers(2**31)) if drawn is None else drawn
        self.position = self.turn = 0

    def checked(self, x: np.ndarray, y: int) -> tuple[np.ndarray, int]:
        """What arrives, if it can be learned.

        Raises:
            ValueError: If the label is none of the classes, or the example cannot be stored.
        """
        label = integer(
            "label", y, 0, self.classes - 1, "The model's last layer has these classes."
        )
        return self.buffer.checked(x), label

    def batch(
        self, x: np.ndarray, y: int, size: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The examples and labels of the step of what arrives, which comes first.

        Args:
            x: What arrives.
            y: Its class.
            size: How many examples are replayed. Defaults to B.

        Returns:
            Float32 examples and soft labels of `min(B, stored) + 1` rows.
        """
        examples, labels = x[None], np.array([y])
        size = self.replay_size if size is None else size
        if size and len(self.buffer):
            old, old_labels = self.buffer.sample(size)
            examples, labels = np.concatenate([examples, old]), np.concatenate([labels, old_labels])
        return self._prepared(examples, labels)

    def replayed(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Examples and labels of replayed examples only."""
        return self._prepared(*self.buffer.sample(size))

    def _prepared(self, examples: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        soft = np.eye(self.classes, dtype=np.float32)[labels]
        if self.augment is not None:
            random = np.random.default_rng((self.seed, self.turn))
            examples, soft = self.augment(examples, soft, random)
        self.turn += 1
        return self.standardize(examples), soft

    def store(self, x: np.ndarray, y: int) -> None:
        """Stores what arrived, as it arrived."""
        if self.replay_size:
            self.buffer.add(x, y)
        self.position += 1

    def state(self) -> tuple[dict[str, Any], list[np.ndarray]]:
        """All that later batches depend on."""
        description, arrays = self.buffer.state()
        counters = {"position": self.position, "turn": self.turn, "seed": self.seed}
        return {"buffer": description, **counters}, arrays

    def restore(self, description: dict[str, Any], arrays: list[np.ndarray]) -> None:
        """Becomes what `state` described."""
        self.buffer.restore(description["buffer"], arrays)
        self.position, self.turn = description["position"], description["turn"]
        self.seed = description["seed"]
