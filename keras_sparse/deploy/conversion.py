"""From a Keras model to the bytes of a LiteRT file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import keras

from keras_sparse.deploy.native_log import native_log
from keras_sparse.deploy.signature import Signature, unique_names

# MLIR locates an op as fused["Op:", callsite("scope/of/layer/op@function"...), or loc("scope/op;").
_OP_AT = re.compile(r'fused\["(\w+):", callsite\("([^"@]+)@__inference')
_PLACE = re.compile(r'^loc\("([^";]+);?"', re.MULTILINE)


class LiteRTConversionError(RuntimeError):
    """The converter could not express a model.

    The message names the operations and the cure; no file was written.

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
        function: The `tf.ConcreteFunction`, which returns a dict of outputs by name.
        module: Owns the function's variables; the converter freezes those that it finds here.
        outputs: The names of the outputs in the order of `keras.tree.flatten`.
    """

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
    function = tf.function(call, autograph=False).get_concrete_function(*specs)
    # A plain module that owns the variables, not the model: given the Keras model itself, the
    # converter leaves them unfrozen, and the file computes NaN without an error. It does not own
    # the function, which would be traced anew each time it is saved.
    module = tf.Module()
    module.captured = list(function.variables)
    return TracedModel(function, module, tuple(names))


def _output_names(model: keras.Model, outputs: Any, count: int) -> list[str]:
    if isinstance(outputs, dict) and len(outputs) == count:
        return unique_names(sorted(outputs))
    wished = getattr(model, "output_names", None) or []
    return unique_names(wished if len(wished) == count else [f"output_{i}" for i in range(count)])


def convert(traced: TracedModel, sparse: bool) -> bytes:
    """Converts a traced model with LiteRT's own operations only.

    Args:
        traced: The model.
        sparse: Whether to store weights with enough zeros in a sparse encoding.

    Returns:
        The file's bytes.

    Raises:
        LiteRTConversionError: If the converter refuses the model.
    """
    import tensorflow as tf

    log = None
    try:
        with native_log() as log:
            converter = tf.lite.TFLiteConverter.from_concrete_functions(
                [traced.function], traced.module
            )
            if sparse:
                converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
            return converter.convert()
    except Exception as error:
        raise LiteRTConversionError(_explain(error, log.text if log else "", sparse)) from error


def _explain(error: Exception, log: str, sparse: bool) -> str:
    found = dict.fromkeys(_OP_AT.findall(log))
    operations = [(op, scope) for op, scope in found if not op.endswith("PartitionedCall")]
    if operations:
        shown = [f"{op} at {scope!r}" for op, scope in operations[:5]]
        more = f" and {len(operations) - 5} more" if len(operations) > 5 else ""
        what = ", ".join(shown) + more
    elif places := _PLACE.findall(log):
        what = ", ".join(repr(place) for place in dict.fromkeys(places))
    else:
        what = f"this model ({next(iter(str(error).splitlines()), type(error).__name__)})"
    if any(op.startswith("TensorList") for op, _ in operations):
        cure = (
            "A recurrent layer's loop needs a batch size that is known: export with batch_size=1, "
            "or build the layer with unroll=True."
        )
    elif sparse and "does not dominate" in log:
        cure = (
            "The weight stored sparse is read by several operations, which the sparse encoding "
            "does not allow: untie the weights, or export with sparse=False."
        )
    else:
        cure = (
            "A LiteRT file has kernels for a fixed set of operations: replace that layer by one "
            "built of common operations, or export the model up to it and compute the rest in "
            "the application."
        )
    return f"The LiteRT converter could not express {what}. {cure}"
