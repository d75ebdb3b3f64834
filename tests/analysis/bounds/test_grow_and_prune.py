"""The mask error, Lemma 1, Theorem 1 and how soon all is covered."""

import numpy as np
import pytest
from keras import ops

from keras_sparse.analysis.bounds.grow_and_prune import (
    cyclic_descent,
    gap_bound,
    gap_learning_rate,
    gap_step_bound,
    mask_error,
)
from keras_sparse.probe.layout import Layout
from keras_sparse.sparsity.granularity import Unstructured
from keras_sparse.sparsity.masks import prune_further


def test_6_13_the_mask_error_of_magnitude_pruning():
    """delta^2 <= r for the package's own pruning, which drops round(r n) <= r n here."""
    generator = np.random.default_rng(0)
    random_fails = 0
    for _ in range(100):
        n, dropped = 40, generator.integers(1, 40)
        w = generator.normal(size=n).astype("float32")
        layout = Layout((n,), (), (0,), ())
        ones = [ops.ones((n,), "bool")]
        budget = np.array([n - dropped])
        (mask,) = prune_further([w], ones, [layout], budget, Unstructured(), False)
        mask = ops.convert_to_numpy(mask)
        assert mask.sum() == n - dropped
        assert mask_error(w, mask) <= dropped / n
        random_fails += mask_error(w, generator.permutation(mask)) > dropped / n
    assert random_fails > 10


def test_a_mask_error_is_relative():
    assert mask_error([3.0, 4.0], [True, False]) == pytest.approx(16 / 25)
    with pytest.raises(ValueError, match="all zero"):
        mask_error([0.0, 0.0], [True, False])


class Quadratic:
    """F = t'At/2 - b't + b'A^-1 b/2, whose minimum is 0."""

    def __init__(self, a, b, sigma=0.0, generator=None):
        self.a, self.b, self.sigma, self.generator = np.asarray(a), np.asarray(b), sigma, generator
        self.shift = 0.5 * self.b @ np.linalg.solve(self.a, self.b)

    def __call__(self, theta):
        return 0.5 * theta @ self.a @ theta - self.b @ theta + self.shift

    def exact_gradient(self, theta):
        return self.a @ theta - self.b

    def gradient(self, theta):
        gradient = self.exact_gradient(theta)
        if self.sigma:
            noise = self.generator.normal(size=gradient.shape)
            gradient = gradient + self.sigma * noise / np.sqrt(len(gradient))
        return gradient


def test_6_14_lemma_1_in_numbers():
    f = Quadratic(np.diag([1.0, 2, 4, 1]), [1.0, 1, -2, 0.5])
    theta, mask = np.array([1.0, -0.5, 0.2, 0.3]), np.array([True, True, False, True])
    step = next(cyclic_descent(f.gradient, theta, [[0, 1], [2, 3]], 0.5, 1 / 24, 1, 1, mask))
    np.testing.assert_allclose(step.after, [1, -0.4166667, 0.2, 0.3], rtol=1e-6)
    delta2 = mask_error(theta, step.mask)
    assert delta2 == pytest.approx(0.0289855, rel=1e-5)
    assert f(step.before) == pytest.approx(2.0)
    assert f(step.after) == pytest.approx(1.8402778)
    norm = np.linalg.norm(f.exact_gradient(theta)[:2])
    bound = gap_step_bound(2.0, norm, 1 / 24, 4.0, 0.0, delta2**0.5, np.linalg.norm(theta))
    assert bound == pytest.approx(1.9622222)
    with pytest.raises(ValueError, match="at most 1/"):
        gap_step_bound(2.0, norm, 1 / 20, 4.0)


def random_quadratic(generator, size, sigma=0.0):
    root = generator.normal(size=(size, size))
    a = root @ root.T / size + 0.1 * np.eye(size)
    return Quadratic(a, generator.normal(size=size), sigma, generator)


@pytest.mark.parametrize("seed", range(5))
def test_lemma_1_on_random_quadratics(seed):
    generator = np.random.default_rng(seed)
    f = random_quadratic(generator, 24)
    smoothness = np.linalg.eigvalsh(f.a)[-1]
    parts = np.split(np.arange(24), 3)
    rate = 1 / (6 * smoothness)
    steps = list(cyclic_descent(f.gradient, generator.normal(size=24), parts, 0.5, rate, 20, 5))
    assert len(steps) == 20 * 3 * 5
    for step in steps:
        norm = np.linalg.norm(f.exact_gradient(step.before)[parts[step.partition]])
        delta = mask_error(step.start, step.mask) ** 0.5
        bound = gap_step_bound(
            f(step.before), norm, rate, smoothness, 0.0, delta, np.linalg.norm(step.start)
        )
        assert f(step.after) <= bound + 1e-12


def test_algorithm_3_moves_one_partition_and_hides_without_overwriting():
    generator = np.random.default_rng(0)
    f = random_quadratic(generator, 12)
    parts = np.split(np.arange(12), 3)
    seen = list(cyclic_descent(f.gradient, np.ones(12) + 0.1, parts, 0.5, 0.01, 3, 2))
    assert [(s.round, s.partition) for s in seen] == [
        (q, i) for q in range(3) for i in range(3) for _ in range(2)
    ]
    for step in seen:
        frozen = np.setdiff1d(np.arange(12), parts[step.partition])
        np.testing.assert_array_equal(step.after[frozen], step.before[frozen])
        assert step.mask[parts[step.partition]].all()
        assert step.mask.sum() == 4 + 2 + 2
        assert step.after.all()


def mean_gradient(f, parts, sparsity, rate, rounds, inner_steps, start):
    """The left side of Theorem 1, the masks' largest delta^2 and the mean of sum_i ||Theta||^2."""
    squares, norms, delta2 = [], np.zeros(rounds), 0.0
    steps = cyclic_descent(f.gradient, start, parts, sparsity, rate, rounds, inner_steps)
    for n, step in enumerate(steps):
        if n % inner_steps == 0:
            norms[step.round] += step.start @ step.start
            delta2 = max(delta2, mask_error(step.start, step.mask))
            if step.partition == 0:
                gradient = f.exact_gradient(step.start * step.mask)
                squares.append(gradient @ gradient)
    assert len(squares) == rounds
    return np.mean(squares), delta2, norms.mean()


@pytest.mark.parametrize(("sparsity", "sigma"), [(0.5, 0.1), (0.0, 0.0)])
@pytest.mark.parametrize("rounds", [10, 100, 1000])
def test_6_15_theorem_1(sparsity, sigma, rounds):
    generator = np.random.default_rng(1)
    f = random_quadratic(generator, 24, sigma)
    smoothness, parts, inner = np.linalg.eigvalsh(f.a)[-1], np.split(np.arange(24), 3), 5
    rate = gap_learning_rate(smoothness, 3, inner, rounds)
    start = np.ones(24)
    left, delta2, norm = mean_gradient(f, parts, sparsity, rate, rounds, inner, start)
    delta = delta2**0.5
    bound = gap_bound(f(start), smoothness, 3, inner, rounds, sigma, delta, norm)
    assert left <= bound
    if sparsity == 0:
        assert delta2 == 0
        assert bound == pytest.approx(96 * 3 * smoothness * f(start) / rounds**0.5)


def test_without_masks_the_gradient_vanishes_and_with_them_it_has_a_floor():
    generator = np.random.default_rng(2)
    f = random_quadratic(generator, 24)
    parts, smoothness = np.split(np.arange(24), 3), np.linalg.eigvalsh(f.a)[-1]
    rate = 1 / (6 * smoothness)

    def mean(sparsity, rounds):
        return mean_gradient(f, parts, sparsity, rate, rounds, 5, np.ones(24))[0]

    assert mean(0.0, 1600) < 0.3 * mean(0.0, 400)
    assert mean(0.5, 1600) > 0.9 * mean(0.5, 400)


def test_gap_bound_in_numbers():
    assert gap_learning_rate(4.0, 3, 5, 100) == pytest.approx(1 / 2400)
    assert gap_bound(2.0, 4.0, 3, 5, 100, 0.5) == pytest.approx((96 * 24 + 0.25) / 10)
    floor = gap_bound(2.0, 4.0, 3, 5, 10**12, 0.0, 0.3, 7.0)
    assert floor == pytest.approx(10 * 16 * 5 * 0.09 * 7, rel=1e-4)
    sizes = {"partitions": 2, "inner_steps": 4, "rounds": 3}
    for arguments in ({"delta": 1.0}, {"smoothness": 0.0}, {"gap": -1.0}):
        with pytest.raises(ValueError, match=r"(delta|smoothness|gap) must be"):
            gap_bound(**{"gap": 1.0, "smoothness": 1.0, **sizes, **arguments})
    with pytest.raises(ValueError, match="rounds must be an integer of at least 1"):
        gap_bound(1.0, 1.0, 2, 4, 0)


def test_6_16_sampling_without_replacement_covers_sooner():
    """10 items: in turn they are covered in 10 steps; at random in 29.3 on average."""
    from keras_sparse.methods.grow_and_prune.schedule import dense_in_each_step, gap_schedule

    items = range(10)
    assert {grow for grow, _ in gap_schedule(10, 10)} == set(items)
    covered = []
    for seed in range(200):
        dense = dense_in_each_step(120, 10, items, items, "random", seed)[1:-1]
        assert (dense.sum(1) == 1).all()
        covered.append(1 + np.cumsum(dense, 0).all(1).argmax())
    assert np.mean(covered) == pytest.approx(10 * sum(1 / k for k in range(1, 11)), rel=0.08)
    for steps, share in ((29, 0.595), (44, 0.905), (66, 0.990)):
        assert np.mean(np.array(covered) <= steps) == pytest.approx(share, abs=0.06)


@pytest.mark.parametrize(("kappa", "missed"), [(2, 0.25), (3, 0.296), (4, 0.316)])
def test_6_16_a_random_subset_misses_layers(kappa, missed):
    from keras_sparse.methods.grow_and_prune.schedule import dense_in_each_step

    layers = range(3 * kappa)
    owner = np.repeat(np.arange(kappa), 3)
    never = [
        ~dense_in_each_step(kappa, kappa, owner, layers, "random", seed).any(0)
        for seed in range(500)
    ]
    assert np.mean(never) == pytest.approx((1 - 1 / kappa) ** kappa, abs=0.025)
    assert missed == pytest.approx((1 - 1 / kappa) ** kappa, abs=5e-4)
