"""What a LiteRT file holds, read from the file itself."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from keras_sparse.deploy.flatbuffer import (
    blocks_of,
    constants,
    dense_values,
    dtype_of,
    open_model,
    operator_names,
    readers_of,
    shape_of,
    stored_bytes,
)
from keras_sparse.messages.arguments import file_path


@dataclass(frozen=True)
class StoredTensor:
    """A constant of a LiteRT file of two or more dimensions: a weight.

    ```python
    import keras
    from keras_sparse import deploy

    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    deploy.to_litert(model, "model.tflite", sparse=False)
    for weight in deploy.inspect("model.tflite").tensors:
        print(weight.name, weight.dtype, weight.encoding, weight.bytes)
    ```

    Args:
        name: Its name in the file.
        shape: Its dense shape in the file's own layout: `(out, in)` for a Dense kernel,
            `(out, height, width, in)` for a convolution's.
        dtype: Its element type.
        quantization: `"none"`, `"per tensor"`, `"per channel"` or `"blockwise"`.
        encoding: `"dense"`, `"sparse unstructured"`, or `"sparse block 1x4"` with the block's size
            in the file's layout.
        nonzeros: How many elements do not stand for zero.
        bytes: What it takes in the file: values and, if sparse, their indices.
        densify: Whether a DENSIFY operation follows, by which most runtimes expand it on loading.
        readers: The operations that read it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    quantization: str
    encoding: str
    nonzeros: int
    bytes: int
    densify: bool
    readers: tuple[str, ...]

    @property
    def size(self) -> int:
        """Elements of the tensor."""
        return int(np.prod(self.shape))

    @property
    def sparsity(self) -> float:
        """Fraction of zeros, from 0 to 1."""
        return 1 - self.nonzeros / self.size if self.size else 0.0


@dataclass(frozen=True)
class LiteRTInspection:
    """The weights, operations and signatures of a LiteRT file. Made by `inspect`.

    ```python
    import keras
    from keras_sparse import deploy

    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    deploy.to_litert(model, "model.tflite", sparse=False)
    found = deploy.inspect("model.tflite")
    print(found.sparsity, found.operations)
    ```

    Args:
        path: The file.
        bytes: Its size.
        tensors: Its weights, in the file's order.
        operations: How many of each operation it has, by their names, such as `"CONV_2D"`.
        signatures: By the name of each signature the names of its inputs and outputs.
    """

    path: str
    bytes: int
    tensors: tuple[StoredTensor, ...]
    operations: dict[str, int]
    signatures: dict[str, dict[str, list[str]]]

    @property
    def size(self) -> int:
        """Elements of all weights."""
        return sum(tensor.size for tensor in self.tensors)

    @property
    def nonzeros(self) -> int:
        """Elements of all weights that do not stand for zero."""
        return sum(tensor.nonzeros for tensor in self.tensors)

    @property
    def sparsity(self) -> float:
        """Fraction of zeros among all weights, from 0 to 1."""
        return 1 - self.nonzeros / self.size if self.size else 0.0

    @property
    def densify_ops(self) -> int:
        """How many DENSIFY operations expand a sparse weight when the file is loaded."""
        return self.operations.get("DENSIFY", 0)

    def to_dict(self) -> dict[str, Any]:
        """The inspection as plain values for `json.dump`."""
        totals = ("size", "nonzeros", "sparsity", "densify_ops")
        rows = [
            dataclasses.asdict(x)
            | {"shape": list(x.shape), "readers": list(x.readers), "sparsity": x.sparsity}
            for x in self.tensors
        ]
        return dataclasses.asdict(self) | {t: getattr(self, t) for t in totals} | {"tensors": rows}

    def print(self, console: Console | None = None) -> None:
        """Prints the table of weights, the operations and the totals.

        Args:
            console: Where to print. Defaults to the standard output.
        """
        console = console or Console()
        table = Table(title=Text(f"Weights in {self.path}"), title_justify="left")
        for name in ("weight", "shape", "type", "stored"):
            table.add_column(name, overflow="fold")
        for name in ("zeros", "bytes"):
            table.add_column(name, justify="right")
        for row in self.tensors:
            kind = row.dtype
            kind += f", {row.quantization}" if row.quantization != "none" else ""
            stored = row.encoding + (", then DENSIFY" if row.densify else "")
            shown = (Text(row.name), "x".join(map(str, row.shape)), kind, stored)
            table.add_row(*shown, f"{row.sparsity:.1%}", f"{row.bytes:,}")
        console.print(table)
        operations = ", ".join(f"{count} {name}" for name, count in self.operations.items())
        console.print(Text(f"Operations: {operations or 'none'}."))
        for name, ends in self.signatures.items():
            said = f"{', '.join(ends['inputs'])} to {', '.join(ends['outputs'])}"
            console.print(Text(f"Signature {name!r}: {said}."))
        console.print(
            Text(
                f"{self.bytes:,} bytes, {sum(x.bytes for x in self.tensors):,} of them weights; "
                f"{self.sparsity:.2%} of {self.size:,} weights are zero; "
                f"{self.densify_ops} DENSIFY operations."
            )
        )


def inspect(path: str | os.PathLike[str]) -> LiteRTInspection:
    """Reads from a LiteRT file how each weight is stored, and which operations it has.

    The file is parsed, not run.

    ```python
    import keras
    from keras_sparse import deploy

    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    deploy.to_litert(model, "model.tflite", sparse=False)
    deploy.inspect("model.tflite").print()
    ```

    Args:
        path: A `.tflite` file, by whatever tool it was written.

    Returns:
        A `LiteRTInspection`.

    Raises:
        ValueError: If it is no LiteRT file, or is damaged.
        OSError: If it cannot be read.

    Source: the schema of LiteRT files, `schema.fbs`.
    """
    contents = read_file(path)
    return inspect_model(open_model(contents, repr(str(path))), str(path), len(contents))


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The contents of a file that a user named.

    Args:
        path: The file.

    Raises:
        OSError: If it cannot be read.
    """
    source = Path(file_path("path", path)).expanduser()
    if not source.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}. Give one written by to_litert.")
    return source.read_bytes()


def inspect_model(file: Any, path: str, size: int) -> LiteRTInspection:
    """What `inspect` does, of a parsed file.

    Args:
        file: What `open_model` returns.
        path: The file's name.
        size: Its bytes.
    """
    names = operator_names(file)
    readers = {id(graph): readers_of(graph, names) for graph in file.subgraphs}
    tensors = tuple(
        _stored(file, tensor, values, readers[id(graph)].get(index, set()))
        for graph, index, tensor, values in constants(file)
        if len(shape_of(tensor)) > 1
    )
    count = Counter(names[op.opcodeIndex] for graph in file.subgraphs for op in graph.operators)
    signatures = {
        definition.signatureKey.decode(): {
            "inputs": [x.name.decode() for x in definition.inputs or []],
            "outputs": [x.name.decode() for x in definition.outputs or []],
        }
        for definition in file.signatureDefs or []
    }
    return LiteRTInspection(path, size, tensors, dict(count.most_common()), signatures)


def _stored(file: Any, tensor: Any, values: np.ndarray, readers: set[str]) -> StoredTensor:
    return StoredTensor(
        name=tensor.name.decode(),
        shape=shape_of(tensor),
        dtype=dtype_of(tensor),
        quantization=_quantization(tensor),
        encoding=_describe(blocks_of(tensor)),
        nonzeros=_count_nonzeros(tensor, values),
        bytes=stored_bytes(file, tensor),
        densify="DENSIFY" in readers,
        readers=tuple(sorted(readers)),
    )


def _describe(block: tuple[int, ...] | None) -> str:
    if block is None:
        return "dense"
    if set(block) == {1}:
        return "sparse unstructured"
    return "sparse block " + "x".join(map(str, block))


def _quantization(tensor: Any) -> str:
    given = tensor.quantization
    if given is None:
        return "none"
    if given.detailsType:  # A union of which the schema has custom and blockwise quantization.
        return "blockwise"
    scales = 0 if given.scale is None else len(given.scale)
    return ("none", "per tensor")[scales] if scales < 2 else "per channel"


def _count_nonzeros(tensor: Any, values: np.ndarray) -> int:
    given = tensor.quantization
    zero = None if given is None else given.zeroPoint
    if zero is None or not np.any(zero):
        return int(np.count_nonzero(values))
    shape = [1] * len(shape_of(tensor))
    if len(zero) > 1:
        shape[given.quantizedDimension] = len(zero)
    return int(np.count_nonzero(dense_values(tensor, values) != np.reshape(zero, shape)))
