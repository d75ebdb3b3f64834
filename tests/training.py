"""Small trainings that many tests share."""

import keras
import numpy as np
from keras import layers

from keras_sparse.engine.sparse_optimizer import SparseOptimizer
from keras_sparse.probe.layout import Layout
from keras_sparse.sparsity.selection import Target

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


def dense_net(seed=0):
    """What is enough where the kind of layer does not matter, traced in half the time."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Flatten(),
            layers.Dense(24, activation="relu", name="hidden"),
            layers.Dense(4, name="logits"),
        ]
    )


def compiled(model, optimizer=None, **kwargs):
    """Compiles with a metric that has its variables: made in the first step, it is traced twice."""
    model.compile(
        optimizer or keras.optimizers.SGD(0.05, momentum=0.9, weight_decay=1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")],
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
    """Compares a model's weights with those of another, or with arrays."""
    other = other if isinstance(other, list) else values(other)
    for one, two in zip(values(model), other, strict=True):
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


class OneTensor:
    """A sparse optimizer on one weight vector, to check a rule's numbers by hand."""

    def __init__(self, rule, weights, mask=None, optimizer=None):
        self.weight = keras.Variable(np.asarray(weights, "float32"))
        layout = Layout(self.weight.shape, (), (0,), ())
        inner = optimizer or keras.optimizers.SGD(0.1)
        self.optimizer = SparseOptimizer(inner, rule, [Target(0, "w", "w", layout)])
        self.optimizer.build([self.weight])
        if mask is not None:
            self.optimizer.set_masks([np.asarray(mask, bool)])

    def step(self, gradient):
        gradient = keras.ops.convert_to_tensor(np.asarray(gradient, "float32"))
        self.optimizer.apply([gradient], [self.weight])
        return self

    @property
    def value(self):
        """What the model computes with."""
        return keras.ops.convert_to_numpy(self.weight)

    @property
    def learned(self):
        return keras.ops.convert_to_numpy(self.optimizer.learned[0])

    @property
    def mask(self):
        return keras.ops.convert_to_numpy(self.optimizer.masks[0])

    def state(self, name):
        return keras.ops.convert_to_numpy(self.optimizer.state[name][0])
