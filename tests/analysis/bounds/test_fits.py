"""Constants from curves: what generated the curve comes back."""

import numpy as np
import pytest

from keras_sparse.analysis.bounds.fits import fit_contraction, fit_growth

STEPS = np.arange(0, 1001, 100)
LOSSES = 0.125 * np.exp(-0.002 * STEPS)


def test_an_exponential_curve():
    fit = fit_contraction(STEPS, LOSSES)
    assert fit.slope == pytest.approx(-0.002)
    assert fit.threshold(200) == pytest.approx(2649.16, abs=0.005)
    assert fit.constant(1000, 784) == pytest.approx(2.54847, abs=5e-6)
    assert fit.constant(1000, 784, "gd") == pytest.approx((1 - np.exp(-0.001)) * 1000 / 784)
    assert fit.r_squared == pytest.approx(1)


def test_noise_moves_the_slope_little():
    noise = np.exp(0.05 * np.random.default_rng(0).normal(size=len(STEPS)))
    assert fit_contraction(STEPS, LOSSES * noise).slope == pytest.approx(-0.002, rel=0.05)


@pytest.mark.parametrize(
    ("losses", "reason"),
    [(LOSSES[::-1], "does not fall"), (np.where(STEPS < 1000, 1.0, 0.5), "exponentially")],
)
def test_a_curve_that_tells_nothing(losses, reason):
    fit = fit_contraction(STEPS, losses)
    assert reason in fit.reason
    assert np.isnan([fit.rate, fit.threshold(200), fit.constant(1000, 784)]).all()


def test_growth_as_logarithm_and_as_power():
    sizes = np.array([500, 1000, 2000, 4000])
    fit = fit_growth(sizes, 3 + 20 * np.log(sizes))
    assert fit.logarithm == pytest.approx((3, 20))
    assert fit.logarithm_error < 1e-9 < fit.power_error
    fit = fit_growth(sizes, 0.1 * sizes**1.5)
    assert fit.power == pytest.approx((0.1, 1.5))
    assert fit.power_error < 1e-6 < fit.logarithm_error


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="losses must be one number for each of the 11 steps"):
        fit_contraction(STEPS, LOSSES[:5])
    with pytest.raises(ValueError, match="losses must be numbers greater than 0"):
        fit_contraction([1, 2], [1, 0])
    with pytest.raises(ValueError, match="sizes must be two different numbers"):
        fit_growth([5, 5], [1, 2])
