"""The lemmas hold for the package's own Top-K, and the bounds for IHT."""

import numpy as np
import pytest
from keras import ops

from keras_sparse.analysis.bounds.convergence import (
    acdc_bound,
    acdc_support,
    cpl_constant,
    iht_bound,
    iht_support,
)
from keras_sparse.sparsity.top_k import top_k_masks


def top_k(vectors, k):
    """T_k of each row."""
    rows = [ops.convert_to_tensor(np.abs(row).astype("float32")) for row in vectors]
    masks = top_k_masks(rows, np.full(len(rows), k), [1] * len(rows), joint=False)
    return np.where(np.array([ops.convert_to_numpy(mask) for mask in masks]), vectors, 0)


def sparse_vectors(generator, trials, size, nonzeros):
    vectors = np.zeros((trials, size))
    for row in vectors:
        row[generator.choice(size, nonzeros, replace=False)] = generator.normal(size=nonzeros)
    return vectors


def norms(vectors):
    return np.square(vectors).sum(-1)


def test_lemma_a_1_1():
    generator = np.random.default_rng(0)
    k, best, n = 5, 2, 10
    theta = sparse_vectors(generator, 150, 30, n)
    star = sparse_vectors(generator, 150, 30, best)
    left = norms(top_k(theta, k) - theta) / (n - k)
    assert (left <= norms(star - theta) / (n - best) + 1e-12).all()
    assert (left <= norms(top_k(theta, best) - theta) / (n - best) + 1e-12).all()


def test_lemma_a_1_1_needs_a_sparse_vector():
    """The statement as printed allows any n > k; it fails for a dense vector."""
    theta, k, best, n = np.ones((1, 100)), 5, 1, 10
    left = norms(top_k(theta, k) - theta)[0] / (n - k)
    right = norms(top_k(theta, best) - theta)[0] / (n - best)
    assert (left, right) == (19.0, 11.0)


def test_lemma_a_1_3():
    generator = np.random.default_rng(1)
    k, best = 6, 2
    thetas = sparse_vectors(generator, 150, 20, k)
    deltas = generator.normal(size=thetas.shape)
    moved = thetas + deltas
    for theta, delta, total, kept in zip(thetas, deltas, moved, top_k(moved, k), strict=True):
        support, new = set(np.flatnonzero(theta)), set(np.flatnonzero(kept))
        star = set(generator.choice(20, best, replace=False).tolist())
        free = sorted((star | support) - new)
        dropped = set(free[: len(new - (star | support))])
        z = (star | support) - dropped

        def mass(vector, members):
            return float(np.square(vector[sorted(members)]).sum()) if members else 0.0

        left = mass(total, support - new) - mass(delta, support | new)
        right = mass(total, z - new) - mass(delta, star)
        assert left <= right + 1e-9
        assert len(z - new) <= 2 * best


def test_6_10_quadratic_growth():
    curvature = np.array([0.5, 1.0, 4.0])
    points = np.random.default_rng(2).normal(size=(200, 3))
    values = 0.5 * (curvature * points**2).sum(1)
    constants = [
        cpl_constant(curvature * p, value, 3) for p, value in zip(points, values, strict=True)
    ]
    alpha = cpl_constant([0.5, 0, 0], 0.25, 3)
    assert alpha == 4 * curvature.min()
    assert min(constants) >= alpha
    assert (values >= alpha / 8 * norms(points) - 1e-12).all()
    assert alpha / 8 * 1.0 == 0.25


@pytest.mark.parametrize("r", [1, 3, 8])
def test_6_11_cpl_of_an_isotropic_quadratic(r):
    beta, size = 2.0, 8
    alpha = 4 * beta * r / size
    for point in np.random.default_rng(3).normal(size=(100, size)):
        assert cpl_constant(beta * point, beta / 2 * norms(point), r) >= alpha - 1e-9
    equal = np.ones(size)
    assert cpl_constant(beta * equal, beta / 2 * size, r) == pytest.approx(alpha)


def test_iht_meets_its_bound():
    """Isotropic quadratic, step 1 / (2 beta): the gap stays below Theorem 3.3.1's, in the mean."""
    generator = np.random.default_rng(4)
    size, best, k, beta, sigma, trials = 24, 3, 8, 1.0, 0.05, 20
    star = np.sign(sparse_vectors(generator, trials, size, best))
    x, alpha = np.zeros((trials, size)), 4 * beta * best / size
    first = 0.5 * norms(x - star).mean()
    for step in range(1, 13):
        noise = generator.normal(size=x.shape) * sigma / np.sqrt(size)
        x = top_k(x - (x - star + noise) / (2 * beta), k)
        assert 0.5 * norms(x - star).mean() <= iht_bound(first, alpha, beta, sigma, step)
    assert all(
        set(np.flatnonzero(s)) <= set(np.flatnonzero(row)) for s, row in zip(star, x, strict=True)
    )


def test_bounds():
    assert iht_support(2, 1.0) == 2 * 769
    assert acdc_support(2, 1.0) == 2 * 385
    assert iht_bound(3.0, 1.0, 1.0, 0.5, 1) == pytest.approx(3 * 15 / 16 + 0.25)
    assert iht_bound(3.0, 1.0, 1.0, 0.5, 10_000) == pytest.approx(16 * 0.25)
    assert acdc_bound(3.0, 1.0, 1.0, 2.0, 1) == pytest.approx(3 * 7 / 8 + 3)
    assert acdc_bound(3.0, 1.0, 1.0, 2.0, 10_000) == pytest.approx(6 * 4)
    with pytest.raises(ValueError, match="r must be an integer from 1 to 2"):
        cpl_constant([1.0, 2.0], 1.0, 3)
