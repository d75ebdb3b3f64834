"""The members of the archive that Keras saves a model in."""

from __future__ import annotations

import io
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
# What Keras raises for a damaged file (as zlib does for a compressed one) or an unknown class.
UNREADABLE = (TypeError, ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error)


def saved_members(model: keras.Model) -> dict[str, bytes]:
    """What `model.save` writes, by the names in its archive.

    Args:
        model: The model.

    Raises:
        OSError: If there is no room for it among temporary files.
    """
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "model.keras"
        model.save(plain)
        with zipfile.ZipFile(plain) as source:
            return {name: source.read(name) for name in source.namelist()}


def load_members(members: Mapping[str, bytes], **options: Any) -> keras.Model:
    """The model that `saved_members` came from.

    Args:
        members: Contents by name.
        **options: What `keras.saving.load_model` takes.

    Raises:
        ValueError: If Keras cannot make a model of them, and of other kinds: see `UNREADABLE`.
        OSError: If there is no room for them among temporary files.
    """
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "model.keras"
        with zipfile.ZipFile(plain, "w") as target:
            for name, contents in members.items():
                target.writestr(name, contents)
        return keras.saving.load_model(plain, **options)


def packed(members: Mapping[str, bytes]) -> bytes:
    """An archive with its members compressed, which Keras's own are not.

    Args:
        members: Contents by name.
    """
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
        for name, contents in members.items():
            target.writestr(name, contents)
    return file.getvalue()


def reason(error: Exception) -> str:
    """The first line of why Keras could not load a model, without the model's configuration.

    Args:
        error: What was raised.
    """
    text = str(error).rpartition("Exception encountered: ")[2].strip() or type(error).__name__
    return text.splitlines()[0]
