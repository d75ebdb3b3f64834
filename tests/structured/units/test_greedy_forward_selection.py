"""Greedy forward selection on arrays: worked runs, proven rates, and what must not matter."""

import keras
import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.analysis.bounds.hull import hull_distance, polytope_diameter
from keras_sparse.analysis.bounds.pruning_rate import interior_loss_bound, subnetwork_loss_bound
from keras_sparse.structured import select_units, select_vertices

RUN_A = [[1, 0], [0, 1], [0, 0]], [0.6, 0.3]


def brute_force(phi, y, size, replacement=True):
    """`argmin l((z + q) / k)`, as it is written."""
    z, picks = np.zeros(len(y)), []
    for k in range(1, size + 1):
        losses = 0.5 * np.sum(((z + phi) / k - y) ** 2, axis=1)
        if not replacement:
            losses[picks] = np.inf
        picks.append(int(np.argmin(np.round(losses, 13))))
        z = z + phi[picks[-1]]
    return picks


def test_run_a():
    found = select_vertices(*RUN_A, size=10)
    assert found.picks.tolist() == [0, 1, 0, 2, 0, 1, 0, 0, 1, 0]
    losses = [0.125, 0.025, 0.00277778, 0.00625, 0.005, 0.00555556]
    losses += [0.0005102, 0.0015625, 0.00154321, 0]
    np.testing.assert_allclose(found.losses, losses, atol=5e-9)
    np.testing.assert_allclose(found.alpha @ np.array(RUN_A[0]), RUN_A[1], atol=1e-15)
    assert (found.n_selected, found.n_units) == (10, 3)


def test_run_b():
    hidden = np.maximum(np.eye(2) @ [[1, 0, -1], [0, 1, -1]], 0)
    kernel = np.array([0.5, 0.25, 1])
    found = select_units(hidden, kernel, [0.5, 0.25], size=6)
    assert found.picks.tolist() == [2, 0, 1, 2, 0, 1]
    losses = [0.078125, 0.03125, 0, 0.00488281, 0.005, 0]
    np.testing.assert_allclose(found.losses, losses, atol=5e-9)
    third = select_units(hidden, kernel, [0.5, 0.25], size=3)
    assert third.counts.tolist() == [1, 1, 1]
    folded = ks.structured.fold_gains(kernel[:, None], third.indices, third.gains)
    np.testing.assert_allclose(folded[:, 0], kernel)
    phi = 3 * kernel[:, None] * hidden.T / 2**0.5
    same = select_vertices(phi, np.array([0.5, 0.25]) / 2**0.5, size=6)
    assert same.picks.tolist() == found.picks.tolist()


def test_inner_products_pick_as_brute_force_does():
    generator = np.random.default_rng(0)
    for _ in range(200):
        units, rows = generator.integers(2, 12, 2)
        phi, y = generator.normal(size=(units, rows)), generator.normal(size=rows)
        assert select_vertices(phi, y, 15).picks.tolist() == brute_force(phi, y, 15)


def test_proven_and_printed_rate_on_random_instances():
    generator = np.random.default_rng(1)
    for _ in range(150):
        units, rows = generator.integers(2, 15, 2)
        phi = generator.normal(size=(units, rows))
        y = generator.normal(size=rows) * generator.choice([0.1, 1, 3])
        found, diameter = select_vertices(phi, y, 200), polytope_diameter(phi)
        least = hull_distance(phi.T, y)[0] ** 2 / 2
        assert (found.losses >= least - 1e-12).all()
        dense = 0.5 * np.sum((phi.mean(axis=0) - y) ** 2)
        for loss, floor in ((dense, dense), (least, least)):
            for form in ("harmonic", "printed"):
                for k in (1, 2, 3, 5, 10, 50, 200):
                    first = found.losses[0]
                    bound = subnetwork_loss_bound(k, first, diameter, loss, form)
                    assert found.losses[k - 1] <= bound + 1e-12, (form, k, floor)


def test_the_fast_rate_inside_of_the_hull():
    phi = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
    found = select_vertices(phi, [0.1, 0.2], 1000)
    k = np.arange(1, 1001)
    assert (2 * k**2 * found.losses <= 1 + 1e-9).all()
    assert 2 * interior_loss_bound(1, polytope_diameter(phi), 0.7 / 2**0.5) >= 1


@pytest.mark.parametrize("loss", ["mse", keras.losses.BinaryCrossentropy(from_logits=True)])
@pytest.mark.parametrize("batch_size", [None, 16])
def test_with_and_without_replacement(loss, batch_size):
    generator = np.random.default_rng(2)
    hidden, kernel = generator.random((40, 12)), generator.normal(size=12)
    targets = generator.integers(0, 2, 40)
    given = {"loss": loss, "batch_size": batch_size, "seed": 3}
    once = select_units(hidden, kernel, targets, 12, replacement=False, **given)
    assert once.counts.tolist() == [1] * 12
    np.testing.assert_allclose(once.gains, 1)
    again = select_units(hidden, kernel, targets, 30, **given)
    assert again.counts.max() > 1
    np.testing.assert_array_equal(
        again.picks, select_units(hidden, kernel, targets, 30, **given).picks
    )
    distinct = select_units(hidden, kernel, targets, 5, count_unique=True, **given)
    assert distinct.n_units == 5
    assert distinct.n_selected >= 5
    with pytest.raises(ValueError, match="size must be an integer from 1 to 12"):
        select_units(hidden, kernel, targets, 13, replacement=False, **given)


def test_a_loss_of_keras_picks_as_the_squared_one_does():
    generator = np.random.default_rng(4)
    hidden, kernel = generator.random((30, 9)), generator.normal(size=(9, 2))
    targets, bias = generator.normal(size=(30, 2)), generator.normal(size=2)
    products = select_units(hidden, kernel, targets, 8, bias=bias)
    computed = select_units(
        hidden,
        kernel,
        targets,
        8,
        bias=bias,
        loss=lambda y, p: keras.losses.mean_squared_error(y, p),
    )
    np.testing.assert_array_equal(products.picks, computed.picks)
    np.testing.assert_allclose(products.losses, computed.losses, rtol=1e-5)


def test_of_equal_units_the_first_is_picked_however_they_are_chunked(monkeypatch):
    generator = np.random.default_rng(5)
    half = generator.random((25, 7))
    hidden, kernel = np.hstack([half, half]), np.tile(generator.normal(size=7), 2)
    targets = generator.integers(0, 2, 25)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    whole = select_units(hidden, kernel, targets, 20, loss=loss)
    monkeypatch.setattr("keras_sparse.structured.units.unit_selection._CHUNK", 60)
    chunked = select_units(hidden, kernel, targets, 20, loss=loss)
    np.testing.assert_array_equal(whole.picks, chunked.picks)
    assert max(whole.picks) < 7
    assert max(select_units(hidden, kernel, targets, 20).picks) < 7


def test_random_candidates_and_tolerance():
    generator = np.random.default_rng(6)
    hidden, kernel = generator.random((40, 50)), generator.normal(size=50)
    targets = hidden @ kernel
    few = select_units(hidden, kernel, targets, 20, num_candidates=5, seed=1)
    best = select_units(hidden, kernel, targets, 20)
    assert best.losses[0] < few.losses[0]
    assert (
        len(
            {
                select_units(hidden, kernel, targets, 4, num_candidates=5, seed=s).picks.tobytes()
                for s in range(5)
            }
        )
        > 1
    )
    found = select_units(hidden, kernel, targets, epsilon=best.losses[0] / 2)
    assert found.losses[-1] <= best.losses[0] / 2 < found.losses[-2]
    with pytest.raises(ValueError, match="was not reached in 50 picks"):
        select_units(hidden, kernel, targets, epsilon=1e-12)


def test_arguments():
    hidden, kernel, y = np.ones((4, 3)), np.ones(3), np.ones(4)
    for given in ({}, {"size": 2, "epsilon": 0.1}):
        with pytest.raises(ValueError, match="One of size and epsilon"):
            select_units(hidden, kernel, y, **given)
    with pytest.raises(ValueError, match="weights must be an array with one entry for each of 3"):
        select_units(hidden, kernel[:2], y, 1)
    with pytest.raises(ValueError, match="targets must be one for each of the 4 samples"):
        select_units(hidden, kernel, y[:3], 1)
    with pytest.raises(ValueError, match="targets must be 1 numbers for each sample"):
        select_units(hidden, kernel, np.ones((4, 2)), 1)


def test_512_channels_on_1000_samples_are_scored_at_once():
    generator = np.random.default_rng(7)
    hidden, kernel = generator.random((1000, 512)), generator.normal(size=(512, 10))
    labels = generator.integers(0, 10, 1000)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert select_units(hidden, kernel, labels, 1, loss=loss).seconds[0] < 10
