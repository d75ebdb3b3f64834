"""Theorem 5.3.1 of Lee (2020): worked numbers, and the inequality behind it."""

import numpy as np
import pytest

from keras_sparse.analysis.scaling import StepsBound, bound_steps, predicted_ratio

PLAIN = StepsBound(delta=1, beta=1, smoothness=1, eps=0.1)
GROWING = StepsBound(delta=1, beta=1, smoothness=1, eps=0.1, m_v=10)


def test_worked_numbers():
    assert (PLAIN.c, PLAIN.t, PLAIN.critical_batch) == pytest.approx((200, 10, 20))
    wanted = [800, 400, 80, 40, 26.6667, 22.8571, 20]
    steps = PLAIN.steps([1, 2, 10, 20, 40, 80, np.inf])
    np.testing.assert_allclose(steps, wanted, atol=1e-4)
    assert GROWING.t == pytest.approx(5)
    np.testing.assert_allclose(GROWING.steps([10, 30, np.inf]), [80, 48, 40])


def test_the_bound_is_smooth_where_scaling_ends():
    h = 1e-6
    left, at, right = bound_steps([20 - h, 20, 20 + h], 200, 10)
    assert at == pytest.approx(2 * 200 / 10)
    assert (at - left) / h == pytest.approx(-200 / 100, rel=1e-4)
    assert (right - at) / h == pytest.approx(-200 / 100, rel=1e-4)


def test_its_shape():
    sizes = np.geomspace(1, 1e4, 400)
    steps = bound_steps(sizes, 200, 10)
    assert (np.diff(steps) < 0).all()
    slopes = np.diff(steps) / np.diff(sizes)
    assert (np.diff(slopes) > -1e-9).all()
    small = sizes[sizes <= 10]
    np.testing.assert_allclose(bound_steps(2 * small, 200, 10), bound_steps(small, 200, 10) / 2)
    beyond = steps[sizes >= 20]
    assert (beyond <= 40).all()
    assert (beyond >= 20).all()


def test_the_tight_bound():
    sizes = np.array([1, 5, 10, 20, 100, np.inf])
    np.testing.assert_allclose(PLAIN.steps(sizes, tight=True)[:5], PLAIN.steps(sizes)[:5])
    np.testing.assert_allclose(GROWING.steps([2, 10], tight=True), GROWING.steps([2, 10]))
    np.testing.assert_allclose(GROWING.steps([30, 100], tight=True), [35.5556, 24.2], atol=1e-4)
    np.testing.assert_allclose(GROWING.steps(100), 42.1053, atol=1e-4)


def test_the_best_learning_rate_grows_up_to_the_critical_batch():
    np.testing.assert_allclose(PLAIN.optimal_lr([1, 10, 20, 1e3, np.inf]), [0.05, 0.5, 1, 1, 1])


def test_the_inequality_of_the_mean_gradient_on_a_noisy_quadratic():
    bound = StepsBound(delta=0.5, beta=1, smoothness=1, eps=0.1)
    assert bound.gradient_bound(0.1, 100, 1) == pytest.approx(0.2)
    v, exact = 1.0, []
    for _ in range(100):
        exact.append(v)
        v = 0.81 * v + 0.01
    assert np.mean(exact) == pytest.approx(0.1024931, abs=1e-7)
    generator = np.random.default_rng(0)
    w, means = np.ones(4000), np.zeros(4000)
    for _ in range(100):
        means += w**2 / 100
        w = w - 0.1 * (w + generator.normal(size=w.shape))
    assert abs(means.mean() - 0.1024931) < 3 * means.std() / np.sqrt(4000)


def test_the_predicted_ratio():
    found = predicted_ratio((1.0043, 1), (0.5450, 1), (3.0877, 1))
    assert found == pytest.approx(1.69, abs=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bound_steps(0, 1, 1), "batch_size must be"),
        (lambda: bound_steps("many", 1, 1), "batch_size must be"),
        (lambda: bound_steps(1, 0, 1), "c must be"),
        (lambda: StepsBound(1, 1, 1, eps=0.3, m_v=10), r"below 2 beta / m_v = 0.2"),
        (lambda: PLAIN.gradient_bound(1.1, 10, 1), "proven up to mu"),
        (lambda: predicted_ratio(1.0, (1, 1), (1, 1)), "a pair of numbers"),
    ],
)
def test_what_is_out_of_range_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
