"""Low precision in recurrent cells: the product with the input and that with the state."""

from __future__ import annotations

import contextlib
from typing import Any

import keras
from keras import ops

from keras_sparse.precision.force import Site
from keras_sparse.precision.layers.products import rounding_weights
from keras_sparse.precision.layers.swapping import swapped

CELLS = (keras.layers.LSTMCell, keras.layers.GRUCell, keras.layers.SimpleRNNCell)


def recurrent(layer: keras.layers.RNN, cells: list[Any], sites: list[Site]) -> dict[str, Any]:
    """The call of a layer that rounds the weights of its cells once, before the first time step.

    Args:
        layer: The layer that steps through time.
        cells: Those of its cells that compute in low precision.
        sites: A product of each.
    """
    own = layer.call

    def call(*args: Any, **kwargs: Any) -> Any:
        if not sites or sites[0].precision.bits is None:
            return own(*args, **kwargs)
        with contextlib.ExitStack() as stack:
            for cell, site in zip(cells, sites, strict=True):
                stack.enter_context(swapped(cell, rounding_weights(site, cell)))
            return own(*args, **kwargs)

    # The backend's own loops would not ask the cell.
    return {"call": call, "use_cudnn": False} if hasattr(layer, "use_cudnn") else {"call": call}


def cell(layer: Any, sites: list[Site]) -> dict[str, Any]:
    """The call of a cell whose input, state, weights and gradients are rounded."""
    own, step = layer.call, _STEPS[next(k for k in CELLS if isinstance(layer, k))]

    def call(inputs: Any, states: Any, training: bool | None = False) -> Any:
        if sites[0].precision.bits is None:
            return own(inputs, states, training=training)
        variables = [v for v in (layer.kernel,) if isinstance(v, keras.Variable)]
        weights = rounding_weights(sites[0], layer) if variables else {}
        with swapped(layer, weights):
            return step(layer, inputs, states, training, *sites)

    return {"call": call}


def _product(site: Site, x: Any, mask: Any, kernel: Any) -> Any:
    """`x kernel`, where each gate may drop other parts of x."""
    if isinstance(mask, (list, tuple)):
        parts = ops.split(kernel, len(mask), axis=1)
        products = [
            ops.matmul(site.activation(x * m), part) for m, part in zip(mask, parts, strict=True)
        ]
        return ops.concatenate(products, axis=-1)
    return ops.matmul(site.activation(x if mask is None else x * mask), kernel)


def _masks(layer: Any, x: Any, h: Any, training: bool | None) -> tuple[Any, Any]:
    dropped = layer.get_dropout_mask(x) if training and layer.dropout else None
    recurrent = (
        layer.get_recurrent_dropout_mask(h) if training and layer.recurrent_dropout else None
    )
    return dropped, recurrent


def _lstm(layer: Any, x: Any, states: Any, training: Any, of_input: Site, of_state: Site) -> Any:
    h, c = states
    dropped, recurrent_dropped = _masks(layer, x, h, training)
    z = of_input.result(_product(of_input, x, dropped, layer.kernel))
    z = z + of_state.result(_product(of_state, h, recurrent_dropped, layer.recurrent_kernel))
    if layer.use_bias:
        z = z + layer.bias
    i, f, new, o = ops.split(z, 4, axis=-1)
    c = layer.recurrent_activation(f) * c + layer.recurrent_activation(i) * layer.activation(new)
    h = layer.recurrent_activation(o) * layer.activation(c)
    return h, [h, c]


def _gru(layer: Any, x: Any, states: Any, training: Any, of_input: Site, of_state: Site) -> Any:
    h = states[0] if isinstance(states, (list, tuple)) else states
    dropped, recurrent_dropped = _masks(layer, x, h, training)
    of_x = of_input.result(_product(of_input, x, dropped, layer.kernel))
    bias: tuple[Any, Any] = (None, None)
    if layer.use_bias:
        bias = (layer.bias[0], layer.bias[1]) if layer.reset_after else (layer.bias, None)
        of_x = of_x + bias[0]
    x_z, x_r, x_h = ops.split(of_x, 3, axis=-1)
    units, kernel = layer.units, layer.recurrent_kernel
    gates = recurrent_dropped[:2] if isinstance(recurrent_dropped, (list, tuple)) else None
    if layer.reset_after:
        of_h = of_state.result(_product(of_state, h, recurrent_dropped, kernel))
        of_h = of_h if bias[1] is None else of_h + bias[1]
        h_z, h_r, h_h = ops.split(of_h, 3, axis=-1)
    else:
        of_h = of_state.result(_product(of_state, h, gates, kernel[:, : 2 * units]))
        h_z, h_r = ops.split(of_h, 2, axis=-1)
    z, r = layer.recurrent_activation(x_z + h_z), layer.recurrent_activation(x_r + h_r)
    if layer.reset_after:
        new = x_h + r * h_h
    else:
        last = recurrent_dropped[2] if gates else recurrent_dropped
        new = x_h + of_state.result(_product(of_state, r * h, last, kernel[:, 2 * units :]))
    h = z * h + (1 - z) * layer.activation(new)
    return h, [h] if isinstance(states, (list, tuple)) else h


def _simple(layer: Any, x: Any, states: Any, training: Any, of_input: Site, of_state: Site) -> Any:
    h = states[0] if isinstance(states, (list, tuple)) else states
    dropped, recurrent_dropped = _masks(layer, x, h, training)
    z = of_input.result(_product(of_input, x, dropped, layer.kernel))
    z = z + of_state.result(_product(of_state, h, recurrent_dropped, layer.recurrent_kernel))
    h = z + layer.bias if layer.use_bias else z
    h = h if layer.activation is None else layer.activation(h)
    return h, [h] if isinstance(states, (list, tuple)) else h


_STEPS: dict[type, Any] = dict(zip(CELLS, (_lstm, _gru, _simple), strict=True))
