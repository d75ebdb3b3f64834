"""Whether a LiteRT file computes what the Keras model computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_sparse.deploy.compiled_model import KERNEL_MODES, run_compiled
from keras_sparse.deploy.interpreter import interpreting
from keras_sparse.deploy.signature import Signature

# By the name in reports: how LiteRT is told which kernels to use (`tf.lite.experimental`).
INTERPRETERS = {
    "default delegates": "AUTO",
    "built-in kernels": "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
}
# LiteRT 2's way, by the name in reports.
COMPILED = {f"CompiledModel {mode}": mode for mode in KERNEL_MODES}
# What a file is offered for.
KERNELS = {
    "all": (*INTERPRETERS, *COMPILED),
    "built-in": ("built-in kernels", "CompiledModel BUILTIN", "CompiledModel REFERENCE"),
    "xnnpack": ("default delegates", "CompiledModel DELEGATE"),
}
# How many samples a `CompiledModel` is given: plain loops are slow.
_FEW = 4
_KERAS_BATCH = 32


class LiteRTVerificationError(RuntimeError):
    """A converted file does not load, or does not compute what the Keras model computes.

    The message names the interpreter, the error and the cure; no file was written.

    ```python
    import keras
    from keras_sparse import deploy

    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, activation="gelu")])
    try:
        deploy.to_litert(model, "model.tflite", sparse=False, tolerance=1e-12)
    except deploy.LiteRTVerificationError as error:
        print(error)
    ```
    """


class Verified(NamedTuple):
    """What came of running a file, by the names of `INTERPRETERS` and `COMPILED`.

    Args:
        errors: The errors against Keras.
        not_run: Why a `CompiledModel` does not run it.
    """

    errors: dict[str, float]
    not_run: dict[str, str]


def keras_outputs(
    model: keras.Model, signature: Signature, batch: int = _KERAS_BATCH
) -> list[np.ndarray]:
    """Runs the Keras model on a signature's samples.

    Args:
        model: The model.
        signature: Its inputs and samples.
        batch: How many samples to give it at once, if it takes any number.

    Returns:
        One array per output, with one row per sample.

    Raises:
        ValueError: If an output is no numbers, has not one row per sample, or is not finite.
    """

    def run(batch: Sequence[np.ndarray]) -> list[np.ndarray]:
        tensors = [keras.ops.convert_to_tensor(x) for x in batch]
        outputs = keras.tree.flatten(model(signature.nest(tensors), training=False))
        for i, output in enumerate(outputs):
            if not keras.ops.is_tensor(output) or output.dtype == "string":
                kind = "string" if keras.ops.is_tensor(output) else type(output).__name__
                raise ValueError(
                    f"Output {i} of model {model.name!r} is of type {kind}, but an exported "
                    "file gives numbers only. Export the part of the model before it."
                )
        return [keras.ops.convert_to_numpy(x) for x in outputs]

    outputs = in_batches(run, signature.samples, signature.model_batch or batch)
    for i, output in enumerate(outputs):
        if not np.all(np.isfinite(output)):
            raise ValueError(
                f"The Keras model's output {i} holds NaN or infinity on these inputs, so there is "
                "nothing to verify the file against. Pass `inputs=` on which the model is finite, "
                "or mend the model's weights."
            )
    return outputs


def verify(
    contents: bytes,
    signature: Signature,
    output_names: Sequence[str],
    expected: Sequence[np.ndarray],
    batch_size: int | None,
    tolerance: float,
    why: Callable[[], str],
    kernels: Sequence[str] = KERNELS["all"],
) -> Verified:
    """Runs a file with each set of kernels and compares it with Keras.

    `CompiledModel` is given the first few samples. It takes fewer files than the interpreter does;
    that one does not run there is told, and is no error.

    The error of an output is the largest absolute difference over all samples and elements,
    divided by the largest absolute value that Keras gave for that output (not divided where that
    is zero); the error of the file is that of its worst output.

    Args:
        contents: The file.
        signature: The inputs and samples.
        output_names: The outputs' names in the file.
        expected: Keras's outputs on the samples.
        batch_size: The file's batch size; None also checks that it can be resized.
        tolerance: The largest error to accept.
        why: Looks for a reason why outputs differ; gives `""` where it finds none.
        kernels: Names of `INTERPRETERS` and of `COMPILED`.

    Returns:
        A `Verified`.

    Raises:
        LiteRTVerificationError: If the interpreter does not run the file, or an error exceeds
            `tolerance`.
    """
    inputs = {spec.name: x for spec, x in zip(signature.inputs, signature.samples, strict=True)}
    wanted = dict(zip(output_names, expected, strict=True))
    errors, not_run = dict[str, float](), dict[str, str]()

    def compare(name: str, got: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> None:
        for output, result in got.items():
            error = relative_error(result, wanted[output])
            errors[name] = max(errors.get(name, 0.0), error)
            if not error <= tolerance:
                raise LiteRTVerificationError(
                    _mismatch(name, output, error, tolerance, signature.synthetic, why())
                )

    for name in [each for each in kernels if each in INTERPRETERS]:
        for size in _sizes(batch_size, len(expected[0])):
            try:
                got = _run(contents, name, inputs, output_names, size)
            except (RuntimeError, ValueError) as failure:
                raise LiteRTVerificationError(
                    f"The converted file does not run with {name} at batch size {size}: {failure}. "
                    "No file was written. Try sparse=False, batch_size=1, or another version of "
                    "TensorFlow."
                ) from failure
            compare(name, got, wanted)
    modes = {COMPILED[name]: name for name in kernels if name in COMPILED}
    few = min(_FEW, len(expected[0]))
    # Whole batches: the last sample fills the last one.
    rows = np.minimum(np.arange(-(-few // (batch_size or 1)) * (batch_size or 1)), few - 1)
    wanted = {name: x[rows] for name, x in wanted.items()}
    given = {name: x[rows] for name, x in inputs.items()}
    found = run_compiled(contents, list(modes), given, wanted, _sizes(batch_size, few))
    for mode, results in found.items():
        if isinstance(results, str):
            not_run[modes[mode]] = results
            continue
        for got in results:
            compare(modes[mode], got, wanted)
    return Verified(errors, not_run)


def _sizes(batch_size: int | None, rows: int) -> list[int]:
    """The batch sizes to try."""
    return [batch_size] if batch_size else sorted({1, rows})


def is_informative(expected: Sequence[np.ndarray], tolerance: float) -> bool:
    """Whether agreement with these outputs says anything: a constant is easily agreed with.

    Args:
        expected: Keras's outputs on the samples.
        tolerance: The error that is accepted.

    Returns:
        Whether the values of some output differ by more than the tolerance allows.
    """
    return any(
        float(np.ptp(x.astype(np.float64))) > tolerance * float(np.max(np.abs(x)))
        for x in expected
        if x.size
    )


def relative_error(got: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference between two arrays, relative to the largest expected value.

    Args:
        got: What the file computed.
        expected: What Keras computed, finite.

    Returns:
        The error; infinite if the shapes differ or `got` is not finite.
    """
    if got.shape != expected.shape or not np.all(np.isfinite(got)):
        return float("inf")
    wanted = expected.astype(np.float64)
    scale = np.max(np.abs(wanted), initial=0.0) or 1.0
    return float(np.max(np.abs(got.astype(np.float64) - wanted), initial=0.0) / scale)


def _mismatch(
    name: str, output: str, error: float, tolerance: float, synthetic: bool, why: str
) -> str:
    cure = why or (
        "The samples were random numbers, which need not suit the model: pass `inputs=` a few "
        "real samples. Raise `tolerance` only if the application bears that error."
        if synthetic
        else "Try sparse=False to see whether the sparse encoding is at fault, or replace layers "
        "that compute differently on the device. Raise `tolerance` only if the application bears "
        "that error."
    )
    return (
        f"The converted file computes something else than Keras with {name}: output {output!r} "
        f"is off by {error:.3g} of the output's scale, but tolerance={tolerance:g}. No file was "
        f"written. {cure}"
    )


def _run(
    contents: bytes,
    kernels: str,
    inputs: Mapping[str, np.ndarray],
    output_names: Sequence[str],
    size: int,
) -> dict[str, np.ndarray]:
    with interpreting(contents, INTERPRETERS[kernels]) as interpreter:
        runner = interpreter.get_signature_runner()

        def run(batch: Sequence[np.ndarray]) -> list[np.ndarray]:
            outputs = runner(**dict(zip(inputs, batch, strict=True)))
            return [outputs[name] for name in output_names]

        got = in_batches(run, list(inputs.values()), size)
        return dict(zip(output_names, got, strict=True))


def in_batches(run: Any, samples: Sequence[np.ndarray], size: int) -> list[np.ndarray]:
    """Applies a function to full batches, repeating the last sample to fill the last one.

    Args:
        run: Gives one array per output for a batch of one array per input.
        samples: One array per input.
        size: The batch size.

    Returns:
        One array per output, with one row per sample.

    Raises:
        ValueError: If an output has not one row per sample.
    """
    rows = len(samples[0])
    parts = []
    for start in range(0, rows, size):
        index = np.minimum(np.arange(start, start + size), rows - 1)
        outputs = run([x[index] for x in samples])
        for i, output in enumerate(outputs):
            if output.ndim == 0 or len(output) != size:
                raise ValueError(
                    f"Output {i} has shape {output.shape} for a batch of {size}: export "
                    "takes models that give one row per sample."
                )
        parts.append(outputs)
    return [np.concatenate(output)[:rows] for output in zip(*parts, strict=True)]
