"""Durations, and schedules in worked numbers."""

import keras
import numpy as np
import pytest

from keras_sparse import Constant, Duration, OneShot, Polynomial
from keras_sparse.sparsity.duration import Run

RUN = Run(epochs=10, steps_per_epoch=100)


@pytest.mark.parametrize(
    ("value", "steps"),
    [
        (3, 300),
        (0.5, 50),
        ("3ep", 300),
        ("2.5 epochs", 250),
        ("40st", 40),
        ("75%", 750),
        (Duration(steps=7), 7),
        ({"fraction": 0.1}, 100),
    ],
)
def test_durations(value, steps):
    duration = Duration.of(value)
    assert duration.to_steps(RUN) == steps
    assert Duration.of(duration.get_config()) == duration


@pytest.mark.parametrize("value", ["3", "ep", "-1ep", "120%", -1, "1.5st", None, True, [1]])
def test_bad_durations(value):
    with pytest.raises(ValueError, match=r"time is|must be|Duration"):
        Duration.of(value)
    with pytest.raises(ValueError, match="exactly one unit"):
        Duration(epochs=1, steps=2)


def sparsity_at(schedule, step, final, run):
    steps, values = schedule.sparsities(run, np.float64(final))
    return dict(zip(steps.tolist(), values.tolist(), strict=True))[step]


def test_cubic_worked_example():
    schedule = Polynomial(begin="0st", end="100st", every="25st")
    run = Run(1, 200)
    wanted = {0: 0, 25: 0.520312, 50: 0.7875, 75: 0.885938, 100: 0.9}
    for step, value in wanted.items():
        assert sparsity_at(schedule, step, 0.9, run) == pytest.approx(value, abs=1e-6)


def test_the_last_update_is_at_the_end_whatever_the_interval():
    schedule = Polynomial(begin=1, end=40, every=5, initial=0.05)
    run = Run(100, 1)
    steps, values = schedule.sparsities(run, np.float64(0.9))
    assert steps.tolist() == [1, 6, 11, 16, 21, 26, 31, 36, 40]
    assert values[0] == pytest.approx(0.05)
    assert values[-2] == pytest.approx(0.899083, abs=1e-6)
    assert values[-1] == 0.9


def test_one_shot_and_constant():
    steps, values = OneShot(2).sparsities(RUN, np.float64(0.8))
    assert (steps.tolist(), values.tolist()) == ([200], [0.8])
    steps, values = Constant(begin=1, end=3, every=1).sparsities(RUN, np.array([0.5, 0.2]))
    assert steps.tolist() == [100, 200, 300]
    assert values.tolist() == [[0.5, 0.2]] * 3


@pytest.mark.parametrize(
    "schedule", [OneShot(12), OneShot("1000st"), Polynomial(end=11), Polynomial(11, 12)]
)
def test_what_would_never_come_about_raises(schedule):
    with pytest.raises(ValueError, match="only 1000 steps"):
        schedule.updates(RUN)


def test_begin_after_end():
    with pytest.raises(ValueError, match="comes after"):
        Polynomial(5, 4).updates(RUN)


def test_bad_arguments():
    with pytest.raises(ValueError, match="initial must be a number"):
        Polynomial(initial=1.0)
    with pytest.raises(ValueError, match="power"):
        Polynomial(power=0)


@pytest.mark.parametrize("schedule", [OneShot(2), Polynomial(1, "80%", "7st", 0.1, 2), Constant(1)])
def test_serialisation(schedule):
    config = keras.saving.serialize_keras_object(schedule)
    again = keras.saving.deserialize_keras_object(config)
    for one, two in zip(schedule.updates(RUN), again.updates(RUN), strict=True):
        np.testing.assert_array_equal(one, two)
