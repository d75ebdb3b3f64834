"""The folder of a run: what it holds, and whether a run may begin or go on in it."""

from __future__ import annotations

import os
from pathlib import Path

from keras_sparse.engine.backup import finished_epochs
from keras_sparse.experiments.config import CONFIG, RESULT, read_config

BACKUP = "backup"
MODEL, HISTORY = "model.keras", "history.csv"
OUTPUTS = (MODEL, "model.tflite", HISTORY, "curve.png", RESULT)


def check_place(out: Path) -> None:
    """Checks that files can be written in a folder.

    Args:
        out: The folder, which need not exist.

    Raises:
        OSError: If it cannot be written.
    """
    name = os.fspath(out)
    place = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not place.is_dir():
        raise NotADirectoryError(f"Cannot write to {name!r}: {os.fspath(place)!r} is a file.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(
            f"Cannot write to {name!r}: {os.fspath(place)!r} is not writable by this user. Give "
            "another folder, or change its permissions."
        )


def has_step(out: Path) -> bool:
    """Whether a run in a folder has come so far that something would be lost by a new one."""
    return (out / RESULT).exists() or finished_epochs(out / BACKUP) > 0


def check_contents(out: Path, resume: bool) -> None:
    """Checks that a run may begin or go on with what a folder holds.

    Args:
        out: The folder, which need not exist.
        resume: Whether a run is to go on there.

    Raises:
        ValueError: If it holds a run already or files that would be overwritten; with `resume`
            if it holds none.
    """
    name = os.fspath(out)
    if resume:
        read_config(out)
        return
    if (out / CONFIG).exists():
        if has_step(out):
            finished = (out / RESULT).exists()
            raise ValueError(
                f"{name!r} already holds {'a finished' if finished else 'an unfinished'} run; "
                f"--resume {'shows its result' if finished else 'goes on with it'}. For a new run "
                "give another folder (--out)."
            )
        return
    foreign = [file for file in (*OUTPUTS, BACKUP) if (out / file).exists()]
    if foreign:
        raise ValueError(
            f"{name!r} holds files of no run that would be overwritten: {', '.join(foreign)}. "
            "Move them away, or give another folder (--out)."
        )
