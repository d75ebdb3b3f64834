"""Fits of steps over batch sizes, regimes and speed-ups."""

import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.analysis.scaling import (
    bound_steps,
    critical_batch,
    fit_scaling,
    speedup_table,
    speedups,
)

SIZES = 2.0 ** np.arange(13)


def test_the_theorem_s_constants_are_found_again():
    fit = fit_scaling(SIZES, bound_steps(SIZES, 200, 10))
    assert fit.parameters == pytest.approx({"C": 200, "T": 10}, rel=1e-3)
    assert fit.critical_batch == pytest.approx(20, rel=1e-3)
    assert fit.r_squared > 0.9999


def test_they_are_found_in_noise():
    noise = np.exp(np.random.default_rng(0).normal(0, 0.05, SIZES.size))
    fit = fit_scaling(SIZES, bound_steps(SIZES, 200, 10) * noise, bootstrap=50)
    assert fit.parameters == pytest.approx({"C": 200, "T": 10}, rel=0.15)
    low, high = fit.intervals["critical_batch"]
    assert low < fit.critical_batch < high
    assert low < 20 < high


def test_the_reciprocal_curve_is_found_again():
    fit = fit_scaling(SIZES, 1000 / SIZES + 20, "reciprocal")
    assert fit.parameters == pytest.approx({"c1": 1000, "c2": 20}, rel=1e-6)
    assert fit.critical_batch == pytest.approx(50)
    assert fit.predict(3) == pytest.approx(1000 / 3 + 20)


def test_batch_sizes_that_nothing_was_complete_at_are_left_out():
    steps = [*bound_steps(SIZES, 200, 10)[:-1], None]
    with pytest.warns(ks.SparsityWarning, match=r"No trial was complete .*4096"):
        fit = fit_scaling(SIZES, steps)
    assert fit.parameters["T"] == pytest.approx(10, rel=1e-3)


def test_regimes():
    rows = speedups([1, 2, 4, 8, 16], [100, 50, 30, 20, 19])
    assert [row.regime for row in rows] == ["perfect"] * 3 + ["maximal"] * 2
    assert [row.efficiency for row in rows][1:3] == pytest.approx([1, 100 / 120])
    assert rows[3].speedup == pytest.approx(5)
    assert rows[3].examples == 160
    assert critical_batch([1, 2, 4, 8, 16], [100, 50, 30, 20, 19]) == 4
    assert speedup_table([1, 2], [4, 2]).row_count == 2
    assert speedups([1, 4, 64], [100, 40, 10])[1].regime == "diminishing"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fit_scaling([1, 2], [2, 1]), "needs 3 batch sizes"),
        (lambda: fit_scaling([1, 2, 4], [2, 1]), "one for each of batch_sizes"),
        (lambda: fit_scaling([1, 2, 4], [2, 1, 0]), "greater than 0"),
        (lambda: fit_scaling([0, 2, 4], [2, 1, 1]), "at least 1"),
        (lambda: fit_scaling([1, 2, 4], [3, 2, 1], "power"), "model must be"),
        (lambda: speedups([1], [2], least=0), "least must be"),
    ],
)
def test_what_cannot_be_fitted_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
