"""Small networks for MNIST."""

import keras
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
