"""What a model that cannot be exported suffers from, and the cure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_sparse.deploy.inference import QUANTIZED_CURE, float32_inference
from keras_sparse.deploy.signature import Signature
from keras_sparse.deploy.verification import keras_outputs, relative_error

# MLIR locates an op as fused["Op:", callsite("scope/of/layer/op@function"...), or loc("scope/op;").
_OP_AT = re.compile(r'fused\["(\w+):", callsite\("([^"@]+)@__inference')
_PLACE = re.compile(r'^loc\("([^";]+);?"', re.MULTILINE)

_LOOKUPS = (keras.layers.IntegerLookup, keras.layers.StringLookup, keras.layers.TextVectorization)
_PYTHON = ("PyFunc", "PyFuncStateless", "EagerPyFunc")
_TEXT = re.compile("String|LookupTable|Regex|Unicode")

_BATCH_CURE = (
    "A recurrent layer's loop needs a batch size that is known: export with batch_size=1, or build "
    "the layer with unroll=True."
)
_PYTHON_CURE = (
    "That runs Python, which a device does not have: write the computation with `keras.ops`."
)
_RANDOM_CURE = (
    "That draws random numbers, for which LiteRT has no kernel: draw them in training only (`if "
    "training:` in the layer's `call`), or take them as an input."
)
_PREPROCESSING_CURE = (
    "That prepares raw data, which LiteRT cannot do: do it in the application, and export the part "
    "of the model behind it."
)
_TYPE_CURE = (
    "LiteRT computes in float32: cast to it (`keras.ops.cast(x, 'float32')`) before that operation."
)
_TIED_CURE = (
    "The weight stored sparse is read by several operations, which the sparse encoding does not "
    "allow: untie the weights, or export with sparse=False."
)
_OTHER_CURE = (
    "A LiteRT file has kernels for a fixed set of operations: replace that layer by one built of "
    "common operations, or export the model up to it and compute the rest in the application."
)


def conversion_failure(
    model: keras.Model, graph: Any, error: Exception, log: str, sparse: bool
) -> str:
    """Explains why the converter refused a model.

    Args:
        model: The model.
        graph: The `tf.Graph` that it was traced into.
        error: What the converter raised.
        log: What it wrote to the standard error.
        sparse: Whether the sparse encoding was asked for.

    Returns:
        The operations or layers at fault, and the cure of each cause.
    """
    found = dict.fromkeys(_OP_AT.findall(log))
    causes: dict[str, list[str]] = {}
    quantized: dict[str, list[str]] = {}
    for operation, scope in found:
        layer = _layer_at(model, scope)
        if operation.endswith("PartitionedCall"):
            continue
        if layer is not None and (mode := getattr(layer, "quantization_mode", None)):
            quantized.setdefault(f"{layer.name!r} ({mode})", []).append(operation)
        else:
            cure = _cure(operation, scope, layer, graph)
            causes.setdefault(cure, []).append(f"{operation} at {scope!r}")
    said = [f"{_could_not(_first(what))} {cure}" for cure, what in causes.items()]
    if quantized:
        operations = ", ".join(dict.fromkeys(op for ops in quantized.values() for op in ops))
        said.append(
            f"The model holds quantized layers, {_first(list(quantized))}, and LiteRT has no "
            f"kernels for the way in which they compute ({operations}). {QUANTIZED_CURE}"
        )
    if said:
        return " ".join(said)
    if sparse and "does not dominate" in log:
        places = dict.fromkeys(map(repr, _PLACE.findall(log)))
        return f"{_could_not(', '.join(places))} {_TIED_CURE}"
    tables = [repr(x.name) for x in model._flatten_layers() if isinstance(x, _LOOKUPS)]
    if tables:
        return f"{_could_not('the table of layer ' + ', '.join(tables))} {_PREPROCESSING_CURE}"
    places = dict.fromkeys(map(repr, _PLACE.findall(log)))
    line = next(iter(str(error).splitlines()), type(error).__name__)
    return f"{_could_not(', '.join(places) or f'this model ({line})')} {_OTHER_CURE}"


def tracing_failure(model: keras.Model, error: Exception) -> str:
    """Explains why a model that runs cannot be made a graph.

    Args:
        model: The model.
        error: What tracing it raised.

    Returns:
        What went wrong where, and the cure.
    """
    lines = [line.strip() for line in re.sub(r"\x1b\[\d*m", "", str(error)).splitlines()]
    # Keras says where, then TensorFlow what, and then what to do about it elsewhere.
    sentences = [line.partition(". ")[0].rstrip(".") + "." for line in lines if line]
    said = " ".join(sentences[:2]) or type(error).__name__
    return (
        f"Model {model.name!r} runs in Python but cannot be made a graph, which is all that a "
        f"device is given: {said} Replace Python's `if`, `for`, `float()`, `.numpy()` and the like "
        "on tensors by `keras.ops` (`cond`, `where`, `while_loop`, `cast`)."
    )


def disagreement(model: keras.Model, signature: Signature, tolerance: float) -> str:
    """Looks in the Keras model for the reason why its file computes something else.

    Args:
        model: The model.
        signature: Its inputs and samples.
        tolerance: The error that is accepted.

    Returns:
        The reason and the cure, or `""` where the model itself gives none.
    """
    quantized = [x for x in model._flatten_layers() if getattr(x, "quantization_mode", None)]
    if quantized:
        names = [f"{layer.name!r} ({layer.quantization_mode})" for layer in quantized]
        return f"The model holds layers that Keras quantized, {_first(names)}. {QUANTIZED_CURE}"
    with float32_inference(model):
        first, second = (keras_outputs(model, signature) for _ in range(2))
        if _differ(first, second, tolerance):
            own = [repr(x.name) for x in model._flatten_layers() if _is_users(x)]
            return (
                "The Keras model itself gives something else each time it is called: a layer draws "
                "random numbers at inference, or keeps state in Python or in a variable. "
                f"{'Look at ' + ', '.join(own) + ' and make' if own else 'Make'} inference depend "
                "on the inputs and the weights alone."
            )
        if signature.model_batch is None and _differ(
            first, keras_outputs(model, signature, batch=1), tolerance
        ):
            return (
                "What the Keras model gives for a sample depends on the other samples in its "
                "batch: let its layers reduce over, and branch on, each sample by itself."
            )
    return ""


def _differ(first: Sequence[np.ndarray], second: Sequence[np.ndarray], tolerance: float) -> bool:
    pairs = zip(second, first, strict=True)
    return not all(relative_error(got, wanted) <= tolerance for got, wanted in pairs)


def _is_users(layer: keras.Layer) -> bool:
    kept = (keras.Model, keras.layers.InputLayer)
    by_users = not type(layer).__module__.startswith("keras.")
    return (by_users or isinstance(layer, keras.layers.Lambda)) and not isinstance(layer, kept)


def _cure(operation: str, scope: str, layer: keras.Layer | None, graph: Any) -> str:
    if operation.startswith("TensorList"):
        return _BATCH_CURE
    if operation in _PYTHON:
        return _PYTHON_CURE
    if "Random" in operation:
        return _RANDOM_CURE
    prepares = type(layer).__module__.startswith("keras.src.layers.preprocessing")
    if prepares or _TEXT.search(operation):
        return _PREPROCESSING_CURE
    if _computes_in_float64(graph, scope):
        return _TYPE_CURE
    return _OTHER_CURE


def _computes_in_float64(graph: Any, scope: str) -> bool:
    operation = next((op for op in graph.get_operations() if op.name == scope), None)
    return operation is not None and any(x.dtype == "float64" for x in operation.outputs)


def _layer_at(model: keras.Model, scope: str) -> keras.Layer | None:
    """The innermost layer whose name is in an operation's scope.

    TensorFlow makes scopes unique by a number behind the layer's name, so that `dense_1` is the
    layer `dense`, if there is one, before it is the layer `dense_1`.
    """
    layers = {layer.name: layer for layer in model._flatten_layers()}
    for part in reversed(scope.split("/")[:-1]):
        for name in (re.sub(r"_\d+$", "", part), part):
            if name in layers:
                return layers[name]
    return None


def _first(places: Sequence[str], shown: int = 5) -> str:
    more = f" and {len(places) - shown} more" if len(places) > shown else ""
    return ", ".join(places[:shown]) + more


def _could_not(what: str) -> str:
    return f"The LiteRT converter could not express {what}."
