"""Logistic regression by L-BFGS: at a minimum, the same each time, its penalty found."""

import sys

import numpy as np
import pytest

from keras_sparse.messages.warning import SparsityWarning
from keras_sparse.transfer import logistic_regression
from keras_sparse.transfer.logistic_regression import held_out, objective


@pytest.fixture(scope="module")
def data():
    generator = np.random.default_rng(0)
    y = generator.integers(0, 3, 150)
    centers = generator.normal(size=(3, 8))
    # Features of unlike scales with a common offset, as those of a network are.
    x = (centers[y] + generator.normal(size=(150, 8))) * np.geomspace(0.1, 10, 8) + 5
    return x.astype("float32"), y


def test_gradient_norm_at_the_returned_point(data):
    x, y = data
    for l2 in (1e-4, 1e-1):
        found = logistic_regression(x, y, l2=l2)
        loss, kernel, bias = objective(found.kernel, found.bias, x.astype(float), y, l2)
        norm = np.sqrt((kernel**2).sum() + (bias**2).sum())
        assert norm < 1e-4
        assert found.gradient_norm == pytest.approx(norm)
        assert found.objective == loss


def test_the_gradient_is_that_of_the_objective(data):
    x, y = data[0].astype(float), data[1]
    generator = np.random.default_rng(1)
    kernel, bias = generator.normal(size=(8, 3)), generator.normal(size=3)
    _, slopes, of_bias = objective(kernel, bias, x, y, 0.3)
    step = 1e-6
    for place in ((0, 0), (5, 2)):
        moved = kernel.copy()
        moved[place] += step
        rise = objective(moved, bias, x, y, 0.3)[0] - objective(kernel, bias, x, y, 0.3)[0]
        assert rise / step == pytest.approx(slopes[place], rel=1e-3, abs=1e-4)
    rise = objective(kernel, bias + np.eye(3)[0] * step, x, y, 0.3)[0]
    rise -= objective(kernel, bias, x, y, 0.3)[0]
    assert rise / step == pytest.approx(of_bias[0], rel=1e-3, abs=1e-4)


def test_no_larger_than_what_gradient_descent_finds(data):
    x, y = data[0].astype(float), data[1]
    found = logistic_regression(x, y, l2=0.01)
    kernel, bias = np.zeros((8, 3)), np.zeros(3)
    for _ in range(2000):
        loss, slopes, of_bias = objective(kernel, bias, x, y, 0.01)
        kernel, bias = kernel - 0.005 * slopes, bias - 0.005 * of_bias
    assert found.objective <= loss


def test_the_penalty_is_searched_for_and_fitted_to_all(data):
    x, y = data
    found, again = (logistic_regression(x, y, l2=[10, 1e-3, 0.1]) for _ in range(2))
    assert np.array_equal(found.kernel, again.kernel)
    assert np.array_equal(found.bias, again.bias)
    assert list(found.accuracies) == [10, 0.1, 1e-3]
    best = max(found.accuracies.values())
    assert found.l2 == max(l2 for l2, accuracy in found.accuracies.items() if accuracy == best)
    assert found.samples == 150
    alone = logistic_regression(x, y, l2=found.l2)
    assert found.objective == pytest.approx(alone.objective, abs=1e-7)
    np.testing.assert_allclose(found.predict(x), alone.predict(x), atol=0.02)


def test_a_fifth_of_each_class_is_held_out():
    y = np.array([0] * 50 + [1] * 20 + [2] * 5)
    held = held_out(y, 0.2, seed=0)
    assert [int(held[y == c].sum()) for c in range(3)] == [10, 4, 1]
    assert np.array_equal(held, held_out(y, 0.2, seed=0))
    assert not np.array_equal(held, held_out(y, 0.2, seed=1))


def test_without_a_bias(data):
    x, y = data
    found = logistic_regression(x, y, l2=0.1, use_bias=False)
    assert not found.bias.any()
    assert np.linalg.norm(objective(found.kernel, found.bias, x, y, 0.1)[1]) < 1e-4


def test_bad_input(data):
    x, y = data
    with pytest.raises(ValueError, match="features must be of shape"):
        logistic_regression(x[:10], y)
    with pytest.raises(ValueError, match="l2 must be a finite number of at least 0"):
        logistic_regression(x, y, l2=-1)
    with pytest.raises(ValueError, match="none is left"):
        logistic_regression(x[:4], y[:4])
    with pytest.raises(ValueError, match="l2 must be a penalty"):
        logistic_regression(x, y, l2=[])


def test_classes_that_a_plane_separates_have_no_minimum_without_a_penalty(monkeypatch):
    monkeypatch.setattr(sys.modules[logistic_regression.__module__], "_STEPS", 3)
    x = np.array([[0.0], [1.0], [2.0], [3.0]])
    with pytest.warns(SparsityWarning, match="larger l2"):
        logistic_regression(x, [0, 0, 1, 1], l2=0.0)
