"""Backward elimination and local imitation."""

import numpy as np
import pytest

from keras_sparse.structured import backward_elimination, local_imitation, select_units
from keras_sparse.structured.units.contributions import Contributions


def network(seed=0, rows=40, units=12, outputs=2):
    generator = np.random.default_rng(seed)
    hidden = np.maximum(generator.normal(size=(rows, units)), 0)
    kernel = generator.normal(size=(units, outputs))
    return hidden, kernel, generator.normal(size=(rows, outputs))


@pytest.mark.parametrize("rescale", [True, False])
def test_backward_elimination_is_brute_force(rescale):
    hidden, kernel, y = network()
    bias = np.array([0.3, -0.1])
    found = backward_elimination(hidden, kernel, y, 4, bias=bias, rescale=rescale)
    left = list(range(12))
    for unit, loss in zip(found.picks, found.losses, strict=True):
        losses = []
        for gone in left:
            stay = [i for i in left if i != gone]
            gain = 12 / len(stay) if rescale else 1
            made = gain * hidden[:, stay] @ kernel[stay] + bias
            losses.append(0.5 * np.mean(np.sum((made - y) ** 2, axis=1)))
        assert left[int(np.argmin(losses))] == unit
        assert loss == pytest.approx(min(losses))
        left.remove(unit)
    assert found.indices.tolist() == left
    np.testing.assert_allclose(found.gains, 3 if rescale else 1)


def test_imitation_falls_and_ends_where_the_dense_layer_is():
    hidden, kernel, _ = network(1, units=6)
    found = local_imitation(hidden, kernel, 400)
    assert (np.diff(found.losses) <= 1e-12).all()
    assert found.losses[-1] < 1e-3 * found.losses[0]
    assert found.alpha.sum() == pytest.approx(1)
    assert found.alpha.min() >= 0
    made = (hidden * (6 * found.alpha)) @ kernel
    loss = np.sum((made - hidden @ kernel) ** 2) / (2 * len(hidden))
    assert loss == pytest.approx(found.losses[-1], rel=1e-6)


def test_each_step_of_imitation_is_the_best_of_all_units_and_step_lengths():
    hidden, kernel, _ = network(2, units=5)
    dense, grid = hidden @ kernel, np.linspace(0, 1, 1001)
    before = local_imitation(hidden, kernel, 3).alpha
    after = local_imitation(hidden, kernel, 4)
    least = min(
        np.sum((5 * hidden * ((1 - g) * before + g * np.eye(5)[j]) @ kernel - dense) ** 2)
        for j in range(5)
        for g in grid
    ) / (2 * len(hidden))
    assert after.losses[-1] <= least + 1e-12
    assert after.losses[-1] == pytest.approx(least, rel=1e-3)


def test_imitation_of_a_convolution():
    generator = np.random.default_rng(3)
    windows, kernel = generator.random((30, 8, 9)), generator.normal(size=(8, 9, 4))
    found = local_imitation(windows, kernel, 5)
    dense = np.einsum("rip,ipo->ro", windows, kernel)
    made = np.einsum("rip,ipo->ro", windows * (8 * found.alpha)[:, None], kernel)
    assert np.sum((made - dense) ** 2) / 60 == pytest.approx(found.losses[-1])


def test_inner_products_of_contributions():
    generator = np.random.default_rng(4)
    units = Contributions(generator.random((10, 6, 3)), generator.normal(size=(6, 3, 2)))
    each, other = units.of(np.arange(6)), generator.normal(size=(10, 2))
    np.testing.assert_allclose(units.norms(), np.sum(each**2, axis=(1, 2)))
    np.testing.assert_allclose(units.inner(other), np.einsum("iro,ro->i", each, other))
    np.testing.assert_allclose(
        units.cross(units.hidden[:, 2], units.weights[2]), np.einsum("iro,ro->i", each, each[2])
    )
    amounts = np.array([1, 0, 2, 0, 0, 3])
    np.testing.assert_allclose(units.total(amounts), np.einsum("iro,i->ro", each, amounts))
    part = units.part([4, 1], [0, 3])
    np.testing.assert_allclose(part.of([0, 1]), each[[4, 1]][:, [0, 3]])


def test_selection_is_better_than_elimination_by_its_own_measure():
    wins = 0
    for seed in range(10):
        hidden, kernel, _ = network(seed, units=30)
        y = hidden @ kernel
        one = select_units(hidden, kernel, y, 8).losses[-1]
        wins += one <= backward_elimination(hidden, kernel, y, 8).losses[-1]
    assert wins >= 8
