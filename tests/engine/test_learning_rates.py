import keras
import numpy as np
import pytest

from keras_sparse.engine.buffers import learning_rates
from tests.training import compiled, conv_net

STEPS = 1000


@pytest.mark.parametrize(
    "schedule",
    [
        keras.optimizers.schedules.CosineDecay(0.2, STEPS),
        keras.optimizers.schedules.CosineDecay(0.0, 900, warmup_target=0.3, warmup_steps=100),
        0.05,
    ],
    ids=["cosine", "warm-up", "constant"],
)
def test_are_those_of_the_schedule_at_every_step(schedule):
    model = compiled(conv_net(), keras.optimizers.SGD(schedule))
    found = learning_rates(model.optimizer, STEPS, model.trainable_variables)
    every = [float(schedule(step)) if callable(schedule) else schedule for step in range(STEPS)]
    np.testing.assert_allclose(found, every, atol=2e-3 * max(every))


def test_of_a_short_run_are_exact():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5, staircase=True)
    model = compiled(conv_net(), keras.optimizers.SGD(schedule))
    found = learning_rates(model.optimizer, 60, model.trainable_variables)
    np.testing.assert_allclose(found, [float(schedule(step)) for step in range(60)], rtol=1e-6)
