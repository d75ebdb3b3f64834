"""What the files of Keras 2 hold: HDF5 files and SavedModels of whole models."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

_SAVE_AGAIN = (
    "In the Keras that wrote it, load the model and save it whole: model.save('model.h5')."
)


class Stored(NamedTuple):
    """A model as it was saved.

    Args:
        config: Its class and configuration.
        layers: The names and values of the weights of each of its layers, the trainable ones first.
    """

    config: dict[str, Any]
    layers: dict[str, list[tuple[str, np.ndarray]]]


def read_legacy(path: Path) -> Stored:
    """Reads a whole model.

    Args:
        path: A `.h5` file or the folder of a SavedModel.

    Raises:
        FileNotFoundError: If there is neither.
        ValueError: If it holds no whole model, or is damaged.
    """
    name = os.fspath(path)
    if path.is_dir():
        if not (path / "saved_model.pb").is_file():
            raise ValueError(f"{name!r} is no SavedModel: it has no saved_model.pb. {_SAVE_AGAIN}")
        return _of_saved_model(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file {name!r}. Give a .h5 file or the folder of a SavedModel."
        )
    if not h5py.is_hdf5(path):
        raise ValueError(f"{name!r} is no HDF5 file, or cut off. {_SAVE_AGAIN}")
    try:
        with h5py.File(path, "r") as file:
            return _of_hdf5(file, name)
    except (OSError, KeyError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ValueError:
    said = str(error).partition("\n")[0] or type(error).__name__
    return ValueError(f"{os.fspath(path)!r} is damaged ({said}). Copy it again. {_SAVE_AGAIN}")


def _of_hdf5(file: h5py.File, name: str) -> Stored:
    config = file.attrs.get("model_config")
    if config is None or "model_weights" not in file:
        raise ValueError(f"{name!r} holds weights without their model. {_SAVE_AGAIN}")
    weights = file["model_weights"]
    return Stored(
        json.loads(_text(config)),
        {
            layer: [
                (weight, np.asarray(weights[layer][weight]))
                for weight in _names(weights[layer], "weight_names")
            ]
            for layer in _names(weights, "layer_names")
        },
    )


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """A list of names, which Keras cuts into numbered parts where it is long."""
    parts: Sequence[Any] = [group.attrs[attribute]] if attribute in group.attrs else []
    while f"{attribute}{len(parts)}" in group.attrs:
        parts = [*parts, group.attrs[f"{attribute}{len(parts)}"]]
    return [_text(name) for part in parts for name in part]


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _of_saved_model(path: Path) -> Stored:
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    metadata = path / "keras_metadata.pb"
    if not metadata.is_file():
        raise ValueError(
            f"{os.fspath(path)!r} is no SavedModel of Keras 2: it has no keras_metadata.pb, which "
            f"tells the model's layers. {_SAVE_AGAIN}"
        )
    try:
        config = _root_config(metadata.read_bytes())
        loaded = tf.saved_model.load(os.fspath(path))
    except (OSError, ValueError, DecodeError, tf.errors.OpError) as error:
        raise _damaged(path, error) from error
    entries = config["config"].get("layers", [])
    if config["class_name"] == "Sequential":
        entries = [entry for entry in entries if entry["class_name"] != "InputLayer"]
    layers: dict[str, list[tuple[str, np.ndarray]]] = {}
    for i, entry in enumerate(entries):
        layer = getattr(loaded, f"layer-{i}")
        # Inputs have neither, nor have layers that were saved without their functions.
        trainable = list(getattr(layer, "trainable_variables", ()))
        known = {id(variable) for variable in trainable}
        others = [v for v in getattr(layer, "variables", ()) if id(v) not in known]
        found = [(v.name, v.numpy()) for v in (*trainable, *others)]
        layers[entry["config"]["name"]] = found
    return Stored(config, layers)


def _root_config(contents: bytes) -> dict[str, Any]:
    """The class and configuration of the model that a `keras_metadata.pb` describes."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    # The part that is needed of saved_metadata.proto, which TensorFlow does not make public.
    file = descriptor_pb2.FileDescriptorProto(name="saved_metadata.proto", package="legacy")
    node = file.message_type.add(name="SavedObject")
    node.field.add(name="node_path", number=3, type=9, label=1)
    node.field.add(name="metadata", number=5, type=9, label=1)
    whole = file.message_type.add(name="SavedMetadata")
    whole.field.add(name="nodes", number=1, type=11, label=3, type_name=".legacy.SavedObject")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindMessageTypeByName("legacy.SavedMetadata")
    message = message_factory.GetMessageClass(found).FromString(contents)
    root = next((node for node in message.nodes if node.node_path == "root"), None)
    if root is None:
        raise ValueError("its metadata describe no model")
    described = json.loads(root.metadata, object_hook=_without_tuples)
    return {"class_name": described["class_name"], "config": described.get("config") or {}}


def _without_tuples(value: dict[str, Any]) -> Any:
    """Tuples, which SavedModels mark, as lists, which HDF5 files have instead."""
    return value["items"] if value.get("class_name") == "__tuple__" else value
