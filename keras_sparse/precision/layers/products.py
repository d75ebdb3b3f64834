"""Low precision in layers that are one product: dense layers and convolutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_sparse.precision.force import Site
from keras_sparse.precision.layers.swapping import attributes_of, swapped
from keras_sparse.probe.convolutions import CONVOLUTIONS, DEPTHWISE, TRANSPOSED

ONE_PRODUCT = (
    keras.layers.Dense,
    keras.layers.EinsumDense,
    *CONVOLUTIONS,
    *DEPTHWISE,
    *TRANSPOSED,
)


def rounding_weights(site: Site, layer: keras.layers.Layer) -> dict[str, Any]:
    """The weights and biases of a layer, rounded, by the names of its attributes."""
    return {name: site.weight(layer, weight) for name, weight in attributes_of(layer).items()}


def with_rounded_gradient(site: Site, layer: keras.layers.Layer) -> dict[str, Any]:
    """The activation of a layer, behind which the gradient is rounded."""
    activation = getattr(layer, "activation", None)

    def activated(y: Any) -> Any:
        y = site.result(y)
        return y if activation is None else activation(y)

    return {"activation": activated}


def one_product(layer: keras.layers.Layer, sites: list[Site]) -> dict[str, Any]:
    """The call of a layer whose input, weights and gradient are rounded."""
    (site,), own = sites, layer.call

    def call(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if site.precision.bits is None:
            return own(inputs, *args, **kwargs)
        values = {**rounding_weights(site, layer), **with_rounded_gradient(site, layer)}
        with swapped(layer, values):
            return own(site.activation(inputs), *args, **kwargs)

    return {"call": call}


def separable(layer: keras.layers.Layer, sites: list[Site]) -> dict[str, Any]:
    """The call of a separable convolution, which is two products."""
    depthwise, pointwise = sites
    own: Callable[..., Any] = layer.call

    def call(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if depthwise.precision.bits is None:
            return own(inputs, *args, **kwargs)
        hidden = ops.depthwise_conv(
            depthwise.activation(inputs),
            depthwise.weight(layer, layer.depthwise_kernel),
            strides=layer.strides,
            padding=layer.padding,
            data_format=layer.data_format,
            dilation_rate=layer.dilation_rate,
        )
        y = ops.conv(
            pointwise.activation(depthwise.result(hidden)),
            pointwise.weight(layer, layer.pointwise_kernel),
            strides=1,
            padding="valid",
            data_format=layer.data_format,
        )
        if layer.use_bias:
            side = [1] * (layer.rank + 2)
            side[-1 if layer.data_format == "channels_last" else 1] = layer.filters
            y = y + ops.reshape(pointwise.weight(layer, layer.bias), side)
        y = pointwise.result(y)
        return y if layer.activation is None else layer.activation(y)

    return {"call": call}
