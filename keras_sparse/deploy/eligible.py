"""The same computation with padding that XNNPACK's sparse kernels take."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_sparse.messages.arguments import instance
from keras_sparse.probe.copies import copy_states
from keras_sparse.probe.layer_graph import Call, layer_graph
from keras_sparse.probe.runtime.nodes import added, same_padding


@dataclasses.dataclass(frozen=True)
class _Axis:
    """How a kernel is rewritten along one axis, for a padding of `reach` on both sides.

    Args:
        reach: Half the new kernel's size, rounded down.
        parts: For each shift of the input by 0 or 1, where taps of the old kernel go in the new.
    """

    reach: int
    parts: tuple[tuple[int, dict[int, int]], ...]


@dataclasses.dataclass(frozen=True)
class _Plan:
    rows: _Axis
    columns: _Axis
    normalization: Any

    @property
    def parts(self) -> list[tuple[tuple[int, dict[int, int]], tuple[int, dict[int, int]]]]:
        return list(itertools.product(self.rows.parts, self.columns.parts))


def make_eligible(model: keras.Model) -> keras.Model:
    """Rewrites strided convolutions with one-sided padding so that XNNPACK can run sparse.

    Keras pads an even size on one side for strides of 2, XNNPACK's sparse kernels take padding on
    all four sides alike. A 3x3 depthwise convolution becomes a 5x5 one with zeros in the first row
    and column. A first convolution of 3 channels, and a 5x5 depthwise one, reach further than
    padding on both sides lets them: each becomes the sum of up to four, of the input shifted by a
    row, a column or both; a batch normalization behind it is folded into them. Outputs are equal
    up to rounding. The model itself is left as it was.

    Call it on a trained model, before or after pruning, as the folded normalizations are not
    trained any more.

    ```python
    import keras
    from keras_sparse import deploy

    model = keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, weights=None)
    assert not deploy.eligibility(model).all_fast()
    assert deploy.eligibility(deploy.make_eligible(model)).all_fast()
    ```

    Args:
        model: A built functional or Sequential model.

    Returns:
        A new model, which is not compiled. Where nothing is to be rewritten, it is a copy.

    Raises:
        ValueError: If the model has no graph of layers, leaves its image size open, or uses a
            layer that is to be rewritten several times.

    Source: XNNPACK's `subgraph.c`, by what it asks of padding.
    """
    instance("model", model, keras.Model, "a keras.Model")
    graph = layer_graph(model)
    calls = list(graph.walk())
    plans, passed = _plans(calls)
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs, model.outputs, name=model.name)
    origin: dict[int, Any] = {}
    pairs: list[tuple[Any, Any]] = []
    values: list[tuple[Any, list[np.ndarray]]] = []

    def clone(layer: Any) -> Any:
        copy = layer.__class__.from_config(layer.get_config())
        origin[id(copy)] = layer
        pairs.append((layer, copy))
        return copy

    def call(copy: Any, *args: Any, **kwargs: Any) -> Any:
        layer = origin.get(id(copy), copy)
        if id(layer) in passed:
            return args[0]
        plan = plans.get(id(layer))
        if plan is not None:
            return _rewritten(layer, plan, args[0], values)
        outputs = copy(*args, **kwargs)
        if isinstance(copy, keras.layers.Layer) and copy.weights and copy is not layer:
            values.append((copy, layer.get_weights()))
        return outputs

    built = keras.models.clone_model(model, clone_function=clone, call_function=call)
    for layer, weights in values:
        layer.set_weights(weights)
    copy_states(*zip(*pairs, strict=True))
    return built


def _plans(calls: list[Call]) -> tuple[dict[int, _Plan], set[int]]:
    """What is done with each layer that is rewritten, and the layers that are left out."""
    maker = {id(x): call for call in calls for x in call.outputs}
    readers: dict[int, list[Call]] = {}
    for call in calls:
        for x in call.inputs:
            readers.setdefault(id(x), []).append(call)
    times = Counter(id(call.operation) for call in calls)
    plans: dict[int, _Plan] = {}
    passed: set[int] = set()
    for call in calls:
        layer = call.operation
        if not _is_strided(layer):
            continue
        source, padding = call.inputs[0], (0, 0, 0, 0)
        before = maker.get(id(source))
        pad = before.operation if before is not None else None
        if isinstance(pad, layers.ZeroPadding2D) and len(readers[id(source)]) == 1 and before:
            source = before.inputs[0]
            (top, bottom), (left, right) = pad.padding
            padding = (top, bottom, left, right)
        else:
            pad = None
        size = layer.kernel.shape[:2]
        if None in source.shape[1:3]:
            raise ValueError(
                f"Layer {layer.name!r} takes images of shape {source.shape[1:3]}: how they are "
                "padded depends on the size. Rebuild the model with a fixed Input shape."
            )
        if layer.padding == "same":
            inner = call.inputs[0].shape[1:3]
            padding = added(padding, same_padding(inner, size, layer.strides, (1, 1)))
        plan = _plan(layer, source.shape[1:3], call.outputs[0].shape[1:3], size, padding)
        if plan is None:
            continue
        if times[id(layer)] > 1:
            raise ValueError(
                f"Layer {layer.name!r} is called {times[id(layer)]} times, and cannot be "
                "rewritten. Give each call a layer of its own."
            )
        after = readers.get(id(call.outputs[0]), [])
        if len(plan.parts) > 1 and len(after) == 1 and _folds(layer, after[0].operation):
            plan = dataclasses.replace(plan, normalization=after[0].operation)
            passed.add(id(after[0].operation))
        plans[id(layer)] = plan
        if pad is not None:
            passed.add(id(pad))
    return plans, passed


def _is_strided(layer: Any) -> bool:
    if type(layer) is layers.Conv2D:
        first = layer.kernel.shape[2] == 3 and layer.kernel_size == (3, 3) and layer.groups == 1
    else:
        first = type(layer) is layers.DepthwiseConv2D and layer.kernel_size in ((3, 3), (5, 5))
    return (
        first
        and tuple(layer.strides) == (2, 2)
        and tuple(layer.dilation_rate) == (1, 1)
        and layer.data_format == "channels_last"
    )


def _folds(layer: Any, normalization: Any) -> bool:
    linear = layer.activation is keras.activations.linear
    return linear and isinstance(normalization, layers.BatchNormalization)


def _plan(
    layer: Any,
    lengths: tuple[int, ...],
    made: tuple[int, ...],
    size: tuple[int, ...],
    padding: tuple[int, int, int, int],
) -> _Plan | None:
    """How a layer is rewritten, `None` if it fits already or no rewriting is known."""
    depthwise = isinstance(layer, layers.DepthwiseConv2D)
    if padding == (size[0] // 2,) * 4:
        return None
    for reach in (1, 2) if depthwise else (1,):
        rows, columns = (_axis(reach, size[i], padding[2 * i], lengths[i], made[i]) for i in (0, 1))
        one_each = rows and columns and len(rows.parts) == len(columns.parts) == 1
        if rows and columns and (one_each or not depthwise or reach == 2):
            return _Plan(rows, columns, None)
    return None


def _axis(reach: int, size: int, before: int, length: int, made: int) -> _Axis | None:
    """Rewrites `size` taps, the first of which is `before` ahead of the place of the output."""
    if made != -(-length // 2):
        return None
    # The input shifted by one has lost its first entry, so that only what lies further is left.
    near = {tap: tap - before + reach for tap in range(size) if tap - before <= reach}
    far = {tap: tap - before - 1 + reach for tap in range(size) if tap - before == reach + 1}
    if min(near.values(), default=0) < 0 or len(near) + len(far) < size:
        return None
    return _Axis(reach, tuple((shift, taps) for shift, taps in ((0, near), (1, far)) if taps))


def _rewritten(layer: Any, plan: _Plan, x: Any, values: list[tuple[Any, list[np.ndarray]]]) -> Any:
    """The layers that compute what a layer computes; their weights are put into `values`."""
    kernel, bias = layer.get_weights()[0], None
    if layer.use_bias:
        bias = layer.get_weights()[1]
    depthwise = isinstance(layer, layers.DepthwiseConv2D)
    if plan.normalization is not None:
        kernel, bias = _folded(plan.normalization, kernel, bias, depthwise)
    size = (2 * plan.rows.reach + 1, 2 * plan.columns.reach + 1)
    total = None
    for i, ((down, rows), (right, columns)) in enumerate(plan.parts):
        name = layer.name if len(plan.parts) == 1 else f"{layer.name}_{down}{right}"
        new = np.zeros((*size, *kernel.shape[2:]), kernel.dtype)
        new[np.ix_(list(rows.values()), list(columns.values()))] = kernel[
            np.ix_(list(rows), list(columns))
        ]
        weights = [new] if bias is None or i else [new, bias]
        common = {"use_bias": len(weights) > 1, "name": name, "dtype": layer.dtype_policy}
        part: Any
        if depthwise:
            part = layers.DepthwiseConv2D(size, 2, **common)
        else:
            part = layers.Conv2D(layer.filters, size, 2, **common)
        shifted = _shifted(x, (down, right), depthwise, f"{name}_shift", values)
        padded = layers.ZeroPadding2D((plan.rows.reach, plan.columns.reach), name=f"{name}_pad")
        made = part(padded(shifted))
        values.append((part, weights))
        total = made if total is None else layers.Add(name=f"{name}_add")([total, made])
    if layer.activation is keras.activations.linear:
        return total
    return layers.Activation(layer.activation, name=f"{layer.name}_activation")(total)


def _shifted(
    x: Any,
    by: tuple[int, int],
    inside: bool,
    name: str,
    values: list[tuple[Any, list[np.ndarray]]],
) -> Any:
    """The input moved up by a row, left by a column or both, with zeros behind."""
    if by == (0, 0):
        return x
    if not inside:  # What comes before the first convolution may be anything.
        # Of the same, even, size: for odd ones the converter writes SAME.
        x = layers.ZeroPadding2D(((0, by[0]), (0, by[1])), name=f"{name}_behind")(x)
        return layers.Cropping2D(((by[0], 0), (by[1], 0)), name=name)(x)
    shift = layers.DepthwiseConv2D(3, padding="same", use_bias=False, trainable=False, name=name)
    shifted = shift(x)
    kernel = np.zeros(shift.kernel.shape, "float32")
    kernel[1 + by[0], 1 + by[1]] = 1
    values.append((shift, [kernel]))
    return shifted


def _folded(
    normalization: Any, kernel: np.ndarray, bias: np.ndarray | None, depthwise: bool
) -> tuple[np.ndarray, np.ndarray]:
    """A kernel and a bias that compute the batch normalization behind them too."""
    to_numpy = keras.ops.convert_to_numpy
    mean, variance = (
        to_numpy(normalization.moving_mean),
        to_numpy(normalization.moving_variance),
    )
    scale = 1 / np.sqrt(variance + normalization.epsilon)
    if normalization.scale:
        scale = scale * to_numpy(normalization.gamma)
    offset = to_numpy(normalization.beta) if normalization.center else np.zeros_like(mean)
    shape = (*kernel.shape[2:],) if depthwise else (1, kernel.shape[-1])
    moved = mean if bias is None else mean - bias
    return kernel * scale.reshape(shape), offset - moved * scale
