"""How each weight of a LiteRT file is stored, read from the file itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from keras_sparse.deploy.flatbuffer import constants, dense_values, open_model, shape_of
from keras_sparse.deploy.inspection import inspect_model
from keras_sparse.probe.runtime.verdicts import MIN_STORED

# Those whose weights the converter may encode (SparseOpInterface in its tfl_ops.td).
_SPARSE_READERS = {"FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"}


@dataclass(frozen=True)
class TensorEncoding:
    """How one weight tensor is stored in a LiteRT file.

    ```python
    import keras
    from keras_sparse import deploy

    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    report = deploy.to_litert(model, "model.tflite", sparse=False)
    for row in report.tensors:
        print(row.variable, row.encoding, row.bytes)
    ```

    Args:
        tensor: The tensor's name in the file.
        variable: The path of the Keras variable it came from, or `""` where none has these values
            (a constant, or a weight that the converter computed).
        shape: Its dense shape in the file's own layout: `(out, in)` for a Dense kernel,
            `(out, height, width, in)` for a convolution's.
        dtype: Its element type.
        nonzeros: How many elements differ from zero.
        sparsity: The fraction of zeros, from 0 to 1.
        encoding: `"dense"`, `"sparse unstructured"`, or `"sparse block 1x4"` with the block's size
            in the file's layout.
        bytes: What it takes in the file: values and, if sparse, their indices.
        densify: Whether a DENSIFY operation follows, by which most runtimes expand it on loading,
            so that it saves storage but neither memory nor time.
        note: Why it is dense although zeros were to be left out, or `""`.
    """

    tensor: str
    variable: str
    shape: tuple[int, ...]
    dtype: str
    nonzeros: int
    sparsity: float
    encoding: str
    bytes: int
    densify: bool
    note: str


def read_encodings(
    contents: bytes,
    sparse: bool,
    weights: Mapping[str, np.ndarray],
    notes: Mapping[str, str],
) -> tuple[tuple[TensorEncoding, ...], int]:
    """Lists the weights in a file, which are its constants of two or more dimensions.

    Args:
        contents: The file.
        sparse: Whether a sparse encoding was asked for.
        weights: The Keras variables by path, to recognize the tensors by their values.
        notes: What is known of tensors by name beforehand.

    Returns:
        One entry per tensor in the file's order, and the number of DENSIFY operations.
    """
    file = open_model(contents)
    inspected = inspect_model(file, "", len(contents))
    dense = [
        dense_values(tensor, values)
        for _, _, tensor, values in constants(file)
        if len(shape_of(tensor)) > 1
    ]
    unused = dict(weights)
    rows = []
    for stored, values in zip(inspected.tensors, dense, strict=True):
        note = notes.get(stored.name, "")
        if stored.encoding == "dense" and not note:
            note = _why_dense(sparse, stored.sparsity, set(stored.readers))
        rows.append(
            TensorEncoding(
                tensor=stored.name,
                variable=recognize(values, unused),
                shape=stored.shape,
                dtype=stored.dtype,
                nonzeros=stored.nonzeros,
                sparsity=stored.sparsity,
                encoding=stored.encoding,
                bytes=stored.bytes,
                densify=stored.densify,
                note=note,
            )
        )
    return tuple(rows), inspected.densify_ops


def _why_dense(sparse: bool, zeros: float, readers: set[str]) -> str:
    if not sparse:
        return "exported with sparse=False" if zeros >= MIN_STORED else ""
    if not readers & _SPARSE_READERS:
        return f"{', '.join(sorted(readers)) or 'nothing'} reads dense weights only"
    if zeros < MIN_STORED:
        return f"fewer than {MIN_STORED:.0%} zeros"
    return "the converter kept it dense"


def recognize(tensor: np.ndarray, unused: dict[str, np.ndarray]) -> str:
    """Finds the variable that a tensor holds, up to a factor per output channel, by which a folded
    batch normalization differs.

    Args:
        tensor: A weight in the file's layout.
        unused: Keras variables by path, from which the one that is found is taken out.

    Returns:
        The path, or `""` where none has these values.
    """
    layouts = [tensor, np.moveaxis(tensor, 0, -1)]
    if tensor.ndim == 4:  # A transposed convolution's kernel is (height, width, out, in) in Keras.
        layouts.append(tensor.transpose(1, 2, 0, 3))
    candidates = [path for path, weight in unused.items() if weight.size == tensor.size]
    for same in (_equal, _proportional):
        for path in candidates:
            if any(same(layout, unused[path]) for layout in layouts):
                del unused[path]
                return path
    return ""


def _equal(tensor: np.ndarray, weight: np.ndarray) -> bool:
    return np.array_equal(tensor.ravel(), weight.ravel())


def _proportional(tensor: np.ndarray, weight: np.ndarray) -> bool:
    channels = tensor.shape[-1]
    got, wanted = (x.reshape(-1, channels).astype(np.float64) for x in (tensor, weight))
    if len(got) == 1:  # Single numbers are proportional to anything.
        return False
    norm = np.sum(wanted * wanted, axis=0)
    factor = np.sum(got * wanted, axis=0) / np.where(norm > 0, norm, 1.0)
    return np.allclose(got, wanted * factor, rtol=1e-4, atol=1e-6 * np.max(np.abs(got), initial=0))
