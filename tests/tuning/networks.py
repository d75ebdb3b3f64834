"""What the sweeps of these tests train, at the top of a file where other processes find it."""

import os
import time
from pathlib import Path

import keras
import keras_tuner
import numpy as np

import keras_sparse as ks


def samples(count=64):
    """Samples of three classes that a few epochs tell apart."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(3, 6))
    y = generator.integers(0, 3, count).astype("int32")
    x = (centres[y] + 0.4 * generator.normal(size=(count, 6))).astype("float32")
    return x, y


def build_model(hp):
    layers = [keras.layers.Dense(16, "relu"), keras.layers.Dense(3)]
    model = keras.Sequential([keras.Input((6,)), *layers])
    model.compile(
        keras.optimizers.SGD(hp.Float("learning_rate", 1e-2, 1.0, sampling="log"), momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")],
        jit_compile=False,
    )
    return model


def hypermodel(**settings):
    return ks.tuning.SparseHyperModel(build_model, **{"methods": ["gmp"], **settings})


class Untrained(keras_tuner.HyperModel):
    """Dense kernels of a size that is searched, and no training."""

    def __init__(self, failing=False):
        super().__init__()
        self.failing = failing

    def build(self, hp):
        units = hp.Int("units", 1, 16)
        hp.Float("rate", 1e-3, 1.0, sampling="log")
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(units, use_bias=False)])
        model.compile("sgd", "mse")
        return model

    def fit(self, hp, model, *args, **kwargs):
        if self.failing:
            raise FloatingPointError("Training diverged")
        return {}


class Epochs(keras.callbacks.Callback):
    """Writes each epoch that begins to a file, with the process, and sleeps in it."""

    def __init__(self, file, seconds=0.0):
        super().__init__()
        self.file, self.seconds = str(file), seconds

    def on_epoch_begin(self, epoch, logs=None):
        place = [str(os.getpid()), self.model.name, str(epoch)]
        with Path(self.file).open("a", encoding="utf-8") as file:
            file.write(" ".join(place) + "\n")
        time.sleep(self.seconds)


def epochs_of(file):
    """Process and number of each epoch that began."""
    path = Path(file)
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return [(int(line.split()[0]), int(line.split()[-1])) for line in lines]


def network():
    """A network for studies of batch sizes."""
    layers = [keras.layers.Dense(12, "relu"), keras.layers.Dense(3)]
    return keras.Sequential([keras.Input((6,)), *layers])
