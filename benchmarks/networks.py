"""Small networks for MNIST, and those of `keras.applications`."""

import keras
import numpy as np
from keras import layers


def _normalized(layer: layers.Layer) -> list[layers.Layer]:
    return [layer, layers.BatchNormalization(), layers.ReLU()]


def lenet5(seed: int) -> keras.Model:
    """LeNet-5 with batch normalization, whose inputs but the first come in fours."""
    keras.utils.set_random_seed(seed)
    parts = [keras.Input((28, 28, 1))]
    for i, filters in enumerate((8, 16), start=1):
        parts += _normalized(layers.Conv2D(filters, 5, use_bias=False, name=f"conv{i}"))
        parts.append(layers.MaxPooling2D(2))
    parts.append(layers.Flatten())
    for i, units in enumerate((120, 84), start=1):
        parts += _normalized(layers.Dense(units, use_bias=False, name=f"dense{i}"))
    return keras.Sequential([*parts, layers.Dense(10, name="logits")], name="lenet5")


def five_convolutions(width: int, seed: int) -> keras.Model:
    """Five convolutions with batch normalization, the first half as wide as the rest."""
    keras.utils.set_random_seed(seed)
    parts = [keras.Input((28, 28, 1))]
    for i, strides in enumerate((2, 2, 1, 2, 1), start=1):
        shape = {"filters": width * min(i, 2), "kernel_size": 3, "strides": strides}
        parts += _normalized(
            layers.Conv2D(**shape, padding="same", use_bias=False, name=f"conv{i}")
        )
    parts += [layers.GlobalAveragePooling2D(), layers.Dense(10, name="logits")]
    return keras.Sequential(parts, name="convolutions")


def application(name: str, seed: int, side: int | None = None) -> tuple[keras.Model, np.ndarray]:
    """A network of `keras.applications`, random also in its normalization, and an image for it."""
    keras.utils.set_random_seed(seed)
    shape = None if side is None else (side, side, 3)
    model = getattr(keras.applications, name)(
        weights=None, input_shape=shape, classifier_activation=None
    )
    random = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.name in ("gamma", "moving_variance"):
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
        elif variable.name in ("beta", "moving_mean", "bias"):
            variable.assign(random.normal(0, 0.1, variable.shape))
    side = model.input_shape[1] or 224
    return model, random.normal(size=(1, side, side, 3)).astype("float32")
