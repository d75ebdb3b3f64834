"""Models as small plain files, written whole or not at all."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import keras

from keras_sparse.storage.files import naming, replace_file
from keras_sparse.storage.keras_archive import UNREADABLE, packed, reason, saved_members


def save_packed(model: keras.Model, path: Path) -> None:
    """Saves a model with its zeros compressed, which Keras's own archives are not.

    Args:
        model: The model.
        path: The file, ending in `.keras`.

    Raises:
        OSError: If it cannot be written; a file that was there before is kept.
    """
    with naming(path):
        contents = packed(saved_members(model))
    replace_file(path, contents)


def load_model(path: Path) -> keras.Model:
    """The model in a `.keras` file, not compiled.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is another kind of file, not whole, or of classes that are not known.
    """
    file = os.fspath(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {file!r}. Give a model saved as .keras.")
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise ValueError(
            f"{file!r} is not a whole .keras file. Save the model with model.save('NAME.keras'); "
            "if writing it was cut short, save it again."
        )
    try:
        return keras.saving.load_model(path, compile=False)
    except UNREADABLE as error:
        raise ValueError(
            f"{file!r} cannot be loaded: {reason(error)} A damaged file must be saved "
            "again; a model with layers of your own is loaded in Python, where they are defined, "
            "and given to keras_sparse.report or keras_sparse.deploy.to_litert."
        ) from error
