"""Models as small plain files, written whole or not at all."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path

import keras

from keras_sparse.storage.files import naming, replace_file


def save_packed(model: keras.Model, path: Path) -> None:
    """Saves a model with its zeros compressed, which Keras's own archives are not.

    Args:
        model: The model.
        path: The file, ending in `.keras`.

    Raises:
        OSError: If it cannot be written; a file that was there before is kept.
    """
    packed = io.BytesIO()
    with naming(path), tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / path.name
        model.save(plain)
        with (
            zipfile.ZipFile(plain) as source,
            zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target,
        ):
            for name in source.namelist():
                target.writestr(name, source.read(name))
    replace_file(path, packed.getvalue())
