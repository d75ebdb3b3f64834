"""States of a training in files, each put in place whole."""

from __future__ import annotations

import io
import json
import os
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_sparse.storage.files import remove_leftovers, replace_file

_KEPT = 2
_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


def state_bytes(description: Any, arrays: Sequence[np.ndarray]) -> bytes:
    """The contents of a file of a state.

    Args:
        description: Anything that JSON can hold.
        arrays: The arrays, of any shapes and types that NumPy knows by itself.
    """
    named: dict[str, Any] = {f"{i:05}": value for i, value in enumerate(arrays)}
    file = io.BytesIO()
    np.savez(file, description=np.array(json.dumps(description)), **named)
    return file.getvalue()


def _read(path: Path) -> tuple[Any, list[np.ndarray]]:
    with np.load(path) as file:
        description = json.loads(str(file["description"]))
        return description, [file[f"{i:05}"] for i in range(len(file.files) - 1)]


def read_state(path: Path) -> tuple[Any, list[np.ndarray]]:
    """The description and the arrays of a file of a state.

    Args:
        path: The file.

    Raises:
        ValueError: If it is cut off or no such file.
        FileNotFoundError: If there is none.
    """
    try:
        return _read(path)
    except FileNotFoundError:
        raise
    except _DAMAGED as error:
        reason = error or type(error).__name__
        raise ValueError(
            f"{os.fspath(path)!r} is damaged, or no file of a state ({reason})."
        ) from error


class StateFiles:
    """The latest states of a training: arrays, and a description that JSON can hold.

    A process that dies while it writes leaves the states before as they were. The last two are
    kept, in case that the newer one cannot be read.

    Args:
        folder: Where the files are.
        prefix: What their names begin with, such as `"epoch"`.
    """

    def __init__(self, folder: Path, prefix: str) -> None:
        self.folder, self.prefix = folder, prefix

    def _files(self) -> list[Path]:
        """The files, newest first."""
        found = self.folder.glob(f"{self.prefix}-*.npz")
        return sorted(found, key=lambda path: int(path.stem.rpartition("-")[2]), reverse=True)

    def newest(self) -> tuple[Any, list[np.ndarray]] | None:
        """The description and the arrays of the newest state that can be read, if there is one.

        What a process that was killed while it wrote has left there is deleted.

        Raises:
            ValueError: If there are files and none can be read.
        """
        remove_leftovers(self.folder, f"{self.prefix}-")
        damaged, found = [], None
        for path in self._files():
            try:
                found = _read(path)
                break
            except _DAMAGED as error:
                damaged.append(f"{path.name} ({error or type(error).__name__})")
        if damaged and found is None:
            folder = os.fspath(self.folder)
            raise ValueError(
                f"No backup in {folder!r} can be read: {', '.join(damaged)}. Delete {folder!r} to "
                f"resume from the first {self.prefix} with the same settings."
            )
        if damaged:
            warnings.warn(
                f"Damaged, and the backup before it is used: {', '.join(damaged)}", stacklevel=3
            )
        return found

    def write(self, number: int, description: Any, arrays: Sequence[np.ndarray]) -> None:
        """Writes a state; of the older ones the last one stays.

        Args:
            number: The number of finished epochs or rounds.
            description: Anything that JSON can hold.
            arrays: The arrays, of any shapes and types that NumPy knows by itself.
        """
        contents = state_bytes(description, arrays)
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_file(self.folder / f"{self.prefix}-{number:05}.npz", contents)
        for old in self._files()[_KEPT:]:
            old.unlink()

    def delete(self) -> None:
        """Removes all states, and the folder if nothing else is in it."""
        for path in self._files():
            path.unlink()
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()
