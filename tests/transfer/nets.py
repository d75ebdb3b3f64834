"""A small upstream model that is pruned, and a task for it."""

import keras
import numpy as np
from keras import layers

import keras_sparse as ks


def upstream(seed=0, classes=4, activation=None):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(6, 3, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(16, activation="relu", name="hidden"),
            layers.Dropout(0.3, seed=1),
            layers.Dense(classes, activation=activation, name="top"),
        ],
        name="upstream",
    )


def pruned(sparsity=0.8, **kwargs):
    model = upstream(**kwargs)
    ks.prune(model, sparsity, exclude="top")
    return model


class Subclassed(keras.Model):
    """Whose graph cannot be seen."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden = layers.Dense(6, activation="relu", name="hidden")
        self.top = layers.Dense(3, name="top")

    def call(self, x):
        return self.top(self.hidden(x))


def values(variables):
    return [keras.ops.convert_to_numpy(variable).copy() for variable in variables]


def all_same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
