"""Floating-point operations of an inference and of training, counted on nonzero weights.

Convolutions and dense layers count, at two operations (multiply and add) a weight and use;
normalization, pooling, activations and the loss do not. Source: Peste (2023), A.2.3.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops, tree
from numpy.typing import ArrayLike

from keras_sparse.probe.calls import run_recorded
from keras_sparse.probe.layout import kernel_layout
from keras_sparse.probe.quantized import logical_shape
from keras_sparse.probe.variables import check_built, is_weight, owners

_TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
_SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
ATTENTION = (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention)


def weight_uses(model: keras.Model, input_shape: Any = None) -> np.ndarray:
    """How often each tensor's weights are multiplied in one sample's inference.

    The model runs once on a batch of one, and every layer notes the shapes it sees: a
    convolution's weight is used once per output position, a dense weight once per row, a
    recurrent one once per time step. A layer that is called twice counts twice. Frozen and
    quantized kernels compute as others do; LoRA's factors count as layers of their own beside the
    kernel.

    Args:
        model: A built Keras model.
        input_shape: Shape(s) of one sample without the batch axis, for a model whose own input
            shape has open axes. Defaults to the model's.

    Returns:
        Floats of shape `(len(model.variables),)`; 0 for biases, state and the like.

    Raises:
        ValueError: If the input shape is not known.
    """
    owner = owners(model)
    seen = layer_shapes(model, input_shape)
    cells = {id(rnn.cell): rnn for rnn in _recurrent(model)}
    uses = np.zeros(len(model.variables))
    for i, variable in enumerate(model.variables):
        layer, name = owner[id(variable)], variable.name
        shape = logical_shape(layer, variable)
        if len(shape) < 2 or name == "bias" or 0 in shape or not is_weight(layer, variable):
            continue
        rnn = _around(layer, cells)
        for inputs, outputs in seen.get(id(layer if rnn is None else rnn), ()):
            if rnn is not None:
                uses[i] += _uses_in_time(shape, inputs, outputs)
            elif name.startswith("lora_kernel_"):
                uses[i] += _uses_of_factor(layer, name, inputs, outputs)
            else:
                uses[i] += _uses(layer, name, shape, inputs, outputs)
    return uses


def attention_multiplications(model: keras.Model, input_shape: Any = None) -> dict[int, float]:
    """Multiplications of queries by keys and of probabilities by values, in one sample's inference.

    The arguments and errors are those of `weight_uses`, which counts the projections.

    Returns:
        Those of all calls of each attention layer, by the `id` of the layer.
    """
    layers = [x for x in model._flatten_layers(include_self=False) if isinstance(x, ATTENTION)]
    seen = layer_shapes(model, input_shape) if layers else {}
    found = {}
    for layer in layers:
        parts = (layer._query_dense, layer._key_dense, layer._value_dense)
        outputs = [[outs for _, outs in seen.get(id(part), ())] for part in parts]
        axes = getattr(layer, "_attention_axes", None) or (1,)
        found[id(layer)] = float(
            sum(
                math.prod(query[1:-1]) * math.prod(key[a] for a in axes) * (key[-1] + value[-1])
                for query, key, value in zip(*outputs, strict=True)
            )
        )
    return found


def inference_flops(uses: ArrayLike, nonzeros: ArrayLike) -> float:
    """Operations of one sample's inference, `2 * sum(uses * nonzeros)`.

    Args:
        uses: Uses of each weight of each tensor, from `weight_uses`.
        nonzeros: Nonzero weights of each tensor.
    """
    return 2 * float(np.dot(np.asarray(uses, float), np.asarray(nonzeros, float)))


def training_flops(uses: ArrayLike, nonzeros: ArrayLike, trained: ArrayLike) -> float:
    """Operations of one sample's training step: forward, error and weight gradient.

    Forward and error propagation cost an inference on the nonzero weights each, the weight
    gradient one on the weights that receive a gradient: `3 F_C` with masked gradients,
    `2 F_D + F` with dense ones.

    Args:
        uses: Uses of each weight of each tensor, from `weight_uses`.
        nonzeros: Nonzero weights of each tensor.
        trained: Weights of each tensor that receive a gradient.

    Source: Peste (2023), A.2.3 (backward is twice forward, as in RigL).
    """
    return 2 * inference_flops(uses, nonzeros) + inference_flops(uses, trained)


def _sample(model: keras.Model, input_shape: Any) -> Any:
    specs, batches = getattr(model, "inputs", None), []
    if input_shape is not None:
        one = all(side is None or isinstance(side, int) for side in input_shape)
        shapes: Any = [input_shape] if one else input_shape
        dtypes = [spec.dtype for spec in specs] if specs else ["float32"] * len(shapes)
    elif specs:
        shapes, dtypes = [spec.shape[1:] for spec in specs], [spec.dtype for spec in specs]
        batches = [spec.shape[0] or 1 for spec in specs]
    else:
        shapes, dtypes = _shapes_at_build(model)
    shapes = [tuple(shape) for shape in shapes]
    if any(side is None for shape in shapes for side in shape):
        raise ValueError(
            f"FLOPs depend on the input's size, and model {model.name!r} leaves it open: "
            f"{shapes}. Give input_shape=(...), without the batch axis."
        )
    arrays = [
        ops.zeros((batch, *shape), dtype)
        for batch, shape, dtype in zip(batches or [1] * len(shapes), shapes, dtypes, strict=True)
    ]
    structure = getattr(model, "_inputs_struct", None)
    if structure is not None:
        return tree.pack_sequence_as(structure, arrays)
    return arrays[0] if len(arrays) == 1 else arrays


def _shapes_at_build(model: keras.Model) -> tuple[list[tuple[int | None, ...]], list[str]]:
    recorded = getattr(model, "_build_shapes_dict", None)
    if not recorded:
        raise ValueError(
            f"The input shape of model {model.name!r} is not known. Give input_shape=(...), "
            "without the batch axis."
        )
    shapes = [s for s in recorded.values() if s]
    return [tuple(shape)[1:] for shape in shapes], ["float32"] * len(shapes)


def layer_shapes(
    model: keras.Model, input_shape: Any = None
) -> dict[int, list[tuple[tuple, tuple]]]:
    """The shapes of input and output at each call of each layer that has weights.

    The arguments and errors are those of `weight_uses`.

    Returns:
        Pairs of shapes, batch axis included, by the `id` of the layer, in the order of the calls.
    """
    check_built(model)
    sample = _sample(model, input_shape)
    seen: dict[int, list[tuple[tuple, tuple]]] = {}

    def note(layer: keras.layers.Layer, inputs: Any, outputs: Any) -> None:
        ins, outs = tree.flatten(inputs), tree.flatten(outputs)
        if ins and outs:
            seen.setdefault(id(layer), []).append((tuple(ins[0].shape), tuple(outs[0].shape)))

    layers = [layer for layer in model._flatten_layers(include_self=False) if layer.weights]
    run_recorded(model, layers, sample, note)
    return seen


def _recurrent(model: keras.Model) -> list[Any]:
    return [x for x in model._flatten_layers() if isinstance(x, keras.layers.RNN)]


def _around(layer: keras.layers.Layer, cells: dict[int, Any]) -> Any:
    """The recurrent layer that steps through `layer`, if any (stacked cells included)."""
    for cell, rnn in cells.items():
        inside = {id(child) for child in rnn.cell._flatten_layers()}
        if id(layer) == cell or id(layer) in inside:
            return rnn
    return None


def _uses(
    layer: keras.layers.Layer, name: str, shape: tuple[int, ...], inputs: tuple, outputs: tuple
) -> float:
    if isinstance(layer, _TRANSPOSED):
        return math.prod(inputs[1:-1] if layer.data_format == "channels_last" else inputs[2:])
    if isinstance(layer, keras.layers.Embedding):
        # Looked up, a table is not multiplied; one that also makes the logits is, there.
        reversed_ = "embeddings" if getattr(layer, "tie_weights", True) else "reverse_embeddings"
        makes_logits = len(inputs) == len(outputs) and name == reversed_
        return math.prod(outputs[1:-1]) if makes_logits else 0
    if isinstance(layer, _SEPARABLE):
        return math.prod(outputs[1:]) / layer.filters
    return math.prod(outputs[1:]) / kernel_layout(layer, name, shape).matrix_shape[2]


def _uses_of_factor(layer: keras.layers.Layer, name: str, inputs: tuple, outputs: tuple) -> float:
    """Uses of a factor of LoRA's `A @ B`, which splits a kernel's last axis.

    A stands where the kernel does, B behind it, at each place along the axes that A also has of
    the kind of the last one.
    """
    shape = (*layer.lora_kernel_a.shape[:-1], layer.lora_kernel_b.shape[-1])
    uses = _uses(layer, "kernel", shape, inputs, outputs)
    if name == "lora_kernel_a":
        return uses
    layout, last = kernel_layout(layer, "kernel", shape), len(shape) - 1
    kind = layout.outputs if last in layout.outputs else layout.inputs
    return uses * math.prod(shape[axis] for axis in kind if axis != last)


def _uses_in_time(shape: tuple[int, ...], inputs: tuple, outputs: tuple) -> float:
    """Time steps, times the positions of a convolutional cell."""
    slides_over = len(shape) - 2
    return inputs[1] * math.prod(outputs[-1 - slides_over : -1])
