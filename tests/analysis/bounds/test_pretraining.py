"""How much pre-training is proven to be enough: the worked numbers, and how they depend."""

import numpy as np
import pytest

from keras_sparse.analysis.bounds.pretraining import (
    contraction,
    is_overparameterized,
    pretraining_bound_terms,
    pretraining_threshold,
    sufficient_steps,
    training_factor,
)

D2 = 2**0.5


@pytest.mark.parametrize(
    ("m", "sgd", "gd"),
    [
        (1000, 6755.41, 3.45736),
        (2000, 27029.58, 10.64816),
        (5000, 168948.80, 31.06586),
        (10000, 675803.14, 64.89538),
        (50000, 16895142.0, 335.24676),
    ],
)
def test_thresholds_of_200_neurons(m, sgd, gd):
    assert pretraining_threshold(200, m, 784) == pytest.approx(sgd, rel=1e-7, abs=0.006)
    assert pretraining_threshold(200, m, 784, method="gd") == pytest.approx(gd, abs=6e-6)
    half = pretraining_threshold(200, m, 784, method="gd", exact_factor=True)
    assert half == pytest.approx(gd / 2, abs=6e-6)


def test_twice_the_data_take_four_times_the_steps():
    one, two = (pretraining_threshold(10, m, 50, 0.5) for m in (100, 200))
    assert (one, two) == (pytest.approx(919.882, abs=1e-3), pytest.approx(3682.985, abs=1e-3))
    assert two / one == pytest.approx(4.00376, abs=1e-5)


@pytest.mark.parametrize("method", ["sgd", "gd"])
def test_what_the_threshold_grows_with(method):
    def steps(k=20, m=400, d=30, c=1.0):
        return pretraining_threshold(k, m, d, c, method)

    assert steps(k=40) > steps() < steps(m=500)
    assert steps(d=40) < steps() > steps(c=1.5)
    assert steps(k=1) == 0
    with pytest.raises(ValueError, match=r"c must be less than m.* Received: c=5600"):
        pretraining_threshold(20, 400, 30, 5600.0, method)


@pytest.mark.parametrize(
    ("t", "bound"), [(0, 0.5), (1000, 0.16945824), (5000, 0.14000132), (10**6, 0.14)]
)
def test_theorem_1(t, bound):
    terms = pretraining_bound_terms(10, t, 100, 50, 0.4, D2, 80.0, c=0.5)
    assert terms.total == pytest.approx(bound, abs=5e-9)
    assert terms[:2] == (0.04, pytest.approx(0.1))


def test_theorem_9_has_the_square_of_the_norms_contraction():
    terms = pretraining_bound_terms(10, 3, 100, 50, 0.4, D2, 80.0, c=0.5, zeta=9.0, method="gd")
    assert terms.dense == pytest.approx(9 / 2000 * 0.75**6 * 80)
    assert contraction(100, 50, 0.5, "gd") == 0.75**2


def test_the_threshold_with_all_constants():
    steps = sufficient_steps(200, 1000, 784, 0.1, D2, 250.0)
    assert steps == pytest.approx(3976.19, abs=0.005)
    for method in ("sgd", "gd"):
        at = sufficient_steps(200, 1000, 784, 0.1, D2, 250.0, c=0.1, method=method)
        terms = pretraining_bound_terms(200, at, 1000, 784, 0.1, D2, 250.0, c=0.1, method=method)
        assert terms.dense == pytest.approx(terms.first + terms.diameter, abs=1e-9)
    assert sufficient_steps(2, 1000, 784, 0.1, D2, 250.0) == 0


def test_the_width_moves_the_factor_alone():
    found = [training_factor(1000, 784, n) for n in (10, 1000, 100_000)]
    assert found == [1.0] * 3
    found = [training_factor(1000, 784, n, c1=0.5, kappa=0.1) for n in (10, 1000, 100_000)]
    assert found[0] > found[2] == pytest.approx(2.0, abs=1e-6)
    assert training_factor(1000, 784, 1000, c1=4 / 3, kappa=0.25) == 4.0


def test_widths_of_table_21():
    widths = {1000: 1300, 2000: 6000, 3000: 12000, 4000: 21000, 5000: 32000}
    assert all(is_overparameterized(m, 784, n) for m, n in widths.items())
    assert not any(is_overparameterized(m, 784, n // 3) for m, n in widths.items())
    assert not is_overparameterized(700, 784, 10**6)
    assert np.isfinite([contraction(m, 784) for m in widths]).all()
