"""What the builders of networks share."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import initializers, layers


def seeds(seed: int | None) -> Callable[[], int | None]:
    """Draws a seed for each layer, or `None` without one to begin with."""
    # One seed for all layers would give layers of one shape the same weights.
    if seed is None:
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
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = momentum


def check_positive(argument: str, value: float) -> None:
    """Refuses what is not greater than 0."""
    if value <= 0:
        raise ValueError(f"{argument} must be positive; got {value}.")


def check_shape(
    model: str,
    input_shape: Sequence[int],
    num_classes: int,
    rank: int | None = 3,
    smallest: int = 1,
) -> None:
    """Refuses a shape of inputs, or a number of classes, that a network cannot take."""
    check_positive("num_classes", num_classes)
    shape = tuple(input_shape)
    if not shape or any(size is None or size < 1 for size in shape):
        raise ValueError(f"input_shape must hold positive sizes only; got {shape}.")
    if rank is not None and len(shape) != rank:
        raise ValueError(
            f"{model} takes images of input_shape (height, width, channels); got {shape}. "
            "Load the data with flatten=False."
        )
    if min(shape[:2]) < smallest:
        raise ValueError(
            f"{model} needs images of at least {smallest}x{smallest} pixels; got {shape}. "
            "Enlarge the images or take lenet_300_100."
        )
