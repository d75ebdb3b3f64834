import keras
import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.posttrain.exact_obs import inverse_of, joint_costs, refit, removal_trace
from keras_sparse.posttrain.row_pattern import RowPattern
from tests.posttrain.calibrated import check_common, one_layer, small_net
from tests.training import kernels

X = np.array([[2, 0, 1], [0, 1, 1], [1, 1, 0], [0, 0, 1]], "float32")
W = np.array([1, -0.8, 0.5])


@pytest.mark.jax
def test_worked_example():
    """The third weight goes at .5, a re-fit of the other two."""
    order, cost = removal_trace(W[None], inverse_of(X.T @ X, "x"))
    assert order[0, 0] == 2
    np.testing.assert_allclose(cost[0, 0], 0.5)
    model = one_layer(W[:, None])
    ks.obc(model, (X, np.zeros(4)), 1 / 3, damping=0)
    found = kernels(model)[0][:, 0]
    np.testing.assert_allclose(found, [1.166667, -0.633333, 0], rtol=1e-6)
    np.testing.assert_allclose(np.sum((X @ (found - W)) ** 2), 0.5, rtol=1e-6)
    np.testing.assert_allclose(np.sum((X @ (W * [1, 1, 0] - W)) ** 2), 0.75, rtol=1e-6)
    refitted = np.linalg.lstsq(X[:, :2], X @ W, rcond=None)[0]
    np.testing.assert_allclose(found[:2], refitted, rtol=1e-5)


def test_downdate_is_the_inverse_without_the_weight():
    """With H = 2 X X^T the second cost is that of the smaller inverse."""
    h = 2 * X.T @ X.astype(float)
    inverse = inverse_of(h, "x")
    column = inverse[:, 2]
    smaller = (inverse - np.outer(column, column) / column[2])[:2, :2]
    wanted = [[0.111111, -0.055556], [-0.055556, 0.277778]]
    np.testing.assert_allclose(smaller, wanted, atol=1e-6)
    np.testing.assert_allclose(inverse_of(h[:2, :2], "x"), wanted, atol=1e-6)
    order, cost = removal_trace(W[None], inverse)
    left = refit(h, W[None] @ h, np.array([[True, True, False]]))[0, :2]
    second = order[0, 1]
    np.testing.assert_allclose(cost[0, 1], left[second] ** 2 / np.diag(wanted)[second], rtol=1e-5)


def test_removals_one_by_one_equal_the_refit():
    """Greedy choice checked against the error of every alternative, step by step."""
    generator = np.random.default_rng(1)
    x, w = generator.normal(size=(20, 6)), generator.normal(size=(2, 6))
    h = x.T @ x
    order, cost = removal_trace(w, inverse_of(h, "x"))
    for row in range(2):
        mask, error = np.ones(6, bool), 0.0
        for step in range(6):
            errors = {}
            for p in np.flatnonzero(mask):
                trial = mask.copy()
                trial[p] = False
                change = refit(h, w[row : row + 1] @ h, trial[None])[0] - w[row]
                errors[p] = change @ h @ change
            assert min(errors, key=errors.get) == order[row, step]
            mask[order[row, step]] = False
            np.testing.assert_allclose(cost[row, step], errors[order[row, step]] - error)
            error = errors[order[row, step]]


def test_dead_inputs_go_first():
    x = np.random.default_rng(0).normal(size=(30, 4)).astype("float32")
    x[:, 1] = 0
    model = one_layer(np.ones((4, 2)))
    ks.obc(model, (x, np.zeros(30)), 0.25)
    np.testing.assert_allclose(kernels(model)[0][:, 0], [1, 0, 1, 1], rtol=1e-3)


@pytest.mark.parametrize(("width", "run"), [(2, 6), (4, 6), (3, 3), (4, 3)])
def test_blocks_one_by_one_equal_the_refit(width, run):
    """Each time the block whose loss costs least for each weight, of all that are left."""
    generator = np.random.default_rng(2)
    x, w = generator.normal(size=(20, 6)), generator.normal(size=(3, 6))
    h = x.T @ x
    order, cost = removal_trace(w, inverse_of(h, "x"), RowPattern(None, width, run))
    blocks = [
        np.arange(start, min(start + width, first + run))
        for first in range(0, 6, run)
        for start in range(first, first + run, width)
    ]
    for row in range(len(w)):
        mask, error, step = np.ones(6, bool), 0.0, 0
        while mask.any():
            errors = {}
            for i, block in enumerate(blocks):
                if mask[block].all():
                    trial = mask.copy()
                    trial[block] = False
                    change = refit(h, w[row : row + 1] @ h, trial[None])[0] - w[row]
                    errors[i] = (change @ h @ change - error) / len(block)
            block = blocks[min(errors, key=errors.get)]
            assert sorted(order[row, step : step + len(block)]) == list(block)
            np.testing.assert_allclose(cost[row, step : step + len(block)], min(errors.values()))
            mask[block], step = False, step + len(block)
            error += min(errors.values()) * len(block)


def test_joint_cost():
    draw = np.random.default_rng(0)
    w, a = draw.normal(size=(5, 3)), draw.normal(size=(5, 3, 4))
    inverses = a @ a.swapaxes(1, 2)
    wanted = [
        each @ np.linalg.solve(inverse, each) for each, inverse in zip(w, inverses, strict=True)
    ]
    np.testing.assert_allclose(joint_costs(w, inverses), wanted)


def test_counts_pattern_and_what_stays(images):
    check_common(ks.obc, images, allocation="global")


def test_bad_input(images):
    model = small_net()
    with pytest.raises(ValueError, match="takes inputs of shape"):
        ks.obc(model, (images[0][:, :4], images[1]), 0.5)
    with pytest.raises(ValueError, match="Give more samples, or raise damping"):
        ks.obc(model, (images[0][:2], images[1][:2]), 0.5, damping=0)
    with pytest.raises(ValueError, match="damping must be a finite number of at least 0"):
        ks.obc(model, images, 0.5, damping=-1)
    with pytest.raises(
        ValueError, match="obc prunes single weights, n:m patterns, and blocks of one"
    ):
        ks.obc(model, images, 0.5, granularity="4x2")
    with pytest.raises(ValueError, match="not finite"):
        ks.obc(model, (np.full_like(images[0], np.nan), images[1]), 0.5)
    with pytest.raises(ValueError, match="not built"):
        ks.obc(keras.Sequential([keras.layers.Dense(2)]), images, 0.5)


def test_removals_are_those_of_the_updates_one_by_one():
    """Longer than the block after which the inverses are brought up to date."""
    generator = np.random.default_rng(0)
    samples, weights = generator.normal(size=(300, 150)), generator.normal(size=(2, 150))
    inverse = inverse_of(samples.T @ samples / 300, "w")
    order, cost = removal_trace(weights, inverse)
    for row, w in enumerate(weights):
        left, own = inverse.copy(), w.copy()
        for p, price in zip(order[row], cost[row], strict=True):
            open_ = np.diag(left) > 1e-12
            scores = np.where(open_, own**2 / np.where(open_, np.diag(left), 1), np.inf)
            assert p == np.argmin(scores)
            assert price == pytest.approx(scores[p])
            own -= own[p] / left[p, p] * left[:, p]
            left -= np.outer(left[:, p], left[p]) / left[p, p]
            left[p], left[:, p] = 0, 0
