import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from keras_sparse.analysis.bounds import robust_loss as rl
from keras_sparse.sparsity.top_k import top_k_masks

A = np.array([1, 2, 4, 1.0])
B = np.array([1, 1, -2, 0.5])


def gradient(theta):
    return A * theta - B


def top_1(theta):
    return np.where(rl.top_k_mask(theta, 1), theta, 0)


@pytest.mark.parametrize(
    ("theta", "a", "wanted"), [((1, 0.2), (0.5, 0), 0.18), ((1, 0.95), (1, 0), 1.05125)]
)
def test_compression_aware_loss_of_a_quadratic(theta, a, wanted):
    """Equation 5.1; in the second case the largest coordinate changes within the ball."""

    def loss(t):
        return 0.5 * np.sum((t - np.array(a)) ** 2)

    assert rl.robust_loss(loss, theta, 0.1, top_1).value == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("x", [1.3, -0.4])
def test_sharpness_aware_gradient_is_that_of_the_robust_loss(x):
    """L = x^2 / 2: the robust loss is (|x| + rho)^2 / 2, its gradient x + rho sign(x)."""
    rho = 0.1
    found = rl.robust_loss(lambda t: 0.5 * float(t[0]) ** 2, [x], rho)
    assert found.value == pytest.approx(0.5 * (abs(x) + rho) ** 2)
    slope = rl.robust_gradient(x + found.maximizers)
    assert slope[0] == pytest.approx(x + rho * np.sign(x))


def test_a_kink_has_slopes_along_directions_only():
    """Danskin at 0: both ends of the ball attain the maximum, and every direction goes up."""
    rho = 0.25
    found = rl.robust_loss(lambda t: 0.5 * float(t[0]) ** 2, [0.0], rho)
    gradients = found.maximizers
    assert sorted(gradients.ravel()) == [-rho, rho]
    for direction in (1.0, -2.0):
        step = 1e-6
        moved = rl.robust_loss(lambda t: 0.5 * float(t[0]) ** 2, [step * direction], rho)
        slope = (moved.value - found.value) / step
        wanted = rl.directional_derivative(gradients, [direction])
        assert wanted == pytest.approx(rho * abs(direction))
        assert slope == pytest.approx(wanted, abs=1e-5)
    with pytest.raises(ValueError, match="attained in several places"):
        rl.robust_gradient(gradients)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_descends_along_the_negative_gradient_and_is_lipschitz(seed):
    """Corollary C.1.1 and the constant of Theorem C.1.1 on random quadratics of the plane."""
    draw = np.random.default_rng(seed)
    root = draw.normal(size=(2, 2))
    hessian, shift = root @ root.T + 0.1 * np.eye(2), draw.normal(size=2)
    theta, rho = draw.normal(size=2), 0.05

    def loss(t):
        return 0.5 * (t - shift) @ hessian @ (t - shift)

    def value(t):
        return rl.robust_loss(loss, t, rho, points=180)

    here = value(theta)
    gradients = (theta + here.maximizers - shift) @ hessian
    slope = rl.robust_gradient(gradients[:1])
    assume(np.linalg.norm(slope) > 1e-3)
    assert value(theta - 1e-3 * slope / np.linalg.norm(slope)).value < here.value
    largest = float(np.linalg.eigvalsh(hessian)[-1])
    norm = float(np.linalg.norm(hessian @ (theta - shift)))
    radius = 0.2
    constant = rl.robust_lipschitz(norm, largest, rho, radius)
    other = theta + radius * np.array([np.cos(seed), np.sin(seed)])
    assert abs(value(other).value - here.value) <= constant * radius


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1))
def test_cells_of_top_k_are_convex(seed, share):
    draw = np.random.default_rng(seed)
    one, two = (np.abs(draw.normal(size=6)) + 0.1 for _ in range(2))
    one[:3] += one[3:].max()
    two[:3] += two[3:].max()
    signs = np.sign(draw.normal(size=6))
    one, two = one * signs, two * signs * np.array([1, 1, 1, -1, 1, -1])
    assert rl.top_k_cell(one, 3) == rl.top_k_cell(two, 3)
    assert rl.top_k_cell(share * one + (1 - share) * two, 3) == rl.top_k_cell(one, 3)


def test_equal_supports_of_other_signs_are_other_cells():
    """Halfway between them Top-K keeps something else: without signs cells are not convex."""
    one, two = np.array([1, 0.5]), np.array([-1, 0.5])
    assert rl.top_k_cell(one, 1) == ((0,), (1,))
    assert rl.top_k_cell(two, 1) == ((0,), (-1,))
    assert rl.top_k_cell((one + two) / 2, 1)[0] == (1,)


def test_gradient_of_the_compressed_loss():
    """Lemma C.1.1: M grad L(M theta) on the worked quadratic; the unmasked one is another."""
    theta = np.array([1, -0.5, 0.2, 0.3])
    np.testing.assert_allclose(rl.compressed_gradient(gradient, theta, 2), [0, -2, 0, 0])
    mask = rl.top_k_mask(theta, 2)
    np.testing.assert_allclose(gradient(mask * theta), [0, -2, 2, -0.5])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_gradient_of_the_compressed_loss_by_differences(seed):
    theta = np.random.default_rng(seed).normal(size=4)
    ranked = np.sort(np.abs(theta))
    assume(ranked[2] - ranked[1] > 1e-3)

    def loss(t):
        kept = np.where(rl.top_k_mask(t, 2), t, 0)
        return 0.5 * np.sum(A * kept * kept) - B @ kept

    step = 1e-5
    found = [(loss(theta + step * e) - loss(theta - step * e)) / (2 * step) for e in np.eye(4)]
    np.testing.assert_allclose(found, rl.compressed_gradient(gradient, theta, 2), atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from([-1.5, -1.0, 0.0, 0.5, 1.0]), min_size=2, max_size=6), st.data())
def test_masks_are_those_of_the_package(values, data):
    k = data.draw(st.integers(1, len(values)))
    (mask,) = top_k_masks([np.abs(np.array(values, "float32"))], np.array([k]), [1], joint=True)
    np.testing.assert_array_equal(mask, rl.top_k_mask(values, k))


def test_bad_arguments():
    with pytest.raises(ValueError, match="k must be an integer from 1 to 3"):
        rl.top_k_mask([1, 2, 3], 4)
    with pytest.raises(ValueError, match="rho must be a finite number of at least 0"):
        rl.ball(2, -1.0)
    with pytest.raises(ValueError, match="at least 0"):
        rl.robust_lipschitz(1, 1, -1, 0)
