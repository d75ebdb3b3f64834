"""Small streams and networks that the tests share."""

import keras
import numpy as np
from keras import layers


def patterns(each=12, classes=4, seed=0, noise=40):
    """Noisy uint8 images of patterns, 8x8x1, class after class."""
    random = np.random.default_rng(seed)
    centers = np.random.default_rng(7).integers(40, 216, (classes, 8, 8, 1))
    labels = np.repeat(np.arange(classes), each)
    x = centers[labels] + random.normal(0, noise, (len(labels), 8, 8, 1))
    return np.clip(x, 0, 255).astype(np.uint8), labels


STANDARD = (128.0, 64.0)


def conv_net(seed=0, classes=4):
    """With batch normalization, logits, not compiled."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(6, 3, strides=2, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="relu"),
            layers.Flatten(name="flat"),
            layers.Dense(12, activation="relu", name="hidden"),
            layers.Dense(classes, name="logits"),
        ]
    )


def norm_net(seed=0, classes=4):
    """With batch normalization, and nothing whose sums depend on threads."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Flatten(),
            layers.Dense(16, name="first"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="relu"),
            layers.Dense(classes, name="logits"),
        ]
    )


def dense_net(seed=0, classes=4):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Flatten(),
            layers.Dense(16, activation="relu", name="hidden"),
            layers.Dense(classes, name="logits"),
        ]
    )


def weights(model):
    return [keras.ops.convert_to_numpy(v).copy() for v in model.weights]


def assert_same(one, other):
    for first, second in zip(one, other, strict=True):
        np.testing.assert_array_equal(first, second)
