"""Small networks for MNIST, and how the benchmarks train images."""

from typing import Any

import keras
from keras import layers

import keras_sparse as ks


def lenet5(seed: int) -> keras.Model:
    """LeNet-5 with batch normalization, whose inputs but the first come in fours."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((28, 28, 1))], name="lenet5")
    for i, filters in enumerate((8, 16), start=1):
        model.add(layers.Conv2D(filters, 5, use_bias=False, name=f"conv{i}"))
        model.add(layers.BatchNormalization(name=f"norm{i}"))
        model.add(layers.ReLU())
        model.add(layers.MaxPooling2D(2))
    model.add(layers.Flatten())
    for i, units in enumerate((120, 84), start=1):
        model.add(layers.Dense(units, use_bias=False, name=f"dense{i}"))
        model.add(layers.BatchNormalization(name=f"dense_norm{i}"))
        model.add(layers.ReLU())
    model.add(layers.Dense(10, name="logits"))
    return model


def five_convolutions(width: int, seed: int) -> keras.Model:
    """Five convolutions with batch normalization, the first half as wide as the rest."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((28, 28, 1))], name="convolutions")
    for i, strides in enumerate((2, 2, 1, 2, 1)):
        filters = 2 * width if i else width
        model.add(layers.Conv2D(filters, 3, strides, "same", use_bias=False, name=f"conv{i + 1}"))
        model.add(layers.BatchNormalization(name=f"norm{i + 1}"))
        model.add(layers.ReLU())
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(10, name="logits"))
    return model


def compiled(
    model: keras.Model, rate: Any, weight_decay: float | None = None, **more: Any
) -> keras.Model:
    """The model with SGD of momentum 0.9 and batch normalizations of momentum 0.9."""
    ks.models.set_batch_norm_momentum(model, 0.9)
    model.compile(
        keras.optimizers.SGD(rate, momentum=0.9, weight_decay=weight_decay),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        # A metric by its name is made in the first step, which is then traced twice.
        metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")],
        **more,
    )
    return model
