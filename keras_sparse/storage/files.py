"""Where an exported file goes: checked before the work starts, replaced in one step after it."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path


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
        OSError: If the disk is full or the directory is no longer writable.
    """
    temporary = destination.with_name(f".{destination.name}.{uuid.uuid4().hex}.tmp")
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
