"""Ranges, their scales, and Sobol's points."""

import keras_tuner
import numpy as np
import pytest

from keras_sparse.tuning import (
    IntUniform,
    LogUniform,
    Objective,
    ReverseLogUniform,
    Uniform,
    sobol_points,
)
from keras_sparse.tuning.oracles import values_at
from keras_sparse.tuning.space import check_searched, check_space


def test_a_learning_rate_is_uniform_in_its_logarithm():
    assert LogUniform(1e-4, 1).value(0.5) == pytest.approx(1e-2)


def test_momentum_is_uniform_in_the_logarithm_of_its_distance_from_one():
    wanted = [0.9999, 0.9994377, 0.9968377, 0.9822172, 0.9]
    momentum = ReverseLogUniform(0.9, 0.9999)
    assert [momentum.value(u) for u in (0, 0.25, 0.5, 0.75, 1)] == pytest.approx(wanted, abs=5e-8)


@pytest.mark.parametrize(
    "searched",
    [Uniform(0.8, 0.98), LogUniform(1e-4, 1), ReverseLogUniform(0.9, 0.9999), IntUniform(3, 19)],
)
def test_a_point_of_keras_tuner_s_space_is_the_value_of_the_range(searched):
    hp = keras_tuner.HyperParameters()
    searched.declare("x", hp)
    for u in (0.0, 0.3, 0.5, 0.9):
        own = keras_tuner.HyperParameters()
        own.values = values_at(hp, [u])
        value = searched.declare("x", own)
        assert value == pytest.approx(searched.value(u), abs=1 if type(value) is int else 1e-9)
        if not isinstance(searched, IntUniform):
            assert searched.place(value) == pytest.approx(u, abs=1e-9)


def test_keras_tuner_s_own_reverse_log_is_another_scale():
    hp = keras_tuner.HyperParameters()
    hp.Float("x", 0.9, 0.9999, sampling="reverse_log")
    assert values_at(hp, [0.5])["x"] == pytest.approx(0.951, abs=1e-3)


def test_the_first_points_of_sobol_are_known():
    wanted = [(0.5, 0.5), (0.75, 0.25), (0.25, 0.75), (0.375, 0.375), (0.875, 0.875)]
    assert sobol_points(2, 5).tolist() == [list(point) for point in wanted]


def test_sixteen_points_of_sobol_fill_sixteen_bins():
    points = sobol_points(4, 16, first=0)
    for column in points.T:
        assert sorted((16 * column).astype(int)) == list(range(16))


def test_points_are_those_of_tensorflow():
    tf = pytest.importorskip("tensorflow")
    np.testing.assert_array_equal(sobol_points(3, 7), tf.math.sobol_sample(3, 7).numpy())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Uniform(2, 1), "high must be"),
        (lambda: LogUniform(0, 1), "low must be"),
        (lambda: ReverseLogUniform(0.9, 1), "high must be"),
        (lambda: IntUniform(3, 3), "high must be"),
        (lambda: check_searched("sparsity", [0.5, 1.0], "[0, 1)"), "Received: sparsity=1.0"),
        (lambda: check_searched("sparsity", [], "[0, 1)"), "a list of them, or a range"),
        (lambda: check_searched("sparsity", Uniform(0.5, 1.5), "[0, 1)"), "Received: sparsity=1.5"),
        (lambda: check_space("search_space", {"learning_rate": 0.1}), "LogUniform"),
        (lambda: Objective("val_f1"), "tell which direction is better"),
        (lambda: Objective("val_f1", "up"), "direction must be"),
        (lambda: sobol_points(0, 3), "dimensions must be"),
    ],
)
def test_what_cannot_be_searched_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
