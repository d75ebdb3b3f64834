"""The parts of the TFLite flatbuffer schema that say how weights are stored."""

from __future__ import annotations

from typing import Any

import numpy as np

_DTYPES = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8")


def open_model(contents: bytes) -> Any:
    """Parses a file into the schema's `ModelT` object."""
    from tensorflow.lite.tools import flatbuffer_utils

    return flatbuffer_utils.read_model_from_bytearray(bytearray(contents))


def operator_names(file: Any) -> list[str]:
    """The name of each operator code of a model, such as `"CONV_2D"`."""
    from tensorflow.lite.python import schema_py_generated as schema

    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    return [names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in file.operatorCodes]


def stored_values(file: Any, tensor: Any) -> np.ndarray | None:
    """The flat array of values that a file holds for a tensor.

    Args:
        file: The parsed model.
        tensor: One of its tensors.

    Returns:
        All values of a dense constant, those kept of a sparse one; None if the tensor is no
        constant or its elements are not plain numbers.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    data = file.buffers[tensor.buffer].data
    dtypes = {getattr(schema.TensorType, name.upper()): name for name in _DTYPES}
    if tensor.type not in dtypes or (data is None and tensor.sparsity is None):
        return None
    # A wholly pruned weight is stored as no values at all.
    data = np.zeros(0, np.uint8) if data is None else np.asarray(data, np.uint8)
    return data.view(dtypes[tensor.type])


def blocks_of(tensor: Any) -> tuple[int, ...] | None:
    """The block size of a sparse tensor per dimension, all ones if unstructured.

    Args:
        tensor: A tensor of a parsed model.

    Returns:
        The sizes, or None if the tensor is dense.
    """
    if tensor.sparsity is None:
        return None
    rank = len(tensor.shape)
    block = [1] * rank
    mapped = tensor.sparsity.blockMap
    for i, dimension in enumerate([] if mapped is None else mapped):
        block[dimension] = int(tensor.sparsity.dimMetadata[rank + i].denseSize)
    return tuple(block)
