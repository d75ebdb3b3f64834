"""Where an exported file goes: checked before the work starts, replaced in one step after it."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{32}\.tmp")


def check_destination(path: str | os.PathLike[str], suffix: str) -> Path:
    """Refuses a path that could not be written, before any time is spent on its contents.

    Args:
        path: The file to be written.
        suffix: What its name must end in, such as `".tflite"`.

    Returns:
        The path, with `~` expanded.

    Raises:
        ValueError: If the name ends otherwise.
        OSError: If the directory does not exist or cannot be written, or `path` is a directory.
    """
    destination = Path(path).expanduser()
    if destination.suffix != suffix:
        raise ValueError(
            f"path={str(path)!r} must end in {suffix!r}, by which runtimes and tools know the "
            f"format. Did you mean {str(destination.with_suffix(suffix))!r}?"
        )
    parent = destination.parent
    if not parent.exists():
        raise FileNotFoundError(
            f"Cannot write {str(path)!r}: the directory {str(parent)!r} does not exist. Create it "
            "first, or give another path."
        )
    if not parent.is_dir():
        raise NotADirectoryError(
            f"Cannot write {str(path)!r}: {str(parent)!r} is a file, not a directory. Give another "
            "path."
        )
    if destination.is_dir():
        raise IsADirectoryError(
            f"Cannot write {str(path)!r}: it is a directory. Name a file inside it."
        )
    if not os.access(parent, os.W_OK | os.X_OK):
        raise PermissionError(
            f"Cannot write {str(path)!r}: the directory {str(parent)!r} is not writable by this "
            "user. Give another path, or change its permissions."
        )
    return destination


def replace_file(destination: Path, contents: bytes) -> None:
    """Puts `contents` at `destination` whole or not at all.

    The bytes go to a new file in the same directory (a rename is atomic only within one file
    system), are flushed to the disk, and take the name in one step. A process that dies on the
    way leaves what was at `destination` as it was.

    Args:
        destination: The file to create or replace.
        contents: All of its bytes.

    Raises:
        OSError: If the disk is full or the directory is no longer writable, naming the file.
    """
    temporary = destination.with_name(f".{destination.name}.{uuid.uuid4().hex}.tmp")
    with naming(destination):
        try:
            with open(temporary, "xb") as file:
                file.write(contents)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, destination)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def naming(destination: Path) -> Iterator[None]:
    """Names the file that is written in what the operating system says of a failure.

    Args:
        destination: The file.

    Raises:
        OSError: The error that was raised within, with the file's name and a cure.
    """
    try:
        yield
    except OSError as error:
        raise OSError(
            error.errno,
            f"{error.strerror or error}; a file that was there before is kept. Make room, or see "
            "to the disk, and give the same command again",
            os.fspath(destination),
        ) from error


def remove_leftovers(folder: Path, prefix: str = "") -> None:
    """Deletes what processes that were killed while they wrote have left in a folder.

    Args:
        folder: The folder, in which no other process writes now.
        prefix: What the names of the files that they wrote begin with. Defaults to any.
    """
    for path in folder.glob(".*.tmp"):
        found = _TEMPORARY.fullmatch(path.name)
        if found and found[1].startswith(prefix):
            path.unlink(missing_ok=True)


def read_json(path: Path, cure: str) -> Any:
    """Reads a JSON file.

    Args:
        path: The file.
        cure: What to do if it is damaged.

    Raises:
        ValueError: If it is not whole, naming it and the cure.
        OSError: If it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)!r} is damaged ({error}). {cure}") from error


def gzip_bytes(contents: bytes) -> int:
    """The size of a file after gzip at level 9."""
    return len(gzip.compress(contents, compresslevel=9, mtime=0))
