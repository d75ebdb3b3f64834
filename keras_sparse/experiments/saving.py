"""Models as small plain files, written whole or not at all; and samples in files."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import keras
import numpy as np

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


def load_samples(file: str | None) -> np.ndarray | None:
    """The samples in a `.npy` file; `None` for no file.

    Args:
        file: The file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is another kind of file.
    """
    if file is None:
        return None
    try:
        return np.load(Path(file).expanduser(), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{file!r} is no array of NumPy's: write one with numpy.save.") from error
