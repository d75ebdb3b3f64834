"""From a Keras model to the bytes of a LiteRT file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_sparse.deploy.causes import conversion_failure, tracing_failure
from keras_sparse.deploy.native_log import native_log
from keras_sparse.deploy.quantizing import RECIPES, quantized, sparsely_encoded
from keras_sparse.deploy.signature import Signature, unique_names

# What weights are stored as, and the error that is accepted if none is given: for each output the
# largest difference to Keras, divided by the largest value of that output.
FORMATS: dict[str | None, float] = {
    None: 1e-4,
    "float16": 1e-2,
    "dynamic": 0.1,
    "int8": 0.2,
    "weight_only_int8": 0.1,
    "weight_only_int4": 0.3,
    "dynamic_int4": 0.3,
    "dynamic_int4_blocks": 0.3,
}


class LiteRTConversionError(RuntimeError):
    """The converter could not express a model.

    The message names the operations or layers, the cause and the cure; no file was written.

    ```python
    import keras
    from keras_sparse import deploy

    model = keras.Sequential([keras.Input((12, 8)), keras.layers.LSTM(4)])
    try:
        deploy.to_litert(model, "model.tflite", batch_size=None)
    except deploy.LiteRTConversionError as error:
        print(error)
    ```
    """


@dataclass(frozen=True)
class TracedModel:
    """A model's inference as a TensorFlow function.

    Args:
        model: The model.
        function: The `tf.ConcreteFunction`, which returns a dict of outputs by name.
        module: Owns the function's variables; the converter freezes those that it finds here.
        outputs: The names of the outputs in the order of `keras.tree.flatten`.
    """

    model: keras.Model
    function: Any
    module: Any
    outputs: tuple[str, ...]


def trace(model: keras.Model, signature: Signature) -> TracedModel:
    """Traces a model's call with `training=False`.

    Args:
        model: A built model.
        signature: Its inputs.

    Returns:
        The traced model.

    Raises:
        LiteRTConversionError: If the model's call is no graph of tensors.
    """
    import tensorflow as tf

    names: list[str] = []

    def call(*tensors: Any) -> dict[str, Any]:
        outputs = model(signature.nest(tensors), training=False)
        flat = keras.tree.flatten(outputs)
        names[:] = _output_names(model, outputs, len(flat))
        return dict(zip(names, flat, strict=True))

    specs = [tf.TensorSpec(x.shape, x.dtype, name=x.name) for x in signature.inputs]
    # autograph=False: Keras layers trace without it, and it would rewrite a custom layer's code.
    try:
        function = tf.function(call, autograph=False).get_concrete_function(*specs)
    except Exception as error:
        raise LiteRTConversionError(tracing_failure(model, error)) from error
    # A plain module that owns the variables, not the model: given the Keras model itself, the
    # converter leaves them unfrozen, and the file computes NaN without an error. It does not own
    # the function, which would be traced anew each time it is saved.
    module = tf.Module()
    module.captured = list(function.variables)
    return TracedModel(model, function, module, tuple(names))


def _batches(samples: Sequence[np.ndarray], specs: Sequence[Any]) -> Iterator[list[np.ndarray]]:
    """Samples in batches of the size that the model was traced for."""
    size = specs[0].shape[0] or 1
    for start in range(0, len(samples[0]) - size + 1, size):
        yield [x[start : start + size] for x in samples]


def _output_names(model: keras.Model, outputs: Any, count: int) -> list[str]:
    if isinstance(outputs, dict) and len(outputs) == count:
        return unique_names(sorted(outputs))
    wished = getattr(model, "output_names", None) or []
    return unique_names(wished if len(wished) == count else [f"output_{i}" for i in range(count)])


def convert(
    traced: TracedModel,
    sparse: bool,
    quantize: str | None = None,
    samples: Sequence[np.ndarray] = (),
) -> bytes:
    """Converts a traced model with LiteRT's own operations only.

    What another package quantizes is quantized dense, and encoded after.

    Args:
        traced: The model.
        sparse: Whether to store weights with enough zeros in a sparse encoding.
        quantize: One of `FORMATS`.
        samples: For `"int8"` one array per input, by which activations are scaled.

    Returns:
        The file's bytes.

    Raises:
        LiteRTConversionError: If the converter refuses the model.
    """
    import tensorflow as tf

    log = None
    try:
        if quantize in RECIPES:
            dense = quantized(convert(traced, False), quantize)
            with native_log() as log:
                return sparsely_encoded(dense) if sparse else dense
        with native_log() as log:
            converter = tf.lite.TFLiteConverter.from_concrete_functions(
                [traced.function], traced.module
            )
            wished = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY] if sparse else []
            if quantize is not None:
                wished.append(tf.lite.Optimize.DEFAULT)
            converter.optimizations = wished
            if quantize == "float16":
                converter.target_spec.supported_types = [tf.float16]
            if quantize == "int8":
                specs = traced.function.structured_input_signature[0]
                converter.representative_dataset = lambda: _batches(samples, specs)
            return converter.convert()
    except LiteRTConversionError:
        raise
    except Exception as error:
        said = log.text if log else ""
        why = conversion_failure(traced.model, traced.function.graph, error, said, sparse)
        raise LiteRTConversionError(why) from error
