"""Models as small plain files, written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import keras

from keras_sparse.storage.files import naming, replace_file
from keras_sparse.storage.keras_archive import packed, saved_members


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
