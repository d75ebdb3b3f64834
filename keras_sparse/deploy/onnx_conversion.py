"""From a traced Keras model to the bytes of an ONNX file."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_sparse.deploy.conversion import TracedModel
from keras_sparse.deploy.signature import Signature

_LARGEST = 2**31
_XLA = ("_XlaMustCompile", "_noinline")


class ONNXConversionError(RuntimeError):
    """A model could not be expressed in ONNX.

    The message names the operations and where they come from; no file was written.

    ```python
    import keras
    from keras_sparse import deploy

    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64), keras.layers.Dense(10)])
    try:
        deploy.to_onnx(model, "model.onnx", opset=13)
    except deploy.ONNXConversionError as error:
        print(error)
    ```
    """


def convert_to_onnx(traced: TracedModel, signature: Signature, opset: int | None) -> bytes:
    """Converts a traced model with ONNX's own operations only.

    Keras's export hands the traced function to tf2onnx as it is. Two things in it have no
    counterpart there: constants that a layer keeps outside of the graph, which become inputs that
    nobody feeds, and convolutions in groups, which Keras has XLA compile and which stay calls of a
    function. So the function is frozen first, constants and all, and XLA's marks are taken off,
    after which calls are replaced by what they call. `Erfc`, in which the exact GELU is
    written, is computed by `Erf`.

    Args:
        traced: The model.
        signature: Its inputs.
        opset: The version of ONNX's operations. Defaults to tf2onnx's.

    Returns:
        The file's bytes.

    Raises:
        ONNXConversionError: If an operation has no counterpart, or the file would be too large.
    """
    import tensorflow as tf
    import tf2onnx
    from tensorflow.python.framework import convert_to_constants

    _check_size(4 * traced.model.count_params(), traced.model.name)
    frozen = convert_to_constants.convert_variables_to_constants_v2(
        traced.function, lower_control_flow=False, aggressive_inlining=True
    )
    graph = frozen.graph.as_graph_def()
    functions = graph.library.function
    for holder in (*functions, *graph.node, *(n for f in functions for n in f.node_def)):
        for name in _XLA:
            if name in holder.attr:
                del holder.attr[name]
    inputs = [x.name for x in frozen.inputs if x.dtype != tf.resource]
    # TensorFlow gives a dict's entries by their names in order.
    outputs = dict(zip(sorted(traced.outputs), (x.name for x in frozen.outputs), strict=True))
    names = {old: spec.name for old, spec in zip(inputs, signature.inputs, strict=True)}
    try:
        with _quiet("tf2onnx"):
            made, _ = tf2onnx.convert.from_graph_def(
                graph,
                name=traced.model.name,
                input_names=inputs,
                output_names=[outputs[name] for name in traced.outputs],
                opset=opset,
                custom_op_handlers={"Erfc": (_erfc, [])},
                tensors_to_rename=names | {old: name for name, old in outputs.items()},
            )
    except Exception as error:
        raise ONNXConversionError(
            f"tf2onnx cannot express model {traced.model.name!r}: {error or type(error).__name__}. "
            "No file was written. Replace the layer at fault by one built of other operations, or "
            "give another opset."
        ) from error
    _check_operations(made, traced.model.name)
    _check_size(made.ByteSize(), traced.model.name)
    return made.SerializeToString(deterministic=True)


def _erfc(context: Any, node: Any, *_: Any) -> None:
    """Writes erfc(x) as 1 - erf(x)."""
    from tf2onnx import utils

    (output,) = node.output
    kind = utils.map_onnx_to_numpy_type(context.get_dtype(output))
    one = context.make_const(utils.make_name("one"), np.ones((), kind))
    node.type, node.domain = "Erf", ""
    context.insert_new_node_on_output("Sub", output, inputs=[one.output[0], output])


def _check_operations(made: Any, model: str) -> None:
    """Refuses what tf2onnx only logs: operations that it copies from TensorFlow."""
    import onnx

    foreign = [
        f"{node.op_type} ({node.name.partition(':')[0]})"
        for node in _nodes(made.graph)
        if not onnx.defs.has(node.op_type, node.domain)
    ]
    if foreign:
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        raise ONNXConversionError(
            f"Model {model!r} holds operations that ONNX does not have: {', '.join(foreign[:3])}"
            f"{more}. No file was written. Replace these layers by ones built of other operations, "
            "or do what they do in the application."
        )


def _nodes(graph: Any) -> Iterator[Any]:
    """All operations, those of loops and branches included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _check_size(size: int, model: str) -> None:
    if size >= _LARGEST:
        raise ONNXConversionError(
            f"Model {model!r} takes {size:,} bytes, and an ONNX file holds less than 2 GiB. Export "
            "parts of it."
        )


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keeps a logger from reporting what an error is going to say."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
