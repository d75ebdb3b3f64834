"""The replay buffer: what a streaming learner still has of the past."""

from __future__ import annotations

import os
from array import array
from pathlib import Path
from typing import Any

import numpy as np

from keras_sparse.messages.arguments import (
    instance,
    integer,
    number,
    one_of,
    optional,
    random_seed,
    wrong,
)
from keras_sparse.storage.files import replace_file
from keras_sparse.storage.states import read_state, state_bytes
from keras_sparse.streaming.replay.class_index import ClassIndex
from keras_sparse.streaming.replay.compression import ImageCompression
from keras_sparse.streaming.replay.consolidation import KINDS, interpolated
from keras_sparse.streaming.replay.eviction import POLICIES
from keras_sparse.streaming.replay.example import check_example, described
from keras_sparse.streaming.replay.jpeg_store import JPEGStore
from keras_sparse.streaming.replay.packed_store import PackedStore

_LARGEST_LABEL = 2**31 - 1
Store = PackedStore | JPEGStore


class ReplayBuffer:
    """Labelled examples of one shape, of which some leave when it is full.

    Adding, evicting and sampling take time by the batch and the number of classes, whatever the
    number of stored examples.

    ```python
    buffer = ReplayBuffer(capacity_bytes=30e6, compression=ImageCompression(bits=6, area=0.66))
    for image, label in zip(np.zeros((20, 32, 32, 3), "uint8"), range(20)):
        buffer.add(image, label)
    images, labels = buffer.sample(10)
    ```

    Args:
        capacity: At most how many examples; `None` for any number.
        capacity_bytes: At most how many bytes the examples take as they are stored.
        eviction: `"class_balanced"`, `"uniform"` or `"reservoir"`; or `"mixup"`, `"cutmix"` or
            `"sample_pairing"`, by which two examples of the largest class become one.
        compression: How examples are stored. Anything but the default needs uint8 images.
        alpha: Of the Beta distribution that `"mixup"` and `"cutmix"` draw from.
        max_interpolations: How often an example may be made of others before it is evicted
            instead; `None` for any number.
        seed: Of what is evicted and sampled; `None` for a random one.

    Raises:
        ValueError: If an argument is out of range.

    Source: Wolfe (2023), 5.3.2, Algorithm 5, D.2.2 to D.2.4.
    """

    def __init__(
        self,
        capacity: int | None = None,
        capacity_bytes: float | None = None,
        *,
        eviction: str = "class_balanced",
        compression: ImageCompression | None = None,
        alpha: float = 1.0,
        max_interpolations: int | None = None,
        seed: int | None = 0,
    ) -> None:
        self.capacity = optional(integer, "capacity", capacity)
        self.capacity_bytes = optional(number, "capacity_bytes", capacity_bytes, "[1, inf)")
        self.eviction = one_of("eviction", eviction, (*POLICIES, *KINDS))
        self.compression = compression if compression is not None else ImageCompression()
        instance("compression", self.compression, ImageCompression, "an ImageCompression")
        self.alpha = number("alpha", alpha, "(0, inf)")
        self.max_interpolations = optional(
            integer, "max_interpolations", max_interpolations, 1, 255
        )
        self.random = np.random.default_rng(random_seed("seed", seed))
        self.index = ClassIndex()
        self.store: Store | None = None
        self.seen = 0
        self._interpolations = array("B")
        # Whether a folder of images must be empty: not one that a state of this buffer was of.
        self._fresh = True

    def __len__(self) -> int:
        return len(self.index)

    @property
    def nbytes(self) -> int:
        """The bytes of the examples as they are stored."""
        return self.store.nbytes if self.store is not None else 0

    @property
    def class_counts(self) -> dict[int, int]:
        """Stored examples by label."""
        return self.index.counts()

    @property
    def labels(self) -> np.ndarray:
        """The labels of all stored examples, int32."""
        return np.array(self.index.labels, np.int32)

    def sample(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Draws examples uniformly, none of them twice.

        Args:
            size: How many; all if there are fewer.

        Returns:
            The examples, decompressed, `(n, ...)`, and their labels, `(n,)`.

        Raises:
            ValueError: If nothing was ever added, so that the shape is not known.
        """
        integer("size", size, 0)
        if self.store is None:
            raise wrong("size", size, "drawn of a buffer that examples were added to")
        size = min(size, len(self))
        places = self.random.choice(len(self), size, replace=False) if size else np.empty(0, int)
        return self.store.read(places), np.array([self.index.labels[i] for i in places], np.int32)

    def read(self, most: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Stored examples, decompressed, and their labels.

        Args:
            most: How many at most, at equal distances; `None` for all.
        """
        if self.store is None:
            raise ValueError("The buffer holds nothing yet. Add an example first.")
        size = min(len(self), optional(integer, "most", most) or len(self))
        places = np.arange(size) * len(self) // max(1, size)
        return self.store.read(places), self.labels[places]

    def add(self, example: np.ndarray, label: int) -> None:
        """Stores an example; if there is no room, one leaves, maybe this one.

        One that arrives again counts as another.

        Args:
            example: All of one shape and type: uint8 images `(h, w, c)`, or any numbers where
                nothing is compressed.
            label: Its class.

        Raises:
            ValueError: If the example is not like the first, not finite, or larger than the
                buffer; or the label is no class.
            OSError: If the disk is full; what is stored stays.
        """
        label = integer("label", label, 0, _LARGEST_LABEL)
        example = self.checked(example)
        store = self.store or self._made_store(example.shape, example.dtype)
        prepared = store.prepare(example)
        self.store = store
        size = store.size(prepared)
        try:
            self._check_room(size)
        except ValueError:
            store.discard(prepared)
            raise
        self.seen += 1
        while self._full(store, size):
            if self.eviction in KINDS:
                self._consolidate(store, label)
                continue
            place = POLICIES[self.eviction](self.index, label, self.seen, self.random)
            if place is None:
                store.discard(prepared)
                return
            self._remove(store, place)
        self._append(store, prepared, label)

    def checked(self, example: np.ndarray) -> np.ndarray:
        """An example, as an array that can be stored.

        Raises:
            ValueError: If it cannot.
        """
        found = check_example(example, self.compression)
        if self.store is None:
            store = self._made_store(found.shape, found.dtype)
            prepared = store.prepare(found)
            store.discard(prepared)
            self._check_room(store.size(prepared))
        elif described(found) != self._stored_as(self.store):
            allowed = f"like those stored, {self._stored_as(self.store)}"
            raise wrong("example", described(found), allowed)
        return found

    def _check_room(self, size: int) -> None:
        if self.capacity_bytes is not None and size > self.capacity_bytes:
            raise wrong("capacity_bytes", self.capacity_bytes, f"room for an example of {size}")

    @staticmethod
    def _stored_as(store: Store) -> str:
        return f"{store.dtype}{list(store.shape)}"

    def _made_store(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Store:
        if self.compression.jpeg is not None:
            return JPEGStore(self.compression, shape, self._fresh)
        return PackedStore(self.compression, shape, dtype)

    def _full(self, store: Store, size: int) -> bool:
        by_count = self.capacity is not None and len(self) >= self.capacity
        room = self.capacity_bytes
        return len(self) > 0 and (by_count or (room is not None and store.nbytes + size > room))

    def _append(self, store: Store, prepared: Any, label: int, interpolations: int = 0) -> None:
        store.append(prepared)
        self.index.append(label)
        if self.eviction in KINDS:
            self._interpolations.append(interpolations)

    def _remove(self, store: Store, place: int) -> None:
        store.remove(place)
        self.index.remove(place)
        if self.eviction in KINDS:
            last = self._interpolations.pop()
            if place < len(self._interpolations):
                self._interpolations[place] = last

    def _consolidate(self, store: Store, arriving: int) -> None:
        """Makes one of two examples of the class with most, or evicts one."""
        members = self.index.members
        label = max(members, key=lambda each: (len(members[each]), each == arriving, -each))
        chosen = self.random.choice(len(members[label]), min(2, len(members[label])), replace=False)
        places = [members[label][i] for i in chosen]
        most = self.max_interpolations
        worn = [place for place in places if most and self._interpolations[place] >= most]
        if worn or len(places) < 2:
            self._remove(store, (worn or places)[0])
            return
        one, other = store.read(np.array(places))
        mixed = interpolated(self.eviction, one, other, self.alpha, self.random)
        prepared = store.prepare(mixed)
        times = min(255, 1 + max(self._interpolations[place] for place in places))
        for place in sorted(places, reverse=True):
            self._remove(store, place)
        self._append(store, prepared, label, times)

    def get_config(self) -> dict[str, Any]:
        """The settings, but for the seed."""
        return {
            "capacity": self.capacity,
            "capacity_bytes": self.capacity_bytes,
            "eviction": self.eviction,
            "compression": self.compression.get_config(),
            "alpha": self.alpha,
            "max_interpolations": self.max_interpolations,
        }

    def state(self) -> tuple[dict[str, Any], list[np.ndarray]]:
        """All that the buffer's future depends on: what JSON can hold, and arrays."""
        store = self.store
        stored = None if store is None else [list(store.shape), str(store.dtype)]
        description = {
            "config": self.get_config(),
            "stored": stored,
            "seen": self.seen,
            "random": self.random.bit_generator.state,
        }
        interpolations = np.frombuffer(self._interpolations.tobytes(), np.uint8)
        arrays = [*self.index.arrays(), interpolations, *(store.arrays() if store else [])]
        return description, arrays

    def restore(self, description: dict[str, Any], arrays: list[np.ndarray]) -> None:
        """Becomes what `state` described.

        Raises:
            ValueError: If that buffer had other settings.
        """
        theirs, own = description["config"], self.get_config()
        different = [name for name in own if theirs.get(name) != own[name]]
        if different:
            name = different[0]
            raise ValueError(
                f"The stored buffer has {name}={theirs.get(name)!r}, and this one has "
                f"{name}={own[name]!r}. Make a buffer with the settings of the stored one."
            )
        labels, ranks, interpolations, *stored = arrays
        self.index.fill([labels, ranks])
        self._interpolations = array("B", interpolations.tobytes())
        self.seen = description["seen"]
        self.random.bit_generator.state = description["random"]
        self.store, self._fresh = None, False
        if description["stored"] is not None:
            shape, dtype = description["stored"]
            self.store = self._made_store(tuple(shape), np.dtype(dtype))
            self.store.fill(stored)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the buffer, with its random numbers, to a file: whole or not at all.

        JPEG files are copied into it, so that it stays right when they are evicted.

        Args:
            path: The file.

        Raises:
            OSError: If it cannot be written; one that was there is kept.
        """
        replace_file(Path(path).expanduser(), state_bytes(*self.state()))

    def load(self, path: str | os.PathLike[str]) -> None:
        """Becomes the buffer that a file holds, which goes on as the saved one would have.

        Args:
            path: What `save` wrote, by a buffer of the same settings.

        Raises:
            ValueError: If the file is cut off, or of a buffer with other settings.
        """
        self.restore(*read_state(Path(path).expanduser()))
