"""Small classifiers of logits that studies train from the beginning, each with named layers."""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import layers


def _mlp(shape: tuple[int, ...], classes: int) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Flatten(),
            layers.Dense(128, activation="relu", name="middle"),
            layers.Dense(128, activation="relu", name="features"),
            layers.Dense(classes, name="logits"),
        ]
    )


def _conv(shape: tuple[int, ...], classes: int, widths: tuple[int, ...]) -> keras.Model:
    """Four convolutions with batch normalization."""
    inputs = x = keras.Input(shape)
    names = ("first", "second", "middle", "fourth")
    for i, (width, name) in enumerate(zip(widths, names, strict=True)):
        x = layers.Conv2D(width, 3, strides=1 + i % 2, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU(name=name)(x)
    x = layers.GlobalAveragePooling2D(name="features")(x)
    return keras.Model(inputs, layers.Dense(classes, name="logits")(x))


NETWORKS: dict[str, Callable[[tuple[int, ...], int], keras.Model]] = {
    "mlp": _mlp,
    "small-conv": lambda shape, classes: _conv(shape, classes, (8, 16, 16, 32)),
    "conv": lambda shape, classes: _conv(shape, classes, (32, 32, 64, 64)),
}
