"""Export of a Keras model to an ONNX file."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from keras_sparse.deploy.conversion import LiteRTConversionError, trace
from keras_sparse.deploy.inference import check_model, float32_inference
from keras_sparse.deploy.onnx_conversion import ONNXConversionError, convert_to_onnx
from keras_sparse.deploy.signature import Signature, read_signature
from keras_sparse.deploy.verification import (
    in_batches,
    is_informative,
    keras_outputs,
    relative_error,
)
from keras_sparse.messages.arguments import file_path, integer, number, optional
from keras_sparse.messages.extras import check_extra
from keras_sparse.storage.files import check_destination, gzip_bytes, replace_file


class ONNXVerificationError(RuntimeError):
    """An ONNX file does not load in onnxruntime, or does not compute what the Keras model computes.

    The message says what is wrong and the cure; no file was written.

    ```python
    import keras
    from keras_sparse import deploy

    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64), keras.layers.Dense(10)])
    try:
        deploy.to_onnx(model, "model.onnx", tolerance=1e-12)
    except deploy.ONNXVerificationError as error:
        print(error)
    ```
    """


@dataclass(frozen=True)
class ONNXTensor:
    """A weight in an ONNX file.

    ```python
    import keras
    from keras_sparse import deploy

    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64), keras.layers.Dense(10)])
    for row in deploy.to_onnx(model, "model.onnx").tensors:
        print(row.name, row.shape, row.sparsity, row.bytes)
    ```

    Args:
        name: Its name in the file.
        shape: Its shape there, which is not always Keras's.
        dtype: Its type.
        sparsity: The part of it that is zero.
        bytes: What it takes.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    sparsity: float
    bytes: int


@dataclass(frozen=True)
class ONNXReport:
    """Sizes and errors of an exported ONNX file.

    ```python
    import keras
    from keras_sparse import deploy

    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64), keras.layers.Dense(10)])
    report = deploy.to_onnx(model, "model.onnx")
    print(report.bytes, report.gzip_bytes, report.max_error)
    ```

    Args:
        path: The file.
        bytes: Its size. ONNX stores zeros like any weight.
        gzip_bytes: Its size after gzip at level 9, which zeros make smaller.
        tensors: Its weights of two dimensions and more.
        opset: The version of ONNX's operations.
        batch_size: The batch size fixed in the file, or None if it may vary.
        max_error: The error against Keras, relative to the outputs' scale.
        tolerance: The error that would have been accepted.
        samples: The number of samples the file was verified on.
        synthetic: Whether those were random numbers rather than the user's data.
        informative: Whether Keras's outputs on them differ from one another at all.
        runtime: The name and version of the runtime that the file was verified with.
    """

    path: str
    bytes: int
    gzip_bytes: int
    tensors: tuple[ONNXTensor, ...]
    opset: int
    batch_size: int | None
    max_error: float
    tolerance: float
    samples: int
    synthetic: bool
    informative: bool
    runtime: str

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values for `json.dump`."""
        rows = [dataclasses.asdict(row) | {"shape": list(row.shape)} for row in self.tensors]
        return dataclasses.asdict(self) | {"tensors": rows}

    def print(self, console: Console | None = None) -> None:
        """Prints the table of weights and a summary.

        Args:
            console: Where to print. Defaults to the standard output.
        """
        console = console or Console()
        table = Table(title=Text(f"Weights in {self.path}"), title_justify="left")
        table.add_column("weight", overflow="fold")
        table.add_column("shape")
        for name in ("zeros", "bytes"):
            table.add_column(name, justify="right")
        for row in self.tensors:
            shape = "x".join(map(str, row.shape))
            table.add_row(Text(row.name), shape, f"{row.sparsity:.1%}", f"{row.bytes:,}")
        rest = self.bytes - sum(row.bytes for row in self.tensors)
        table.add_section()
        table.add_row("graph, biases, names", "", "", f"{rest:,}")
        table.add_row("file", "", "", f"{self.bytes:,}")
        console.print(table)
        kind = "synthetic" if self.synthetic else "given"
        lines = [
            f"{self.bytes:,} bytes ({self.gzip_bytes:,} gzip), opset {self.opset}. Equal to Keras "
            f"on {self.samples} {kind} samples within {self.max_error:.1e} (tolerance "
            f"{self.tolerance:g}, {self.runtime})."
        ]
        if not self.informative:
            lines.append(
                "All outputs on these samples are the same number, so that this says little."
            )
        if self.synthetic:
            lines.append("Pass `inputs=` real samples to verify the file on what it will meet.")
        for line in lines:
            console.print(Text(line))


def to_onnx(
    model: keras.Model,
    path: str | os.PathLike[str],
    inputs: Any = None,
    tolerance: float = 1e-4,
    batch_size: int | None = None,
    opset: int | None = None,
) -> ONNXReport:
    """Writes a model to an ONNX file, and proves it correct.

    The file is loaded in onnxruntime and its outputs are compared with Keras's; only then is it put
    at `path`, in one step. ONNX has no sparse storage that runtimes compute with: zeros are stored
    like any weight, and the file becomes smaller when it is compressed, as it is on the way through
    a network. What Keras's own ONNX export gets wrong is mended on the way: constants of a layer
    such as `Normalization`, grouped convolutions and the exact GELU, for which `model.export`
    writes files of EfficientNet and ConvNeXt that onnxruntime refuses.

    ```python
    import keras
    from keras_sparse import deploy

    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64), keras.layers.Dense(10)])
    deploy.to_onnx(model, "model.onnx").print()
    ```

    Args:
        model: A built Keras model: Sequential, functional, or subclassed.
        path: The file to write, ending in `.onnx`. An existing file is replaced.
        inputs: Samples to verify the file on, as for `deploy.to_litert`.
        tolerance: The largest error to accept: for each output, the largest absolute difference
            to Keras over all samples, divided by the largest absolute value of that output.
        batch_size: The batch size fixed in the file. Defaults to one that is left open.
        opset: The version of ONNX's operations. Defaults to what tf2onnx takes.

    Returns:
        The sizes, the error, and the weights.

    Raises:
        ValueError: If an argument is wrong, or the model is not built, stateful, or of another
            type than float32; or if Keras does not run on TensorFlow.
        OSError: If `path` cannot be written.
        MissingExtraError: If the extra `onnx` is not installed.
        ONNXConversionError: If the model holds what ONNX does not have.
        ONNXVerificationError: If the file does not run, or differs from Keras.
    """
    destination = check_destination(file_path("path", path), ".onnx")
    check_model(model, "ONNX")
    number("tolerance", tolerance, "(0, inf)")
    optional(integer, "batch_size", batch_size, cure="Or give None to leave it open.")
    optional(integer, "opset", opset)
    check_extra("onnx", "onnx", "onnxruntime", "tf2onnx")
    import onnx
    import onnxruntime

    signature = read_signature(model, inputs, batch_size)
    with float32_inference(model):
        expected = keras_outputs(model, signature)
        try:
            traced = trace(model, signature)
        except LiteRTConversionError as error:
            raise ONNXConversionError(str(error)) from error
        contents = convert_to_onnx(traced, signature, opset)
    largest = _verified(contents, signature, traced.outputs, expected, batch_size, tolerance)
    made = onnx.load_from_string(contents)
    replace_file(destination, contents)
    return ONNXReport(
        path=os.fspath(destination),
        bytes=len(contents),
        gzip_bytes=gzip_bytes(contents),
        tensors=_weights(made),
        opset=next(x.version for x in made.opset_import if x.domain in ("", "ai.onnx")),
        batch_size=batch_size,
        max_error=largest,
        tolerance=float(tolerance),
        samples=len(signature.samples[0]),
        synthetic=signature.synthetic,
        informative=is_informative(expected, tolerance),
        runtime=f"onnxruntime {onnxruntime.__version__}",
    )


def _verified(
    contents: bytes,
    signature: Signature,
    outputs: tuple[str, ...],
    expected: list[np.ndarray],
    batch_size: int | None,
    tolerance: float,
) -> float:
    """The largest error of a file, which is refused if that is above the tolerance."""
    import onnxruntime

    names = [spec.name for spec in signature.inputs]
    worst, at = 0.0, outputs[0]
    try:
        session = onnxruntime.InferenceSession(contents, providers=["CPUExecutionProvider"])
        # With an open batch size several at once, and one.
        for size in [batch_size] if batch_size else {1, len(signature.samples[0])}:
            got = in_batches(
                lambda batch: session.run(list(outputs), dict(zip(names, batch, strict=True))),
                signature.samples,
                size,
            )
            for name, result, wanted in zip(outputs, got, expected, strict=True):
                error = relative_error(result, wanted)
                worst, at = (error, name) if error > worst else (worst, at)
    except Exception as error:  # onnxruntime's own derive from Exception alone.
        raise ONNXVerificationError(
            f"onnxruntime does not run the converted file: {error}. No file was written. Give a "
            "batch_size if the model was built for one, or another opset."
        ) from error
    if not worst <= tolerance:
        raise ONNXVerificationError(
            f"The converted file computes something else than Keras: output {at!r} is off by "
            f"{worst:.3g} of the output's scale, but tolerance={tolerance:g}. No file was written. "
            "Pass `inputs=` a few real samples if these were random numbers, or look for a layer "
            "that draws random numbers or keeps a state. Raise `tolerance` only if the application "
            "bears that error."
        )
    return worst


def _weights(made: Any) -> tuple[ONNXTensor, ...]:
    from onnx.numpy_helper import to_array

    rows = []
    for each in made.graph.initializer:
        value = to_array(each)
        if value.ndim > 1:
            zeros = float(np.mean(value == 0)) if value.size else 0.0
            rows.append(
                ONNXTensor(each.name, value.shape, str(value.dtype), zeros, int(value.nbytes))
            )
    return tuple(sorted(rows, key=lambda row: -row.bytes))
