"""Bounds of i-SpaSP on tails, and how compressible rows are."""

import numpy as np
import pytest
from scipy.special import zeta as riemann

from keras_sparse.analysis.bounds.i_spasp import fit_compressibility, tail_bound


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


def running_sum_rows(generator, size, p, samples=100):
    """Rows of entries >= 0 whose sums exhaust `1 / j^(1/p)`, shuffled."""
    left = np.arange(1, size + 1) ** (-1 / p)
    rows = np.zeros((size, samples))
    for i in range(samples):
        rows[:, i] = generator.uniform(0, left)
        left -= rows[:, i]
    return generator.permutation(rows)
