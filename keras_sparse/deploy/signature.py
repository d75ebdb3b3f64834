"""What goes into a model: names, shapes and types, and the samples a file is verified on."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

_SYNTHETIC_SAMPLES = 8


@dataclass(frozen=True)
class InputSpec:
    """One input tensor.

    Args:
        name: Its name in the file.
        shape: Its shape with the batch dimension, which is None where it may vary.
        dtype: Its type, such as `"float32"`.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class Signature:
    """All inputs of an exported model and samples of them.

    Args:
        inputs: The inputs in the order of `keras.tree.flatten`.
        structure: What the model is called with, a tree whose leaves stand for the inputs.
        samples: One array per input, all with the same number of rows.
        synthetic: Whether the samples were made up rather than given.
        model_batch: The batch size that the Keras model is limited to, or None.
    """

    inputs: tuple[InputSpec, ...]
    structure: Any
    samples: tuple[np.ndarray, ...]
    synthetic: bool
    model_batch: int | None = None

    def nest(self, tensors: Sequence[Any]) -> Any:
        """Arranges one tensor per input in the way the model is called."""
        return keras.tree.pack_sequence_as(self.structure, list(tensors))


def unique_names(names: Sequence[str]) -> list[str]:
    """Makes names that a LiteRT signature takes: letters, digits and underscores, each once.

    Args:
        names: The wished names.

    Returns:
        As many names, all different.
    """
    result: list[str] = []
    for name in names:
        plain = re.sub(r"\W", "_", name)
        candidate, count = plain, 1
        while candidate in result:
            candidate, count = f"{plain}_{count}", count + 1
        result.append(candidate)
    return result


def read_signature(model: keras.Model, inputs: Any, batch_size: int | None) -> Signature:
    """Finds out what a model takes.

    Args:
        model: A built model.
        inputs: The user's samples: an array, or a list, tuple or dict of arrays; or None.
        batch_size: The batch size of the file, or None where it may vary.

    Returns:
        The signature, with the samples cast to the inputs' types.

    Raises:
        ValueError: If the inputs cannot be known from the model, or `inputs` do not fit it.
    """
    if isinstance(model, keras.Sequential):
        structure = model.inputs[0]
    elif getattr(model, "inputs", None):
        structure = model.input
    elif inputs is not None:
        _check_one_argument(model)
        return _signature_of_samples(inputs, batch_size)
    else:
        raise ValueError(
            f"Model {model.name!r} is subclassed, so what it takes is known only from data. Pass "
            "`inputs=` a batch of it, in the way you call the model."
        )
    tensors = keras.tree.flatten(structure)
    arrays = None if inputs is None else _arrange(inputs, structure, [x.name for x in tensors])
    names = unique_names([x.name for x in tensors])
    specs, samples = [], []
    random = np.random.default_rng(0)
    for i, (name, tensor) in enumerate(zip(names, tensors, strict=True)):
        if getattr(tensor, "sparse", False) or tensor.dtype == "string":
            kind = "sparse" if tensor.dtype != "string" else "a string"
            raise ValueError(
                f"Input {tensor.name!r} is {kind}, but an exported file takes dense numbers only. "
                "Export the part of the model behind it."
            )
        sample = None if arrays is None else _fit(arrays[i], tensor)
        if tensor.shape[0] not in (None, batch_size):
            raise ValueError(
                f"Model {model.name!r} was built for batches of {tensor.shape[0]}, but "
                f"batch_size={batch_size}. Pass batch_size={tensor.shape[0]}, or rebuild the model "
                "with an Input that leaves the batch size open."
            )
        shape = tensor.shape[1:] if sample is None else sample.shape[1:]
        if None in shape:
            raise ValueError(
                f"Input {tensor.name!r} has shape {tuple(tensor.shape)}: an edge runtime plans its "
                "memory ahead, so all but the batch size must be known. Pass `inputs=` samples of "
                "the size to be used on the device, or rebuild the model with a fixed Input shape."
            )
        if sample is None:
            sample = _synthetic(random, (_SYNTHETIC_SAMPLES, *shape), tensor.dtype)
        specs.append(InputSpec(name, (batch_size, *shape), tensor.dtype))
        samples.append(sample)
    _check_rows(names, samples)
    fixed = next((x.shape[0] for x in tensors if x.shape[0] is not None), None)
    return Signature(tuple(specs), structure, tuple(samples), inputs is None, fixed)


def _check_one_argument(model: keras.Model) -> None:
    """Export calls a model as `fit` does: with its inputs as the first argument."""
    more = [
        name
        for name, parameter in list(inspect.signature(model.call).parameters.items())[1:]
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and name != "training"
    ]
    if more:
        raise ValueError(
            f"Model {model.name!r} is called with several arguments, but export passes all "
            f"inputs as the first, as `fit` does. Let `call` take one tuple or dict. Received: "
            f"further arguments {', '.join(more)}"
        )


def _signature_of_samples(inputs: Any, batch_size: int | None) -> Signature:
    structure = inputs if keras.tree.is_nested(inputs) else np.asarray(inputs)
    paths = [path for path, _ in keras.tree.flatten_with_path(structure)]
    names = unique_names(["_".join(["input", *map(str, path)]) for path in paths])
    samples = []
    for name, leaf in zip(names, keras.tree.flatten(structure), strict=True):
        array = np.asarray(leaf)
        if array.ndim == 0 or array.dtype.kind not in "fiub":
            raise ValueError(
                f"inputs must be numeric arrays with one sample per row; {name!r} is "
                f"{array.dtype} with shape {array.shape}. Pass NumPy arrays, or a list, tuple or "
                "dict of them in the way you call the model."
            )
        floating = array.dtype.kind == "f"
        samples.append(array.astype(keras.config.floatx()) if floating else array)
    _check_rows(names, samples)
    specs = tuple(
        InputSpec(name, (batch_size, *x.shape[1:]), str(x.dtype))
        for name, x in zip(names, samples, strict=True)
    )
    return Signature(specs, structure, tuple(samples), synthetic=False)


def _arrange(inputs: Any, structure: Any, names: list[str]) -> list[Any]:
    """One array per input, from an array, a list or a dict of them."""
    if isinstance(inputs, dict):
        keys = list(structure) if isinstance(structure, dict) else names
        if set(inputs) != set(keys):
            raise ValueError(
                f"inputs has the keys {sorted(map(str, inputs))}, but the model takes {keys}."
            )
        return keras.tree.flatten(inputs) if keys is not names else [inputs[n] for n in names]
    if len(names) == 1:
        wrapped = isinstance(inputs, list | tuple) and len(inputs) == 1
        return [inputs[0] if wrapped and hasattr(inputs[0], "shape") else inputs]
    leaves = keras.tree.flatten(inputs)
    if len(leaves) != len(names):
        raise ValueError(
            f"The model has {len(names)} inputs {names}, but `inputs` holds {len(leaves)} arrays. "
            "Pass a list of one array per input, in that order, or a dict by those names."
        )
    return leaves


def _fit(value: Any, tensor: keras.KerasTensor) -> np.ndarray:
    """Casts one user's array to an input, or says why it does not fit."""
    array = np.asarray(value)
    expected = tuple(tensor.shape)
    fits = array.ndim == len(expected) and all(
        want in (None, got) for want, got in zip(expected[1:], array.shape[1:], strict=True)
    )
    if not fits or array.dtype.kind not in "fiub":
        raise ValueError(
            f"Input {tensor.name!r} takes {tensor.dtype} of shape {expected}, but `inputs` gives "
            f"{array.dtype} of shape {array.shape}. Pass samples as rows, as for `model.predict`."
        )
    if array.dtype.kind == "f" and "int" in tensor.dtype and np.any(array != np.trunc(array)):
        raise ValueError(
            f"Input {tensor.name!r} takes {tensor.dtype}, but `inputs` gives fractions. Pass the "
            "integers that the model was trained on."
        )
    return array.astype(tensor.dtype)


def _synthetic(random: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    # Zero is the one index that every vocabulary has.
    return (
        random.standard_normal(shape).astype(dtype) if "float" in dtype else np.zeros(shape, dtype)
    )


def _check_rows(names: Sequence[str], samples: Sequence[np.ndarray]) -> None:
    rows = {name: len(x) for name, x in zip(names, samples, strict=True)}
    if len(set(rows.values())) != 1 or not all(rows.values()):
        raise ValueError(
            "inputs must hold the same number of samples for each input, at least one. "
            f"Received: samples={rows}"
        )
    for name, x in zip(names, samples, strict=True):
        if not np.all(np.isfinite(x)):
            raise ValueError(f"Input {name!r} holds NaN or infinity, on which nothing is verified.")
