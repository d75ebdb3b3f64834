"""A sparse Keras model in a small file, and back again bit by bit."""

from __future__ import annotations

import io
import json
import os
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from keras_sparse.messages.arguments import boolean, file_path, instance, optional
from keras_sparse.messages.warning import SparsityWarning
from keras_sparse.probe.variables import check_built
from keras_sparse.storage.bitmask import pack, unpack
from keras_sparse.storage.files import check_destination, replace_file
from keras_sparse.storage.keras_archive import (
    CONFIG,
    UNREADABLE,
    WEIGHTS,
    load_members,
    packed,
    reason,
    saved_members,
)

_SUFFIX = ".ksparse"
_INDEX, _TENSORS = "sparse.json", "sparse.bin"
_FORMAT, _VERSION = "keras_sparse", 1
# About what naming a tensor in the index takes.
_ENTRY = 64
# Where Keras stores the optimizer of a compiled model.
_OPTIMIZER = "optimizer"
_BEGINNING = b"PK"


@dataclass(frozen=True)
class CompressedReport:
    """What compressing a model came to.

    ```python
    import keras
    from keras_sparse import deploy

    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64), keras.layers.Dense(10)])
    for layer in model.layers:
        layer.kernel.assign(keras.ops.where(layer.kernel > 0.2, layer.kernel, 0))
    report = deploy.save_compressed(model, "model.ksparse")
    print(report.bytes, report.ratio)
    ```

    Args:
        path: The file.
        bytes: Its size.
        dense_bytes: The size of all its tensors with their zeros.
        ratio: `dense_bytes / bytes`.
        tensors: The number of tensors.
        sparse_tensors: How many of them are stored without their zeros.
    """

    path: str
    bytes: int
    dense_bytes: int
    ratio: float
    tensors: int
    sparse_tensors: int


def save_compressed(model: keras.Model, path: str | os.PathLike[str]) -> CompressedReport:
    """Writes a model without its zeros to a file that `load_compressed` reads.

    The file holds what a `.keras` file does: the architecture, weights of any type, moving
    statistics, vocabularies. A tensor with enough zeros is stored as one bit an entry and
    the entries that are not zero, the others as they are, and all of it is deflated: float32 with
    90 % zeros takes less than 13.2 % of its size. Everything comes back bit by bit. A negative zero
    is no zero here; methods of this package leave none. The optimizer and what else belongs to
    training are left out.

    ```python
    import keras
    import keras_sparse as ks

    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64), keras.layers.Dense(10)])
    ks.prune(model, 0.9, allocation="uniform")
    report = ks.deploy.save_compressed(model, "model.ksparse")
    print(f"{report.ratio:.1f} times smaller")
    model = ks.deploy.load_compressed("model.ksparse")
    ```

    Args:
        model: A built Keras model of any kind that can be saved as `.keras`.
        path: The file to write, ending in `.ksparse`. An existing file is replaced.

    Returns:
        The sizes.

    Raises:
        ValueError: If an argument is wrong or the model is not built.
        OSError: If `path` cannot be written; a file that was there before is kept.

    Warns:
        SparsityWarning: If no tensor has enough zeros to be stored without them.
    """
    destination = check_destination(file_path("path", path), _SUFFIX)
    check_built(model)
    members = saved_members(model)
    config = json.loads(members[CONFIG])
    compiled = config.pop("compile_config", None)
    members[CONFIG] = json.dumps(config).encode()
    sizes, index, blobs = [], [], []

    def without_zeros(name: str, value: np.ndarray) -> np.ndarray:
        sizes.append(value.nbytes)
        blob = None if value.dtype.hasobject else pack(value)
        if blob is None or len(blob) + _ENTRY >= value.nbytes:
            return value
        index.append({"name": name, "shape": value.shape, "bytes": len(blob)})
        blobs.append(blob)
        return np.empty(0, value.dtype)

    members[WEIGHTS] = _changed(members[WEIGHTS], without_zeros, _OPTIMIZER if compiled else "")
    described = {"format": _FORMAT, "version": _VERSION, "tensors": index}
    members |= {_INDEX: json.dumps(described).encode(), _TENSORS: b"".join(blobs)}
    contents = packed(members)
    replace_file(destination, contents)
    if not index:
        warnings.warn(
            f"{os.fspath(destination)!r} holds every zero: no tensor of model {model.name!r} has "
            "enough of them to be stored without. Prune the model before compressing it.",
            SparsityWarning,
            stacklevel=2,
        )
    return CompressedReport(
        path=os.fspath(destination),
        bytes=len(contents),
        dense_bytes=sum(sizes),
        ratio=sum(sizes) / len(contents),
        tensors=len(sizes),
        sparse_tensors=len(index),
    )


def load_compressed(
    path: str | os.PathLike[str],
    custom_objects: Mapping[str, Any] | None = None,
    safe_mode: bool = True,
) -> keras.Model:
    """The model that `save_compressed` wrote, a plain Keras model that is not compiled.

    ```python
    import keras
    import keras_sparse as ks

    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64), keras.layers.Dense(10)])
    ks.prune(model, 0.9, allocation="uniform")
    ks.deploy.save_compressed(model, "model.ksparse")
    model = ks.deploy.load_compressed("model.ksparse")
    model.compile("adam", "mse")  # to evaluate it, or to go on with ks.StaticMask(mask="current")
    ```

    Args:
        path: The file.
        custom_objects: Classes and functions of your own by the names that the model knows them
            by, where they are not registered: see `keras.saving.load_model`.
        safe_mode: Whether to refuse Python code in the file, which a `Lambda` layer has.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If an argument is wrong; if the file is cut off, damaged or of another kind;
            or if a class of the model is not known, or has other weights than the file.
    """
    source = Path(file_path("path", path)).expanduser()
    optional(instance, "custom_objects", custom_objects, Mapping, "None or a dict of classes")
    boolean("safe_mode", safe_mode)
    members = _members(source)
    try:
        members[WEIGHTS] = _whole_weights(members)
    except UNREADABLE as error:
        raise _damaged(source, error) from error
    try:
        return load_members(
            members,
            custom_objects=None if custom_objects is None else dict(custom_objects),
            compile=False,
            safe_mode=safe_mode,
        )
    except UNREADABLE as error:
        raise ValueError(
            f"{os.fspath(path)!r} is whole, but Keras cannot make its model: {reason(error)} "
            "Import the modules in which classes of your own are registered, or give them as "
            "custom_objects={'Name': Name}, as they were when the file was written; a model with "
            "Lambda layers needs safe_mode=False, if you trust the file."
        ) from error


def _members(path: Path) -> dict[str, bytes]:
    """The members of a file, each of which is checked against its checksum."""
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file {os.fspath(path)!r}. Give one that save_compressed has written."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except (*UNREADABLE, NotImplementedError, RuntimeError) as error:
        with open(path, "rb") as file:
            if file.read(len(_BEGINNING)) == _BEGINNING:
                raise _damaged(path, error) from error
        raise _another_kind(path) from error
    if _INDEX not in members:
        raise _another_kind(path, keras_file=CONFIG in members)
    return members


def _whole_weights(members: dict[str, bytes]) -> bytes:
    """The weights as Keras saved them; what they were stored in is taken from the members."""
    described, blobs = json.loads(members.pop(_INDEX)), members.pop(_TENSORS)
    if described["version"] > _VERSION:
        raise ValueError(
            f"its format is version {described['version']}, which a newer keras_sparse wrote; "
            f"this one reads up to {_VERSION}"
        )
    parts, at = {}, 0
    for entry in described["tensors"]:
        parts[entry["name"]] = blobs[at : at + entry["bytes"]], entry["shape"]
        at += entry["bytes"]

    def with_zeros(name: str, value: np.ndarray) -> np.ndarray:
        if name not in parts:
            return value
        blob, shape = parts[name]
        return unpack(blob, value.dtype, shape)

    return _changed(members[WEIGHTS], with_zeros)


def _another_kind(path: Path, keras_file: bool = False) -> ValueError:
    cure = (
        "It is a .keras file: load it with keras.saving.load_model."
        if keras_file
        else "Give one that save_compressed has written."
    )
    return ValueError(f"{os.fspath(path)!r} is no compressed model. {cure}")


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{os.fspath(path)!r} is cut off or damaged, or too new: {error or type(error).__name__}. "
        "Copy it again, or write it again with save_compressed."
    )


def _changed(
    weights: bytes, change: Callable[[str, np.ndarray], np.ndarray], leave_out: str = ""
) -> bytes:
    """An HDF5 file with other tensors.

    Args:
        weights: The file.
        change: Makes of a tensor's name and value another value.
        leave_out: The name of a group at the top that is left out.
    """
    changed = io.BytesIO()
    with h5py.File(io.BytesIO(weights), "r") as source, h5py.File(changed, "w") as target:

        def copy(group: h5py.Group, to: h5py.Group) -> None:
            to.attrs.update(group.attrs)
            for name, item in group.items():
                if item.name == f"/{leave_out}":
                    continue
                if isinstance(item, h5py.Group):
                    copy(item, to.create_group(name))
                else:
                    value = change(item.name, np.asarray(item[()], item.dtype))
                    to.create_dataset(name, data=value, dtype=item.dtype).attrs.update(item.attrs)

        copy(source, target)
    return changed.getvalue()
