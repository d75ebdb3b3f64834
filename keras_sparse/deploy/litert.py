"""Export of a Keras model to a LiteRT (TensorFlow Lite) file."""

from __future__ import annotations

import os
import warnings
from importlib.metadata import version
from typing import Any

import keras
import numpy as np

from keras_sparse.deploy.causes import disagreement
from keras_sparse.deploy.conversion import FORMATS, convert, trace
from keras_sparse.deploy.eligibility import file_eligibility
from keras_sparse.deploy.encoding import read_encodings
from keras_sparse.deploy.inference import check_model, float32_inference
from keras_sparse.deploy.quantizing import check_quantizer, kernels_cure, why_not_encoded
from keras_sparse.deploy.repair import restore_truncated
from keras_sparse.deploy.report import LiteRTReport
from keras_sparse.deploy.signature import Signature, read_signature
from keras_sparse.deploy.verification import (
    KERNELS,
    LiteRTVerificationError,
    Verified,
    is_informative,
    keras_outputs,
    verify,
)
from keras_sparse.messages.arguments import (
    boolean,
    file_path,
    integer,
    number,
    one_of,
    optional,
)
from keras_sparse.messages.warning import SparsityWarning
from keras_sparse.probe.variables import places
from keras_sparse.storage.files import check_destination, gzip_bytes, replace_file


def to_litert(
    model: keras.Model,
    path: str | os.PathLike[str],
    sparse: bool = True,
    inputs: Any = None,
    tolerance: float | None = None,
    batch_size: int | None = 1,
    quantize: str | None = None,
    representative_data: Any = None,
    kernels: str = "all",
) -> LiteRTReport:
    """Writes a model to a LiteRT file that leaves pruned weights out, and proves it correct.

    The model is converted twice, dense and sparse, so that the sizes can be compared. The file is
    run under LiteRT's default delegates (XNNPACK), under its built-in kernels, and by LiteRT 2's
    `CompiledModel` in each kernel mode, and its outputs are compared with Keras's; only then is it
    put at `path`, in one step, so that whatever was there before survives a failure. What
    `CompiledModel` does not run, such as some files with an open batch size, is no failure:
    `report.not_run` says it. The model itself is left as it was.

    A weight is stored sparse if it has at least 30 % zeros and belongs to a Dense, EinsumDense,
    recurrent, 1-D or 2-D convolution layer. Dense kernels pruned in blocks of (4, 1) are computed
    with as they are stored. All others are followed by a DENSIFY operation, by which most runtimes
    expand them on loading: the file is smaller, but memory and time stay the same.

    Sparse encoding of int8 weights is for `kernels="built-in"`: XNNPACK refuses to load such a file
    or computes wrong numbers from it, which is found by running it. With `kernels="all"` the file
    is then stored dense in the same format, and `report.replaced` says why. With
    `quantize="weight_only_int8"` single zeros are left out under XNNPACK too. Weights of four bits
    have no sparse encoding; blocks of them are for `kernels="xnnpack"`.

    Without `quantize` computation is in float32, also for a `mixed_float16` model, whose weights
    are float32; its outputs are then float32 and are compared with the same model computing in
    float32.

    ```python
    import keras
    import numpy as np
    from keras_sparse import deploy

    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64), keras.layers.Dense(10)])
    for layer in model.layers:
        kernel = layer.kernel.numpy()
        layer.kernel.assign(np.where(np.abs(kernel) < np.quantile(np.abs(kernel), 0.9), 0, kernel))
    report = deploy.to_litert(model, "model.tflite", inputs=np.random.rand(16, 64))
    report.print()
    ```

    Args:
        model: A built Keras model: Sequential, functional, or subclassed.
        path: The file to write, ending in `.tflite`. An existing file is replaced.
        sparse: Whether to store pruned weights in a sparse encoding. False writes the dense file.
        inputs: Samples to verify the file on, as for `model.predict`: an array of shape
            `(samples, ...)`, or a list, tuple or dict of them. A few dozen real samples are
            enough. They also fix the dimensions that the model leaves open, and are needed for
            a subclassed model. Defaults to 8 synthetic samples: standard normal for floating
            inputs, zeros for integer ones.
        tolerance: The largest error to accept: for each output, the largest absolute difference
            to Keras over all samples, divided by the largest absolute value of that output.
            Defaults to 1e-4, and for the formats of `quantize` to 0.01 (float16), 0.2 (int8), 0.1
            (others of eight bits) and 0.3 (four bits).
        batch_size: The batch size fixed in the file. With the default, 1, an edge runtime plans
            its memory ahead and delegates the whole graph. None leaves it open, so that an
            application can resize the input; recurrent layers then need `unroll=True`.
        quantize: What weights are stored as: `"float16"`; `"dynamic"`, int8 with activations
            quantized as they come; or `"int8"`, where activations are int8 too, while inputs and
            outputs stay floats. With keras-sparse[quantizer] also `"weight_only_int8"` and
            `"weight_only_int4"`, which compute in float32; `"dynamic_int4"`; and
            `"dynamic_int4_blocks"`, with a scale for each 32 weights of a Dense kernel. Defaults to
            float32. Zeros stay zeros.
        representative_data: For `"int8"` samples like `inputs`, some hundred real ones, by which
            activations are scaled. Defaults to `inputs`.
        kernels: `"all"` if the file is to run with and without XNNPACK, `"built-in"` if the
            application turns XNNPACK off (`BUILTIN_WITHOUT_DEFAULT_DELEGATES`, or the kernel mode
            `BUILTIN` of `CompiledModel`), `"xnnpack"` if it leaves XNNPACK on.

    Returns:
        A `LiteRTReport` with the sizes, the errors, and how each weight is stored.

    Raises:
        ValueError: If an argument is wrong, or the model is not built, stateful, or of another
            type than float32; or if Keras does not run on TensorFlow.
        MissingExtraError: If a format needs keras-sparse[quantizer], which is not installed.
        OSError: If `path` cannot be written.
        LiteRTConversionError: If the model holds what LiteRT does not have: operations without a
            kernel, Python code, random numbers, layers that `model.quantize` changed.
        LiteRTVerificationError: If the file does not run, or differs from Keras.

    Warns:
        SparsityWarning: If no weight could be stored sparse, doing so saved nothing, or the
            model's outputs on the samples are constant, so that nothing was verified.

    Source: the converter's `EXPERIMENTAL_SPARSITY` and its `dense_to_sparse_pass.cc`.
    """
    destination = check_destination(file_path("path", path), ".tflite")
    check_model(model)
    boolean("sparse", sparse)
    if quantize is not None:
        one_of("quantize", quantize, [name for name in FORMATS if name])
    check_quantizer(quantize)
    one_of("kernels", kernels, KERNELS)
    optional(number, "tolerance", tolerance, "(0, inf)", "The default depends on the format.")
    tolerance = FORMATS[quantize] if tolerance is None else tolerance
    optional(integer, "batch_size", batch_size, cure="Or give None to leave it open.")
    signature = read_signature(model, inputs, batch_size)
    samples = _calibration(model, representative_data, signature, batch_size, quantize)
    with float32_inference(model):
        # First, so that what cannot run at all says so itself, and is not taken for untraceable.
        expected = keras_outputs(model, signature)
        traced = trace(model, signature)
    dense = convert(traced, False, quantize, samples)
    contents, notes, replaced = dense, dict[str, str](), ""
    if sparse and (why := why_not_encoded(quantize)):
        replaced = f"{why}."
    if sparse and not replaced:
        contents, notes = restore_truncated(convert(traced, True, quantize, samples), dense)

    def verified(contents: bytes) -> Verified:
        return verify(
            contents,
            signature,
            traced.outputs,
            expected,
            batch_size,
            tolerance,
            why=lambda: kernels_cure(quantize) or disagreement(model, signature, tolerance),
            kernels=KERNELS[kernels],
        )

    try:
        found = verified(contents)
    except LiteRTVerificationError as error:
        if not sparse or replaced or quantize is None:
            raise
        found = verified(dense)
        contents, notes, replaced = dense, {}, str(error).partition(" No file was written.")[0]
    place = places(model)
    matrices = [(v, place[id(v)].path) for v in model.weights if len(v.shape) > 1]
    # Keras's own path, but where several variables share it.
    weights = {v.path if v.path.endswith(path) else path: v.numpy() for v, path in matrices}
    stored_sparse = sparse and not replaced
    tensors, densify_ops = read_encodings(contents, stored_sparse, weights, notes)
    replace_file(destination, contents)
    report = LiteRTReport(
        path=str(destination),
        bytes=len(contents),
        gzip_bytes=gzip_bytes(contents),
        dense_bytes=len(dense),
        dense_gzip_bytes=gzip_bytes(dense),
        ratio=len(dense) / len(contents),
        sparse=sparse,
        replaced=replaced,
        quantize=quantize,
        kernels=kernels,
        batch_size=batch_size,
        max_error=found.errors,
        not_run=found.not_run,
        tolerance=float(tolerance),
        samples=len(signature.samples[0]),
        synthetic=signature.synthetic,
        informative=is_informative(expected, tolerance),
        tensors=tensors,
        densify_ops=densify_ops,
        eligibility=file_eligibility(contents, str(destination)),
        runtime=_runtime(),
    )
    if not report.informative:
        warnings.warn(
            "On the samples that the file was verified with, all outputs of the model are the same "
            "number, so that the file agrees says little. Pass `inputs=` several real samples; if "
            "that changes nothing, look for a layer that was pruned away.",
            SparsityWarning,
            stacklevel=2,
        )
    if replaced:
        other = "" if why_not_encoded(quantize) else "kernels='built-in' if XNNPACK is off, or "
        warnings.warn(
            f"{report.path} is stored dense: {replaced} Pass {other}sparse=False.",
            SparsityWarning,
            stacklevel=2,
        )
    elif sparse:
        _warn_if_nothing_saved(report)
    return report


def _calibration(
    model: keras.Model,
    data: Any,
    signature: Signature,
    batch_size: int | None,
    quantize: str | None,
) -> tuple[np.ndarray, ...]:
    """The samples by which activations are scaled."""
    if data is None:
        if quantize == "int8" and signature.synthetic:
            raise ValueError(
                "quantize='int8' scales activations by samples: pass representative_data= some "
                "hundred real ones, or inputs=."
            )
        return signature.samples
    if quantize != "int8":
        raise ValueError(
            "representative_data is for quantize='int8' alone. Received: "
            f"quantize={quantize!r}. Leave it out, or pass quantize='int8'."
        )
    try:
        return read_signature(model, data, batch_size).samples
    except ValueError as error:
        raise ValueError(f"representative_data does not fit the model. {error}") from error


def _warn_if_nothing_saved(report: LiteRTReport) -> None:
    if all(row.encoding == "dense" for row in report.tensors):
        zeros = max((row.sparsity for row in report.tensors if row.variable), default=0.0)
        warnings.warn(
            f"{report.path} is a dense file: sparse=True was asked for, but none of the "
            f"{len(report.tensors)} weights could be stored sparse (the sparsest has {zeros:.0%} "
            "zeros; `report.tensors` says why for each). Prune the model before exporting it, or "
            "pass sparse=False.",
            SparsityWarning,
            stacklevel=3,
        )
    elif report.bytes >= report.dense_bytes:
        warnings.warn(
            f"{report.path} has {report.bytes:,} bytes, but {report.dense_bytes:,} if dense: the "
            "indices of its nonzero weights take more than the zeros did. Prune further, or pass "
            "sparse=False.",
            SparsityWarning,
            stacklevel=3,
        )


def _runtime() -> str:
    import tensorflow as tf

    return f"tensorflow.lite {tf.__version__}, ai-edge-litert {version('ai-edge-litert')}"
