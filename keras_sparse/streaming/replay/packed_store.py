"""Stored examples in memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_sparse.streaming.replay.compression import ImageCompression

# Blocks instead of one array: a buffer without a limit grows without being copied.
_ROWS = 1024


class PackedStore:
    """Examples of one shape, packed, in the places 0 to n - 1.

    Args:
        compression: How uint8 images are packed.
        shape: Of an example.
        dtype: Of an example.
    """

    def __init__(
        self, compression: ImageCompression, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        self.compression, self.shape, self.dtype = compression, shape, dtype
        self.row = (
            int(np.prod(shape)) * dtype.itemsize
            if compression.lossless
            else compression.nbytes(shape)
        )
        self.blocks: list[np.ndarray] = []
        self.count = 0

    @property
    def nbytes(self) -> int:
        """The bytes of the examples."""
        return self.count * self.row

    def prepare(self, example: np.ndarray) -> Any:
        """An example as it is stored."""
        if self.compression.lossless:
            return np.frombuffer(np.ascontiguousarray(example).tobytes(), np.uint8)
        return self.compression.compress(example[None])[0]

    def size(self, prepared: Any) -> int:
        """The bytes of a prepared example."""
        return len(prepared)

    def discard(self, prepared: Any) -> None:
        """Forgets a prepared example."""

    def append(self, prepared: np.ndarray) -> None:
        """Stores a prepared example in the next place."""
        block, row = divmod(self.count, _ROWS)
        if block == len(self.blocks):
            self.blocks.append(np.empty((_ROWS, self.row), np.uint8))
        self.blocks[block][row] = prepared
        self.count += 1

    def remove(self, place: int) -> None:
        """Puts the last example in the place of one."""
        self.count -= 1
        if place != self.count:
            self._row(place)[:] = self._row(self.count)

    def read(self, places: np.ndarray) -> np.ndarray:
        """The examples in some places, unpacked."""
        packed = np.empty((len(places), self.row), np.uint8)
        for i, place in enumerate(places.tolist()):
            packed[i] = self._row(place)
        if self.compression.lossless:
            return packed.view(self.dtype).reshape(len(packed), *self.shape)
        return self.compression.decompress(packed, self.shape)

    def _row(self, place: int) -> np.ndarray:
        return self.blocks[place // _ROWS][place % _ROWS]

    def arrays(self) -> list[np.ndarray]:
        """What is stored, for a file."""
        if not self.blocks:
            return [np.empty((0, self.row), np.uint8)]
        return [np.concatenate(self.blocks)[: self.count]]

    def fill(self, arrays: list[np.ndarray]) -> None:
        """Stores what `arrays` gave."""
        self.blocks, self.count = [], 0
        for row in arrays[0]:
            self.append(row)
