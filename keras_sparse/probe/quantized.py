"""Kernels that Keras has quantized: as many weights as they stand for, and which are zero."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.probe.nonzeros import count_nonzero

_PACKED = ("int4", "gptq", "awq")


def logical_shape(layer: keras.layers.Layer, variable: Any) -> tuple[int, ...]:
    """The shape of a weight as its layer computes with it.

    Keras packs two weights of 4 bits into a byte, and lays out some quantized kernels otherwise
    than the kernels that they stand for.

    Args:
        layer: The layer that owns the weight.
        variable: One of its variables.
    """
    if not _is_packed(layer, variable):
        return tuple(variable.shape)
    known = ("original_kernel_shape", "kernel_shape")
    given = next((getattr(layer, name) for name in known if hasattr(layer, name)), None)
    if given is not None:
        return tuple(given)
    columns = getattr(layer, "_orig_output_dim", None) or variable.shape[-1]
    rows = getattr(layer, "_orig_input_dim", None) or variable.shape[0]
    return (rows, columns)


def count_nonzeros(layer: keras.layers.Layer, variable: Any) -> int:
    """The weights of a tensor that are not exactly zero, where it is quantized too.

    Args:
        layer: The layer that owns the weight.
        variable: One of its variables.
    """
    if not _is_packed(layer, variable):
        return count_nonzero(variable)
    values = ops.convert_to_numpy(variable)
    transposed = layer.quantization_mode != "int4"  # gptq and awq keep (outputs, inputs)
    columns, rows = _matrix(layer, variable)
    wanted = (columns, rows) if transposed else (rows, columns)
    for axis in (0, 1):
        # Packed along the outputs, and by older versions of Keras along the inputs.
        if values.shape[axis] == wanted[axis] or values.shape[axis] != -(-wanted[axis] // 2):
            continue
        values = ops.convert_to_numpy(
            keras.quantizers.unpack_int4(
                ops.convert_to_tensor(values), wanted[axis], axis=axis, dtype=str(values.dtype)
            )
        )
        break
    zero = getattr(layer, "kernel_zero", None)
    if zero is None:
        return int(np.count_nonzero(values))
    group = ops.convert_to_numpy(layer.g_idx).astype(int)
    at = np.take(ops.convert_to_numpy(zero), group, axis=1 if transposed else 0)
    return int(np.count_nonzero(values.astype(int) != at.astype(int)))


def _is_packed(layer: keras.layers.Layer, variable: Any) -> bool:
    mode = getattr(layer, "quantization_mode", None)
    return mode in _PACKED and "int" in variable.dtype and variable.name in ("kernel", "embeddings")


def _matrix(layer: keras.layers.Layer, variable: Any) -> tuple[int, int]:
    """Columns and rows of a kernel as a matrix of its outputs and inputs."""
    shape, mode = logical_shape(layer, variable), layer.quantization_mode
    known = "_int4" if mode == "int4" else mode
    columns = getattr(layer, f"{known}_unpacked_column_size", shape[-1])
    return columns, int(np.prod(shape)) // columns
