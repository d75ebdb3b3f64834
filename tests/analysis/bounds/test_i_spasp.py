"""Bounds of i-SpaSP on tails, and how compressible rows are."""

import numpy as np
import pytest
from scipy.special import zeta as riemann

from keras_sparse.analysis.bounds.i_spasp import (
    fit_compressibility,
    network_residual_bound,
    residual_bound,
    tail_bound,
)
from keras_sparse.structured import i_spasp_units


@pytest.mark.parametrize(
    ("p", "tail", "bound"),
    [(0.5, 0.18132, 0.2), (0.25, 0.0019713, 0.0026667), (0.75, 1.647, 1.754)],
)
def test_tails(p, tail, bound):
    found = (np.arange(6, 200_001) ** (-1 / p)).sum()
    assert found == pytest.approx(tail, rel=3e-4)
    assert tail_bound(1.0, p, 5) == pytest.approx(bound, rel=3e-4)
    assert found <= riemann(1 / p, 6) <= tail_bound(1.0, p, 5)


@pytest.mark.parametrize("p", [0.3, 0.5, 0.7, 0.9])
def test_the_exponent_of_generated_rows(p):
    found = fit_compressibility(running_sum_rows(np.random.default_rng(0), 100, p).sum(axis=1))
    assert 1 / found.p == pytest.approx(1 / p, rel=0.01)
    assert found.magnitude == pytest.approx(1, rel=0.05)


class TestNetwork:
    def test_one_layer_is_that_of_theorem_3(self):
        sums, weights = [5.0, 3.0, 1.0, 0.5], np.arange(8.0).reshape(4, 2)
        expected = residual_bound(sums, weights, 2, 3)
        assert network_residual_bound([sums], [weights], 2, 3) == pytest.approx(expected)

    def test_two_layers_by_hand(self):
        # 14 + 7 / sqrt(1) is 21; a layer's sums have a norm of 5 and leave out 3.
        sums, weights = [4.0, 3.0], np.array([[1.0, 0.0], [0.0, -2.0]])
        first = 0.444 * 5 + 21 * 3
        left = np.sqrt(2) * 3 * first
        second = 0.444 * 5 + 21 * (3 + left)
        found = network_residual_bound([sums, sums], [weights, weights], 1, 1)
        assert found == pytest.approx(np.sqrt(5) * second)

    @pytest.mark.parametrize("p", [0.25, 0.5])
    def test_the_sum_of_theorem_5(self, p):
        layers, units, size = 3, 5000, 10
        sums = np.arange(1, units + 1) ** (-1 / p)
        weights = np.full((units, 2), 0.01)
        found = network_residual_bound([sums] * layers, [weights] * layers, size, 500)
        factor, l1 = 14 + 7 / np.sqrt(size), np.abs(weights).sum()
        terms = [
            factor ** (layers - i + 1) * units ** ((layers - i) / 2) * l1 ** (layers - i)
            for i in range(1, layers + 1)
        ]
        whole = np.linalg.norm(weights) * sum(terms)
        assert found == pytest.approx(whole * sums[size:].sum(), rel=1e-6)
        assert found <= whole * tail_bound(1.0, p, size)

    @pytest.mark.parametrize("seed", range(5))
    def test_pruned_networks_keep_it(self, seed):
        # Matrices of orthonormal columns, whose isometry constant is 0.
        draw, units, size = np.random.default_rng(seed), 48, 8
        weights = [np.linalg.qr(draw.normal(size=(units, units)))[0].T for _ in range(3)]
        hidden = pruned = running_sum_rows(draw, units, 0.5).T
        sums = []
        for matrix in weights:
            sums.append(hidden.sum(axis=0))
            kept = i_spasp_units(pruned, matrix, size, iterations=20).indices
            whole, rest = hidden @ matrix, pruned[:, kept] @ matrix[kept]
            hidden, pruned = np.maximum(whole, 0), np.maximum(rest, 0)
        residual = np.linalg.norm(whole - rest)
        assert 0 < residual <= network_residual_bound(sums, weights, size, 20)

    @pytest.mark.parametrize("weights", [[], [np.ones((3, 2))], [np.ones((2, 2))] * 2])
    def test_a_matrix_for_each_layer(self, weights):
        with pytest.raises(ValueError, match="weights must be a matrix of 2 rows"):
            network_residual_bound([[1.0, 2.0]], weights, 1, 1)


def running_sum_rows(generator, size, p, samples=100):
    """Rows of entries >= 0 whose sums exhaust `1 / j^(1/p)`, shuffled."""
    left = np.arange(1, size + 1) ** (-1 / p)
    rows = np.zeros((size, samples))
    for i in range(samples):
        rows[:, i] = generator.uniform(0, left)
        left -= rows[:, i]
    return generator.permutation(rows)
