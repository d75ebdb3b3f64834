"""What the weights of a layer are multiplied with, of given inputs: rows, squares, products."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_sparse.posttrain.pruned_weights import PrunedWeights, from_rows
from keras_sparse.probe.convolutions import CONVOLUTIONS, DEPTHWISE, SEPARABLE
from keras_sparse.probe.layout import Layout
from keras_sparse.probe.variables import owners


class Statistic(NamedTuple):
    """What is summed up over all that a layer is called with.

    Args:
        layers: For each target the layer whose inputs are looked at; `None` where they cannot be.
        of: Takes such a layer, its kernel and inputs; gives a float64 array.
        squares: Takes a kernel's layout and the sum; gives the squares in it, as `squared_inputs`.
    """

    layers: Callable[[PrunedWeights], list[keras.layers.Layer | None]]
    of: Callable[[keras.layers.Layer, Any, np.ndarray], np.ndarray]
    squares: Callable[[Layout, np.ndarray], np.ndarray]


def chosen_layers(chosen: PrunedWeights) -> list[keras.layers.Layer | None]:
    """The layer of each target, `None` where outputs do not share inputs that can be seen."""
    return _layers(chosen, _shares_inputs)


def summed_layers(chosen: PrunedWeights) -> list[keras.layers.Layer | None]:
    """The layer of each target, `None` where `squared_inputs` does not know it."""
    return _layers(chosen, _is_summed)


def _layers(
    chosen: PrunedWeights, known: Callable[[keras.layers.Layer, Any], bool]
) -> list[keras.layers.Layer | None]:
    owner = owners(chosen.model)
    layers = [owner[id(variable)] for variable in chosen.variables]
    return [
        layer if known(layer, variable) else None
        for layer, variable in zip(layers, chosen.variables, strict=True)
    ]


def input_rows(layer: keras.layers.Layer, variable: Any, inputs: np.ndarray) -> np.ndarray:
    """What each output of a layer is a weighted sum of, shape `(outputs in all, d)`.

    The order along d is that of `to_rows`: kernel positions, then input channels.

    Args:
        layer: A layer of `chosen_layers`.
        variable: Its kernel.
        inputs: What it is called with.
    """
    if isinstance(layer, keras.layers.Dense):
        return inputs.reshape(-1, inputs.shape[-1])
    if isinstance(layer, keras.layers.EinsumDense):
        return _einsum_rows(layer.equation, tuple(variable.shape), inputs)
    return _patches(layer, inputs)


def row_count(layer: Any, variable: Any, inputs: np.ndarray) -> int:
    """How many rows `input_rows` has, whose arguments it takes."""
    if isinstance(layer, CONVOLUTIONS):
        return math.prod(layer.compute_output_shape(inputs.shape)) // layer.filters
    return len(input_rows(layer, variable, inputs))


def squared_inputs(layer: keras.layers.Layer, variable: Any, inputs: np.ndarray) -> np.ndarray:
    """The sum of the squares of all that each weight is multiplied with, `||X_j||^2`.

    Args:
        layer: A layer of `summed_layers`.
        variable: Its kernel.
        inputs: What it is called with.

    Returns:
        Float64 array that broadcasts to the kernel's shape.
    """
    if isinstance(layer, keras.layers.Dense):
        return np.sum(inputs.reshape(-1, inputs.shape[-1]) ** 2, axis=0)[:, None]
    if isinstance(layer, keras.layers.EinsumDense):
        return _einsum_squares(layer.equation, inputs)
    of_all = np.sum(inputs**2, axis=0, keepdims=True)
    squares = np.sum(_patches(layer, of_all), axis=0).reshape(*layer.kernel_size, -1)
    if not isinstance(layer, CONVOLUTIONS):
        return squares[..., None]
    # Filters of one group follow each other, and so do the channels that they see.
    by_group = squares.reshape(*layer.kernel_size, layer.groups, -1).swapaxes(-1, -2)
    return np.repeat(by_group, layer.filters // layer.groups, axis=-1)


def summed_products(layer: keras.layers.Layer, variable: Any, inputs: np.ndarray) -> np.ndarray:
    """`X X^T`, the products of all that each output is a weighted sum of, shape `(d, d)`.

    The arguments are those of `input_rows`.
    """
    rows = input_rows(layer, variable, inputs)
    return rows.T @ rows


def _squares_of_products(layout: Layout, products: np.ndarray) -> np.ndarray:
    outputs = layout.size // len(products)
    return from_rows(layout, np.broadcast_to(np.diag(products), (outputs, len(products))))


SQUARES = Statistic(summed_layers, squared_inputs, lambda _, squares: squares)
PRODUCTS = Statistic(chosen_layers, summed_products, _squares_of_products)


def sees_often(layer: keras.layers.Layer) -> bool:
    """Whether a layer multiplies each of its inputs with several weights of an output."""
    return isinstance(layer, (*CONVOLUTIONS, *DEPTHWISE, *SEPARABLE))


def _is_summed(layer: keras.layers.Layer, variable: Any) -> bool:
    if isinstance(layer, SEPARABLE):
        return variable.name == "depthwise_kernel"
    known = (keras.layers.Dense, keras.layers.EinsumDense, *CONVOLUTIONS, *DEPTHWISE)
    return variable.name == "kernel" and isinstance(layer, known)


def _shares_inputs(layer: keras.layers.Layer, variable: Any) -> bool:
    if variable.name != "kernel":
        return False
    if isinstance(layer, keras.layers.EinsumDense):
        inputs, kernel, output = _terms(layer.equation)
        return not set(inputs) & set(kernel) & set(output)
    if isinstance(layer, CONVOLUTIONS):
        return layer.groups == 1
    return isinstance(layer, keras.layers.Dense)


def _terms(equation: str) -> tuple[str, str, str]:
    operands, output = equation.replace(" ", "").split("->")
    inputs, kernel = operands.split(",")
    return inputs, kernel, output


def _summed_alone(equation: str, inputs: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The inputs less the axes that are summed over without a weight, and their axes' names."""
    term, kernel, output = _terms(equation)
    before, dots, after = term.partition("...")
    spread = inputs.ndim - len(before) - len(after)
    axes = [*before, *["."] * (spread if dots else 0), *after]
    alone = tuple(i for i, name in enumerate(axes) if name not in kernel + output + ".")
    return [name for i, name in enumerate(axes) if i not in alone], inputs.sum(axis=alone)


def _einsum_rows(equation: str, shape: tuple[int, ...], inputs: np.ndarray) -> np.ndarray:
    _, kernel, output = _terms(equation)
    axes, inputs = _summed_alone(equation, inputs)
    summed = [name for name in kernel if name not in output]
    present = [axes.index(name) for name in summed if name in axes]
    others = [axis for axis in range(inputs.ndim) if axis not in present]
    # Along an axis of the kernel alone, all weights are multiplied with the same.
    sides = [shape[kernel.index(name)] for name in summed]
    kept = [side if name in axes else 1 for name, side in zip(summed, sides, strict=True)]
    rows = inputs.transpose(others + present).reshape(-1, *kept)
    return np.broadcast_to(rows, (len(rows), *sides)).reshape(len(rows), -1)


def _einsum_squares(equation: str, inputs: np.ndarray) -> np.ndarray:
    _, kernel, _ = _terms(equation)
    axes, inputs = _summed_alone(equation, inputs)
    elsewhere = tuple(i for i, name in enumerate(axes) if name not in kernel)
    squares = np.sum(inputs**2, axis=elsewhere)
    left = [name for name in axes if name in kernel]
    ordered = squares.transpose([left.index(name) for name in kernel if name in left])
    return np.expand_dims(ordered, [i for i, name in enumerate(kernel) if name not in left])


def _patches(layer: Any, inputs: np.ndarray) -> np.ndarray:
    """What a convolution sees at each place, shape `(places, kernel positions * channels)`."""
    if layer.data_format == "channels_first":
        inputs = np.moveaxis(inputs, 1, -1)
    rank = layer.rank
    reach = [(k - 1) * d + 1 for k, d in zip(layer.kernel_size, layer.dilation_rate, strict=True)]
    edges = [
        _edge(layer.padding, size, span, stride)
        for size, span, stride in zip(inputs.shape[1:-1], reach, layer.strides, strict=True)
    ]
    filled = np.pad(inputs, [(0, 0), *edges, (0, 0)]) if np.any(edges) else inputs
    axes = tuple(range(1, rank + 1))
    windows = np.lib.stride_tricks.sliding_window_view(filled, reach, axis=axes)
    every = [slice(None, None, stride) for stride in layer.strides]
    within = [slice(None, None, rate) for rate in layer.dilation_rate]
    taken = (slice(None), *every, slice(None), *within)
    windows = windows[taken]
    # (batch, places, channels, kernel) to (batch, places, kernel, channels)
    windows = np.moveaxis(windows, rank + 1, -1)
    return windows.reshape(-1, int(np.prod(layer.kernel_size)) * inputs.shape[-1])


def _edge(padding: str, size: int, span: int, stride: int) -> tuple[int, int]:
    if padding == "valid":
        return 0, 0
    if padding == "causal":
        return span - 1, 0
    missing = max((-(-size // stride) - 1) * stride + span - size, 0)
    return missing // 2, missing - missing // 2
