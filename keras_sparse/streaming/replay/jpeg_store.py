"""Stored examples in JPEG files."""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_sparse.messages.arguments import wrong
from keras_sparse.storage.files import naming
from keras_sparse.streaming.replay.compression import ImageCompression

_PATTERN = "replay-*.jpg"


class _File(NamedTuple):
    path: Path
    size: int


class JPEGStore:
    """Images of one shape in the places 0 to n - 1, each in a file of its own.

    Args:
        compression: The quality and the folder.
        shape: Of an image.
        fresh: Whether the folder must hold no images; else those that it holds are deleted.

    Raises:
        ValueError: If the folder holds images and must not.
    """

    def __init__(
        self, compression: ImageCompression, shape: tuple[int, ...], fresh: bool = True
    ) -> None:
        self.compression, self.shape, self.dtype = compression, shape, np.dtype(np.uint8)
        self.folder = Path(os.fspath(compression.directory or "")).expanduser()
        self.folder.mkdir(parents=True, exist_ok=True)
        left = list(self.folder.glob(_PATTERN))
        if left and fresh:
            raise wrong(
                "directory",
                os.fspath(self.folder),
                f"an empty folder, and there are {len(left)} images of another buffer in it",
                "Load that buffer, or delete them.",
            )
        for path in left:
            path.unlink()
        self.files: list[_File] = []
        self._numbers = itertools.count()
        self.nbytes = 0

    @property
    def count(self) -> int:
        """Stored images."""
        return len(self.files)

    def prepare(self, example: np.ndarray) -> Any:
        """Writes an image: if the disk is full, nothing else has changed yet."""
        return self._write(self.compression.encode(example))

    def _write(self, contents: bytes) -> _File:
        path = self.folder / f"replay-{next(self._numbers):08}.jpg"
        with naming(path):
            try:
                path.write_bytes(contents)
            except BaseException:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
                raise
        return _File(path, len(contents))

    def size(self, prepared: Any) -> int:
        """The bytes of a prepared image."""
        return prepared.size

    def discard(self, prepared: Any) -> None:
        """Deletes a prepared image."""
        prepared.path.unlink(missing_ok=True)

    def append(self, prepared: _File) -> None:
        """Stores a prepared image in the next place."""
        self.files.append(prepared)
        self.nbytes += prepared.size

    def remove(self, place: int) -> None:
        """Puts the last image in the place of one, whose file is deleted."""
        gone = self.files[place]
        self.files[place] = self.files[-1]
        self.files.pop()
        self.nbytes -= gone.size
        gone.path.unlink(missing_ok=True)

    def read(self, places: np.ndarray) -> np.ndarray:
        """The images in some places."""
        contents = [self.files[place].path.read_bytes() for place in places]
        images = [self.compression.decode(each, self.shape) for each in contents]
        return np.stack(images) if images else np.empty((0, *self.shape), np.uint8)

    def arrays(self) -> list[np.ndarray]:
        """The files' contents one after another, and their sizes."""
        contents = b"".join(file.path.read_bytes() for file in self.files)
        sizes = np.array([file.size for file in self.files], np.int64)
        return [np.frombuffer(contents, np.uint8), sizes]

    def fill(self, arrays: list[np.ndarray]) -> None:
        """Writes the files that `arrays` gave."""
        contents, sizes = arrays
        ends = np.cumsum(sizes)
        for begin, end in zip(ends - sizes, ends, strict=True):
            self.append(self._write(contents[begin:end].tobytes()))
