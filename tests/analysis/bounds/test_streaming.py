"""The network of the streaming theorem, its gradients, and the bound's arithmetic."""

import math

import numpy as np
import pytest

from keras_sparse.analysis.bounds.streaming import (
    distance_bound,
    hidden_states,
    initial_weights,
    least_width,
    linearization_bound,
    linearization_error,
    logistic_loss,
    output,
    output_gradients,
    streaming_error_bound,
    streaming_step,
)


def unit(dimension=10, seed=0):
    x = np.random.default_rng(seed).normal(size=dimension)
    return x / np.linalg.norm(x)


@pytest.mark.parametrize(("width", "spread"), [(256, 0.24), (1024, 0.08)])
def test_hidden_states_keep_their_norm(width, spread):
    norms = [
        float((hidden_states(initial_weights(width, 4, 10, seed), unit())[-1] ** 2).sum())
        for seed in range(10)
    ]
    assert np.mean(norms) == pytest.approx(1, abs=3 * spread / math.sqrt(10))
    assert np.std(norms) < 2 * spread


def test_the_loss_is_above_a_quarter_of_the_error_and_falls_by_one_at_most():
    z = np.linspace(-20, 20, 4001)
    assert ((z <= 0) <= 4 * logistic_loss(z)).all()
    assert np.abs(np.diff(logistic_loss(z)) / np.diff(z)).max() <= 1


def test_gradients_are_those_of_differences():
    weights, x = initial_weights(12, 4, 5), unit(5)
    gradients, step = output_gradients(weights, x), 1e-6
    for layer, matrix in enumerate(weights):
        for place in [(0, 0), (matrix.shape[0] - 1, matrix.shape[1] - 1)]:
            moved = [each.copy() for each in weights]
            moved[layer][place] += step
            slope = (output(moved, x) - output(weights, x)) / step
            assert gradients[layer][place] == pytest.approx(slope, rel=1e-3, abs=1e-6)
    last = hidden_states(weights, x)[-1]
    np.testing.assert_allclose(gradients[-1][0], math.sqrt(12) * last)


def test_gradients_of_wide_networks_have_the_order_of_the_root_of_the_width():
    for seed in range(5):
        weights = initial_weights(1024, 4, 10, seed)
        for gradient in output_gradients(weights, unit(seed=seed)):
            assert 0.5 < np.linalg.norm(gradient) / math.sqrt(1024) < 1.5


def changed(weights, distance, seed=0):
    random = np.random.default_rng(seed)
    new = [matrix.copy() for matrix in weights]
    for matrix in new[1:-1]:
        noise = random.normal(size=matrix.shape)
        matrix += distance * noise / np.linalg.norm(noise)
    return new


def test_linearization_errs_by_more_than_in_proportion_and_within_the_bound():
    distances, errors = (0.03, 0.1, 0.3), []
    for distance in distances:
        found = []
        for seed in range(10):
            weights = initial_weights(256, 4, 10, seed)
            found.append(linearization_error(weights, changed(weights, distance, seed), unit()))
        errors.append(float(np.mean(found)))
        assert errors[-1] < linearization_bound(256, 4, distance)
    slope = np.polyfit(np.log(distances), np.log(errors), 1)[0]
    assert slope > 1.2
    weights = initial_weights(64, 3, 10)
    assert linearization_error(weights, weights, unit()) == 0


def test_twice_the_rate_moves_twice_as_far_and_two_layers_stay():
    weights, x = initial_weights(32, 4, 10), np.stack([unit(seed=s) for s in range(3)])
    one, two = (streaming_step(weights, x, [1, -1, 1], rate) for rate in (1e-4, 2e-4))
    np.testing.assert_array_equal(one[0], weights[0])
    np.testing.assert_array_equal(one[-1], weights[-1])
    for before, once, twice in zip(weights[1:-1], one[1:-1], two[1:-1], strict=True):
        np.testing.assert_allclose(twice - before, 2 * (once - before), rtol=1e-9, atol=1e-15)
        assert np.linalg.norm(once - before) > 0
    loss = [
        sum(logistic_loss(output(w, e) * y) for e, y in zip(x, (1, -1, 1), strict=True))
        for w in (weights, one)
    ]
    assert loss[1] < loss[0]


def test_the_bound_by_hand():
    bound = streaming_error_bound([0.1, 0.3], 1000, 3, 4, 2.0, 0.5, 0.1, 1.0)
    assert bound.loss == pytest.approx(0.8)
    assert bound.deviation == pytest.approx(math.sqrt(math.log(10)))
    expected = (1.5**0.75 * 2 * 2 + 4) / (9 * math.log(1000) ** 1.5)
    assert bound.remainder == pytest.approx(expected)
    assert bound.total == pytest.approx(sum(bound))
    assert distance_bound(100, 10, 2, 3.0, 0.5) == pytest.approx(0.5 * 20 * 2 / 10)


def test_the_least_width_is_the_least():
    width = least_width(5, 2, 2)
    scale = 5 * 2 * 2**6
    assert width >= scale * math.log(width) ** 3
    assert width - 1 < scale * math.log(width - 1) ** 3
    assert least_width(10, 2, 2) > width


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="weights must be a list of the matrices"):
        output([np.eye(2)], [1, 0])
    with pytest.raises(ValueError, match="y must be -1 or 1 for each example"):
        streaming_step(initial_weights(4, 2, 2), [[1, 0]], [0], 0.1)
    with pytest.raises(ValueError, match="losses must be numbers of at least 0"):
        streaming_error_bound([-1.0], 10, 2, 1, 1.0)
