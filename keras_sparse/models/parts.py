"""What the builders of networks share."""

import random
from collections.abc import Callable
from typing import Any

import keras
from keras import initializers, layers

from keras_sparse.messages.arguments import instance, number, random_seed


def seeds(seed: int | None) -> Callable[[], int | None]:
    """Draws a seed for each layer, or `None` without one to begin with."""
    # One seed for all layers would give layers of one shape the same weights.
    if random_seed("seed", seed) is None:
        return lambda: None
    generator = random.Random(seed)
    return lambda: generator.randrange(2**31)


def conv_bn(
    x: Any, filters: int, kernel: int, stride: int, draw: Callable[[], int | None], name: str
) -> Any:
    """A convolution without a bias and batch normalization, padded alike on all sides."""
    if stride == 2:
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    x = layers.Conv2D(
        filters,
        kernel,
        stride,
        padding="same" if stride == 1 else "valid",
        use_bias=False,
        kernel_initializer=initializers.HeNormal(draw()),
        name=name,
    )(x)
    return layers.BatchNormalization(name=f"{name}_bn")(x)


def set_batch_norm_momentum(model: keras.Model, momentum: float) -> None:
    """Sets the momentum of moving averages: with Keras's 0.99 a short run tests stale ones.

    Args:
        model: A model, whose train function is not compiled yet.
        momentum: Of all its batch normalizations, in [0, 1).
    """
    instance("model", model, keras.Model, "a keras.Model")
    number("momentum", momentum, "[0, 1)")
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = momentum
