"""What the layers of a model take in: their inputs, patches of them, and products of these."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.messages.warning import SparsityWarning
from keras_sparse.posttrain.pruned_weights import PrunedWeights
from keras_sparse.probe.calibration import calibration_batches
from keras_sparse.probe.variables import owners


def hessians(chosen: PrunedWeights, data: Any, batch_size: int, method: str) -> list[np.ndarray]:
    """`H = X X^T` of the inputs of each chosen layer, over all samples and kernel positions.

    Where inputs cannot be seen H is the identity, for which every method that uses it comes down
    to magnitude, and a `SparsityWarning` names the layer.

    Memory: `d * d * 8` bytes for each layer of d inputs (`height * width * channels` of a
    kernel), and the inputs of one batch, for a convolution `height * width` times.

    Args:
        chosen: The weights to prune.
        data: Calibration data. See `calibration_batches`.
        batch_size: Samples in a batch, for arrays.
        method: Name of the method, for the warning.

    Returns:
        For each target a float64 array of shape `(d, d)`.
    """
    layers = chosen_layers(chosen)
    found: list[np.ndarray | None] = [None] * len(layers)
    for x, _ in calibration_batches(chosen.model, data, batch_size):
        for i, inputs in enumerate(recorded(chosen.model, layers, x)):
            for one in inputs:
                rows = input_rows(layers[i], one)
                product = rows.T @ rows
                found[i] = product if found[i] is None else found[i] + product
    unseen = [t.path for t, h in zip(chosen.selection.targets, found, strict=True) if h is None]
    warn_of_magnitude(unseen, method, stacklevel=4)
    sizes = [layout.matrix_shape[0] * layout.matrix_shape[1] for layout in chosen.layouts]
    return [np.eye(d) if h is None else h for d, h in zip(sizes, found, strict=True)]


def warn_of_magnitude(paths: Sequence[str], method: str, stacklevel: int) -> None:
    """Names the weights that are pruned by magnitude because their inputs cannot be seen."""
    if paths:
        warnings.warn(
            f"{method} sees the inputs of Dense, simple EinsumDense and ungrouped convolution "
            f"layers only. Pruned by magnitude instead: {', '.join(paths)}. To leave them dense, "
            "name them in exclude.",
            SparsityWarning,
            stacklevel=stacklevel,
        )


def damped(hessian: np.ndarray, damping: float, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A Hessian that can be inverted, and the inputs that are always zero.

    Args:
        hessian: Shape `(d, d)`.
        damping: Added to the diagonal, as a fraction of its mean.
        name: What the Hessian is of, for the error.

    Returns:
        The damped Hessian, with ones on the diagonal for dead inputs, and a boolean array of
        shape `(d,)`, True for those: their weights do nothing.

    Raises:
        ValueError: If the matrix is not finite.
    """
    if not np.isfinite(hessian).all():
        raise ValueError(
            f"The inputs of {name!r} are not finite. Look for NaN or infinity in the calibration "
            "data and the model's weights."
        )
    dead = np.diag(hessian) == 0
    result = hessian.copy()
    live = np.diag(hessian)[~dead]
    result[np.diag_indices_from(result)] += damping * (live.mean() if live.size else 0.0)
    result[dead, dead] = 1
    return result, dead


def chosen_layers(chosen: PrunedWeights) -> list[keras.layers.Layer | None]:
    """The layer of each target, `None` where its inputs cannot be seen."""
    owner = owners(chosen.model)
    return [
        owner[id(variable)] if _is_simple(owner[id(variable)], variable) else None
        for variable in chosen.variables
    ]


def recorded(
    model: keras.Model, layers: Sequence[keras.layers.Layer | None], x: Any
) -> list[list[Any]]:
    """The inputs that layers get, one for each time they are called on a batch."""
    seen: list[list[Any]] = [[] for _ in layers]
    with contextlib.ExitStack() as stack:
        for layer, into in zip(layers, seen, strict=True):
            if layer is not None:
                stack.enter_context(_recording(layer, into))
        model(keras.tree.map_structure(ops.convert_to_tensor, x), training=False)
    return seen


@contextlib.contextmanager
def _recording(layer: keras.layers.Layer, into: list[Any]) -> Iterator[None]:
    call = layer.call

    def record(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        # A layer inside a loop that the backend compiles gets symbols, which hold no values.
        with contextlib.suppress(TypeError, NotImplementedError):
            into.append(np.asarray(ops.convert_to_numpy(inputs), np.float64))
        return call(inputs, *args, **kwargs)

    layer.call = record
    try:
        yield
    finally:
        del layer.call


def input_rows(layer: keras.layers.Layer, inputs: np.ndarray) -> np.ndarray:
    """What each output of a layer is a weighted sum of, shape `(outputs in all, d)`.

    The order along d is that of `to_rows`: kernel positions, then input channels.
    """
    if isinstance(layer, keras.layers.Dense):
        return inputs.reshape(-1, inputs.shape[-1])
    if isinstance(layer, keras.layers.EinsumDense):
        return _einsum_rows(layer.equation, inputs)
    return _patches(layer, inputs)


def _is_simple(layer: keras.layers.Layer, variable: Any) -> bool:
    if variable.name != "kernel":
        return False
    if isinstance(layer, keras.layers.EinsumDense):
        inputs, kernel, output = _terms(layer.equation)
        summed = [index for index in kernel if index not in output]
        return all(i in inputs for i in summed) and all(
            (i in output) != (i in kernel) for i in inputs.replace(".", "")
        )
    convolutions = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
    if isinstance(layer, convolutions):
        return layer.groups == 1
    return isinstance(layer, keras.layers.Dense)


def _terms(equation: str) -> tuple[str, str, str]:
    operands, output = equation.replace(" ", "").split("->")
    inputs, kernel = operands.split(",")
    return inputs, kernel, output


def _einsum_rows(equation: str, inputs: np.ndarray) -> np.ndarray:
    term, kernel, output = _terms(equation)
    before, dots, after = term.partition("...")
    spread = inputs.ndim - len(before) - len(after)
    indices = [*before, *["."] * (spread if dots else 0), *after]
    summed = [indices.index(index) for index in kernel if index not in output]
    others = [axis for axis in range(inputs.ndim) if axis not in summed]
    width = int(np.prod([inputs.shape[axis] for axis in summed]))
    return inputs.transpose(others + summed).reshape(-1, width)


def _patches(layer: Any, inputs: np.ndarray) -> np.ndarray:
    if layer.data_format == "channels_first":
        inputs = np.moveaxis(inputs, 1, -1)
    rank = layer.rank
    reach = [(k - 1) * d + 1 for k, d in zip(layer.kernel_size, layer.dilation_rate, strict=True)]
    edges = [
        _edge(layer.padding, size, span, stride)
        for size, span, stride in zip(inputs.shape[1:-1], reach, layer.strides, strict=True)
    ]
    filled = np.pad(inputs, [(0, 0), *edges, (0, 0)])
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
