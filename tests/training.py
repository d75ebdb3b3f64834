"""Small trainings that many tests share."""

import keras
import numpy as np
from keras import layers

EPOCHS, BATCH, STEPS = 6, 16, 6


def conv_net(seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(6, 3, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(24, activation="relu", name="hidden"),
            layers.Dense(4, name="logits"),
        ]
    )


def compiled(model, optimizer=None, **kwargs):
    model.compile(
        optimizer or keras.optimizers.SGD(0.05, momentum=0.9, weight_decay=1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        **kwargs,
    )
    return model


def fit(model, images, *callbacks, epochs=EPOCHS, **kwargs):
    x, y = images
    return model.fit(
        x,
        y,
        batch_size=BATCH,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
        **kwargs,
    )


def values(model):
    return [np.array(keras.ops.convert_to_numpy(v)) for v in model.trainable_variables]


def kernels(model):
    return [v for v in values(model) if v.ndim > 1]


def nonzeros(model):
    return sum(int(np.count_nonzero(kernel)) for kernel in kernels(model))


def assert_same(model, other, tolerance=0.0):
    for one, two in zip(values(model), values(other), strict=True):
        np.testing.assert_allclose(one, two, rtol=0, atol=tolerance)


class Probe(keras.callbacks.Callback):
    """Records, after every batch, whether masked weights are exactly zero."""

    def __init__(self, method):
        super().__init__()
        self.method = method
        self.kept, self.exact = [], []

    def on_train_batch_end(self, batch, logs=None):
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()
        weights = self.method.selection.variables(self.model)
        to_array = keras.ops.convert_to_numpy
        masks = [to_array(mask) for mask in self.method.optimizer.masks]
        self.kept.append([int(mask.sum()) for mask in masks])
        self.exact.append(
            all((to_array(w)[~mask] == 0).all() for w, mask in zip(weights, masks, strict=True))
        )


class Interrupt(keras.callbacks.Callback):
    """Ends a training as a crash would."""

    def __init__(self, epoch, batch=0):
        super().__init__()
        self.epoch, self.batch, self.now = epoch, batch, -1

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if self.now == self.epoch and batch == self.batch:
            raise KeyboardInterrupt
