"""One process at a time in a folder."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

LOCK = ".lock"


class FolderInUseError(RuntimeError):
    """Another process works in the folder."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other processes out of a folder, which is made if need be.

    The operating system lets the lock go when the process ends, however it ends. A folder that was
    made for it and is still empty afterwards goes too.

    Args:
        folder: The folder.

    Raises:
        FolderInUseError: If another process has locked it.
        OSError: If it cannot be written.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    try:
        with _opened(path) as file:
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            try:
                yield
            finally:
                # Before the lock is let go, so that it is never another process's file.
                with contextlib.suppress(PermissionError):  # Windows deletes no open file.
                    path.unlink(missing_ok=True)
    finally:
        with contextlib.suppress(OSError):
            for place in made:
                place.rmdir()


def _opened(path: Path) -> IO[str]:
    """The lock's file, locked by this process."""
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            _lock(file)
            # Whoever had it may have deleted the file since it was opened here.
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "another one"
            file.close()
            raise FolderInUseError(
                f"{os.fspath(path.parent)!r} is in use by process {holder}. Wait until that has "
                "ended, or give another folder (--out)."
            ) from error
        file.close()


def _lock(file: IO[str]) -> None:
    if sys.platform == "win32":
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
