"""A reset gives an optimizer's variables the values that they start at."""

import keras
import numpy as np
import pytest

from keras_sparse.engine.buffers import resettable_buffers, start_values
from keras_sparse.engine.rule import Rule, Update
from tests.training import OneTensor

OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "adam": lambda: keras.optimizers.Adam(0.1, amsgrad=True),
    "nadam": lambda: keras.optimizers.Nadam(0.1),
    "adagrad": lambda: keras.optimizers.Adagrad(0.1),
    "ftrl": lambda: keras.optimizers.Ftrl(0.1),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.1, momentum=0.5, centered=True),
    "lion": lambda: keras.optimizers.Lion(0.1),
    "averaged": lambda: keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5),
    "scheduled": lambda: keras.optimizers.Adam(
        keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    ),
}


class Restarting(Rule):
    """Restarts the optimizer at one step, and changes no mask."""

    def __init__(self, at, what="restart"):
        self.at, self.reset_buffers = at, what

    def due(self, step, counters):
        return keras.ops.equal(step, self.at)

    def update_masks(self, clock, counters, tensors):
        return Update(tensors.masks, {}, True)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_built_optimizer_is_at_its_start(name):
    optimizer = OPTIMIZERS[name]()
    optimizer.build([keras.Variable(np.ones(3, "float32"))])
    buffers = resettable_buffers(optimizer, "restart")
    assert any(buffer is optimizer.iterations for buffer in buffers)
    assert not any(buffer is optimizer._learning_rate for buffer in buffers)
    for buffer, start in zip(buffers, start_values(optimizer, buffers), strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(buffer), start, rtol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_after_a_restart_the_optimizer_goes_as_a_new_one(name):
    """Steps of a restarted optimizer are those of a new one from the same weights."""
    gradients = np.random.default_rng(0).normal(size=(6, 3))
    restarted = OneTensor(Restarting(3), [1.0, -2.0, 3.0], optimizer=OPTIMIZERS[name]())
    for gradient in gradients[:3]:
        restarted.step(gradient)
    new = OneTensor(Rule(), restarted.value, optimizer=OPTIMIZERS[name]())
    for gradient in gradients[3:]:
        restarted.step(gradient)
        new.step(gradient)
        np.testing.assert_allclose(restarted.value, new.value, rtol=1e-6)
    assert int(restarted.optimizer.iterations) == 3
    assert int(restarted.optimizer.step) == 6, "the clock of the plan goes on"


def test_a_reset_of_moments_leaves_the_schedule_alone():
    tensor = OneTensor(Restarting(2, "all"), [1.0, 1.0], optimizer=keras.optimizers.Adam(0.1))
    for _ in range(3):
        tensor.step([1.0, 1.0])
    assert int(tensor.optimizer.iterations) == 3
    velocity = tensor.optimizer.inner_optimizer._velocities[0]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(velocity), 0.001, rtol=1e-5)


@pytest.mark.parametrize("what", ["momentum", "all", "restart"])
def test_weights_among_moments_are_not_reset(what):
    optimizer = keras.optimizers.ScheduleFreeAdamW(0.1)
    optimizer.build([keras.Variable(np.ones(3, "float32"))])
    assert resettable_buffers(optimizer, "none") == []
    with pytest.raises(ValueError, match="ScheduleFreeAdamW, which keeps weights"):
        resettable_buffers(optimizer, what)
