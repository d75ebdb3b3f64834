"""LiteRT files as objects, by the schema and the tools that ship with LiteRT."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

_IDENTIFIER = b"TFL3"
# The types that NumPy has under the schema's names; int4 is unpacked to int8.
_DTYPES = (
    *("bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64"),
)
# What parsing a damaged file raises: flatbuffers reads where offsets point to.
_DAMAGED = (struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError)


def open_model(contents: bytes, name: str = "The file") -> Any:
    """Parses a file into the schema's `ModelT` object.

    Args:
        contents: The file.
        name: What errors call it.

    Raises:
        ValueError: If it is no LiteRT file, or is damaged.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    if contents[4:8] != _IDENTIFIER:
        raise ValueError(
            f"{name} is no LiteRT file: bytes 4 to 8 are {contents[4:8]!r}, not {_IDENTIFIER!r}. "
            "Write one with `keras_sparse.deploy.to_litert(model, 'model.tflite')`."
        )
    try:
        file = flatbuffer_utils.read_model_from_bytearray(bytearray(contents))
        _check_whole(file)
    except _DAMAGED as error:
        raise ValueError(
            f"{name} is a damaged LiteRT file, perhaps cut off: it ends after {len(contents):,} "
            "bytes, before what it refers to. Copy or export it again."
        ) from error
    return file


def pack_model(file: Any) -> bytes:
    """The bytes of a model that was parsed and changed."""
    import flatbuffers
    from ai_edge_litert.tools import flatbuffer_utils

    class AlignedBuilder(flatbuffers.Builder):
        def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:
            # The generated Python code forgets the schema's force_align:16 on buffers, without
            # which a device may not read weights in place.
            return super().StartVector(elemSize, numElems, 16 if elemSize == 1 else alignment)

    builder = AlignedBuilder(1024)
    identifier = flatbuffer_utils._TFLITE_FILE_IDENTIFIER
    builder.Finish(file.Pack(builder), file_identifier=identifier)
    return bytes(builder.Output())


def _check_whole(file: Any) -> None:
    """Refuses a file whose parts refer to what is not there."""
    for graph in file.subgraphs:
        for op in graph.operators:
            file.operatorCodes[op.opcodeIndex]
            for index in (*op.inputs, *op.outputs):
                if index >= 0:  # An optional operand that is left out is -1.
                    graph.tensors[index]
        for tensor in graph.tensors:
            data = file.buffers[tensor.buffer].data
            dtype = dtype_of(tensor)
            if data is None or dtype not in _DTYPES or tensor.sparsity is not None:
                continue
            if len(data) != np.prod(shape_of(tensor), dtype=np.int64) * np.dtype(dtype).itemsize:
                raise ValueError(f"{tensor.name} is not whole")


def dtype_of(tensor: Any) -> str:
    """The name of a tensor's element type, such as `"float32"`."""
    from ai_edge_litert.tools import flatbuffer_utils

    return flatbuffer_utils.type_to_name(tensor.type).lower()


def shape_of(tensor: Any) -> tuple[int, ...]:
    """A tensor's dense shape, empty for a scalar."""
    return () if tensor.shape is None else tuple(int(n) for n in tensor.shape)


def operator_names(file: Any) -> list[str]:
    """The name of each operator code of a model, such as `"CONV_2D"`."""
    from ai_edge_litert.tools import flatbuffer_utils

    codes = range(len(file.operatorCodes))
    return [flatbuffer_utils.opcode_to_name(file, code) or "UNKNOWN" for code in codes]


def readers_of(graph: Any, names: list[str]) -> dict[int, set[str]]:
    """The names of the operations that read each tensor of a subgraph."""
    readers: dict[int, set[str]] = {}
    for op in graph.operators:
        for index in op.inputs:
            readers.setdefault(int(index), set()).add(names[op.opcodeIndex])
    return readers


def constants(file: Any, once: bool = True) -> Iterator[tuple[Any, int, Any, np.ndarray]]:
    """The constants of a model.

    Args:
        file: The parsed model.
        once: Whether what several tensors share is given once.

    Yields:
        The subgraph, the tensor's index in it, the tensor, and the values that are stored for it.
    """
    seen: set[int] = set()
    for graph in file.subgraphs:
        for index, tensor in enumerate(graph.tensors):
            values = stored_values(file, tensor)
            if values is None or tensor.buffer in seen:
                continue
            if once and tensor.buffer:  # All that is empty is the buffer 0.
                seen.add(tensor.buffer)
            yield graph, index, tensor, values


def stored_values(file: Any, tensor: Any) -> np.ndarray | None:
    """The flat array of values that a file holds for a tensor.

    Args:
        file: The parsed model.
        tensor: One of its tensors.

    Returns:
        All values of a dense constant, those kept of a sparse one; None if the tensor is no
        constant or its elements are not plain numbers.
    """
    data, dtype = file.buffers[tensor.buffer].data, dtype_of(tensor)
    if data is None and tensor.sparsity is None:
        return None
    # A wholly pruned weight is stored as no values at all.
    data = np.zeros(0, np.uint8) if data is None else np.asarray(data, np.uint8)
    if dtype == "int4":
        size = int(np.prod(shape_of(tensor)))
        nibbles = np.stack([data & 15, data >> 4], axis=1).ravel()[:size].astype(np.int8)
        return np.where(nibbles > 7, nibbles - 16, nibbles).astype(np.int8)
    return data.view(dtype) if dtype in _DTYPES else None


def stored_bytes(file: Any, tensor: Any) -> int:
    """The bytes of a constant: its values and, if it is sparse, their indices."""
    data = file.buffers[tensor.buffer].data
    size = 0 if data is None else len(data)
    if tensor.sparsity is None:
        return size
    vectors = [v for d in tensor.sparsity.dimMetadata for v in (d.arraySegments, d.arrayIndices)]
    return size + sum(np.asarray(v.values).nbytes for v in vectors if v is not None)


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


def dense_values(tensor: Any, values: np.ndarray) -> np.ndarray:
    """A constant in its dense shape.

    LiteRT's own format converter takes the metadata of a sparse tensor from C++ only.

    Args:
        tensor: The tensor.
        values: Those that are stored, in an encoding of the converter's, whose last dimension
            alone is compressed.
    """
    shape, block = shape_of(tensor), blocks_of(tensor)
    if block is None:
        return values.reshape(shape)
    compressed = tensor.sparsity.dimMetadata[len(shape) - 1]
    starts = np.asarray(compressed.arraySegments.values, np.int64)
    row = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    column = np.asarray(compressed.arrayIndices.values, np.int64) * block[-1]
    dense = np.zeros((int(np.prod(shape[:-1])), shape[-1]), values.dtype)
    dense[row[:, None], column[:, None] + np.arange(block[-1])] = values.reshape(-1, block[-1])
    return dense.reshape(shape)
