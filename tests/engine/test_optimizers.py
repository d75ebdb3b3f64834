"""Optimizers that hold others, and trainings without `model.optimizer`."""

import keras
import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.engine.buffers import parts
from tests.cases import METHODS, REGIMES
from tests.training import STEPS, assert_same, compiled, dense_net, fit, values

pytestmark = pytest.mark.filterwarnings("ignore::keras_sparse.SparsityWarning")
# One of each kind: masks by magnitude, by gradients, of dense weights kept apart.
ALSO_ON_JAX = ("GMP", "RigL", "EdgePopup")


def multi(rate=0.05):
    def sgd():
        return keras.optimizers.SGD(rate, momentum=0.9)

    held = keras.optimizers.OptimizerMap(sgd(), {".*hidden/.*": sgd()})
    return keras.optimizers.MultiOptimizer(held)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.jax])
        if name in ALSO_ON_JAX
        else pytest.param(name, marks=[] if name in REGIMES else [pytest.mark.thorough])
        for name in METHODS
    ],
)
def test_several_optimizers_train_as_one(images, name):
    """Two optimizers of equal settings give what one gives."""
    one, two = compiled(dense_net(), keras.optimizers.SGD(0.05, momentum=0.9)), dense_net()
    compiled(two, multi())
    mine = two.optimizer
    for model in (one, two):
        fit(model, images, METHODS[name](), epochs=6)
    assert two.optimizer is mine
    assert_same(one, two, tolerance=1e-6)


@pytest.mark.jax
def test_resets_and_slots_are_those_of_each_part(images):
    held = keras.optimizers.OptimizerMap(
        keras.optimizers.Adam(0.01), {".*hidden/.*": keras.optimizers.SGD(0.05, momentum=0.9)}
    )
    model = compiled(dense_net(), keras.optimizers.MultiOptimizer(held))
    seen = {}

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            sparse = self.model.optimizer
            seen["buffers"] = [buffer.path for buffer in sparse.buffers]
            seen["slots"] = [len(slots) for slots in sparse.slots]

    fit(model, images, ks.ACDC(0.8, schedule="DCDCDC"), Look())
    assert all("hidden" in path and "momentum" in path for path in seen["buffers"])
    assert len(seen["buffers"]) == 2
    assert len(parts(model.optimizer)) == 2
    fit(model, images, ks.RigL(0.8), Look())
    assert seen["slots"] == [1, 2], "SGD has one moment of a weight, Adam two"


@pytest.mark.parametrize(
    "name",
    [
        *["GMP", "StaticMask", "RigL", "DPF", "EdgePopup"],
        *[pytest.param(name, marks=pytest.mark.thorough) for name in ("ACDC", "CyclicGaP")],
    ],
)
def test_a_loop_of_ones_own_is_fit(images, name):
    import tensorflow as tf

    model, fitted = dense_net(), compiled(dense_net())
    fit(fitted, images, METHODS[name]())
    own = keras.optimizers.SGD(0.05, momentum=0.9, weight_decay=1e-3)
    optimizer = ks.sparse_optimizer(own, model, METHODS[name](), steps=6 * STEPS, epochs=6)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    x, y = images

    @tf.function
    def step(images, labels):
        with tf.GradientTape() as tape:
            value = loss(labels, model(images, training=True))
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

    for _ in range(6):
        for i in range(STEPS):
            step(x[16 * i : 16 * i + 16], y[16 * i : 16 * i + 16])
    assert_same(fitted, model, tolerance=1e-5)
    zeros = [np.count_nonzero(value == 0) for value in values(model)]
    assert zeros == [np.count_nonzero(value == 0) for value in values(fitted)]


def test_a_model_with_optimizers_of_its_own(images):
    import tensorflow as tf

    class Own(keras.Model):
        def __init__(self, net):
            super().__init__()
            self.net, self.built = net, True

        def compile(self, own):
            super().compile()
            self.own = own

        def train_step(self, data):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(self.net(data[0], training=True)))
            slopes = tape.gradient(loss, self.net.trainable_variables)
            self.own.apply_gradients(zip(slopes, self.net.trainable_variables, strict=True))
            return {"loss": loss}

    silent = Own(dense_net())
    silent.compile(keras.optimizers.SGD(0.01))
    with pytest.warns(ks.SparsityWarning, match="took no step in epoch 1") as told:
        fit(silent, images, ks.GMP(0.8), epochs=3)
    assert sum("took no step" in str(one.message) for one in told) == 1
    model = Own(dense_net())
    method = ks.GMP(0.8)
    model.compile(
        ks.sparse_optimizer(keras.optimizers.SGD(0.01), model.net, method, steps=3 * STEPS)
    )
    fit(model, images, epochs=3)
    assert ks.report(model.net).sparsity == pytest.approx(0.8, abs=2e-3)


def test_what_needs_fit_is_refused_outside_of_it():
    model = dense_net()
    for method in (ks.SAM(), ks.CrAM([0.5])):
        with pytest.raises(ValueError, match="callback of fit"):
            ks.sparse_optimizer(keras.optimizers.SGD(), model, method, steps=10)
    with pytest.raises(ValueError, match="method="):
        ks.sparse_optimizer(keras.optimizers.SGD(), model, "gmp", steps=10)
    for steps in (0, 1.5, True):
        with pytest.raises(ValueError, match="steps="):
            ks.sparse_optimizer(keras.optimizers.SGD(), model, ks.GMP(0.5), steps=steps)
