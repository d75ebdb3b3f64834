"""The layer that a layer's channels go into, channel by channel."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from keras_sparse.messages.arguments import wrong
from keras_sparse.probe.convolutions import CONVOLUTIONS


class Consumer:
    """A layer that is linear in its inputs, but for its bias and activation.

    Args:
        layer: A built `Dense` layer or convolution, of one group and with channels last.

    Raises:
        ValueError: If it is another.
    """

    def __init__(self, layer: keras.layers.Layer) -> None:
        if not self.takes(layer) or not layer.built:
            raise wrong(
                "consumer",
                layer,
                "a built Dense, Conv1D or Conv2D layer of one group, with channels last",
            )
        self.layer: Any = layer

    @staticmethod
    def takes(layer: Any) -> bool:
        """Whether a layer is one of these."""
        if not isinstance(layer, CONVOLUTIONS) or layer.rank > 2:
            return type(layer) is keras.layers.Dense
        last = layer.data_format == "channels_last"
        return last and layer.groups == 1 and layer.padding != "causal"

    @property
    def kernel(self) -> Any:
        """Its kernel, a tensor."""
        return ops.convert_to_tensor(self.layer.kernel)

    @property
    def channels(self) -> int:
        """Channels that it takes."""
        return int(self.layer.kernel.shape[-2])

    def size(self, shape: tuple[int, ...]) -> int:
        """Numbers that its outputs have, given the shape of its inputs."""
        return math.prod(self.layer.compute_output_shape(shape))

    def summed(self, x: Any) -> Any:
        """Its outputs before bias and activation."""
        layer = self.layer
        if isinstance(layer, keras.layers.Dense):
            return ops.matmul(x, self.kernel)
        return ops.conv(
            x,
            self.kernel,
            strides=layer.strides,
            padding=layer.padding,
            dilation_rate=layer.dilation_rate,
            data_format="channels_last",
        )

    def each(self, x: Any, kernel: Any) -> Any:
        """What each of some channels adds to that.

        Args:
            x: These channels, shape `(batch, ..., n)`.
            kernel: The part of the kernel that is theirs, shape `(..., n, outputs)`.

        Returns:
            Shape `(n, batch, ..., outputs)`.
        """
        seen, window = self._windows(x), math.prod(kernel.shape[:-2])
        inside = ops.shape(seen)[:-1]
        rows = ops.reshape(seen, (-1, x.shape[-1], window))
        weights = ops.reshape(kernel, (window, x.shape[-1], kernel.shape[-1]))
        products = ops.matmul(ops.transpose(rows, (1, 0, 2)), ops.transpose(weights, (1, 0, 2)))
        return ops.reshape(products, (x.shape[-1], *inside, kernel.shape[-1]))

    def _windows(self, x: Any) -> Any:
        """What each place of the outputs sees, shape `(batch, ..., channels * window)`."""
        layer, window = self.layer, math.prod(self.layer.kernel.shape[:-2])
        if isinstance(layer, keras.layers.Dense):
            return x
        one = ops.reshape(ops.eye(window, dtype=x.dtype), (*layer.kernel_size, 1, window))
        return ops.depthwise_conv(
            x,
            ops.tile(one, (*[1] * layer.rank, x.shape[-1], 1)),
            strides=layer.strides,
            padding=layer.padding,
            dilation_rate=layer.dilation_rate,
            data_format="channels_last",
        )

    @property
    def bias(self) -> Any:
        """Its bias, 0 without one."""
        return ops.convert_to_tensor(self.layer.bias) if self.layer.use_bias else 0.0

    @property
    def activation(self) -> Any:
        """What is applied to its sums."""
        return self.layer.activation
