"""The hull of neurons' outputs: membership, margin, distance, diameter, conditioning."""

import numpy as np
import pytest

from keras_sparse.analysis.bounds.hull import (
    first_layer_condition,
    hull_distance,
    hull_membership,
    polytope_diameter,
)

TRIANGLE = np.array([[0.0, 2.0, 0.0], [0.0, 0.0, 2.0]])
DEAD = np.array([[1.0, -1.0, 0.0], [-2.0, 1.0, 0.0]])


@pytest.mark.parametrize(
    ("point", "distance"),
    [((0.5, 0.5), 0), ((1, 1), 0), ((0, 0), 0), ((1.2, 1.0), 0.2 / 2**0.5), ((-0.1, 0.1), 0.1)],
)
def test_a_triangle(point, distance):
    found = hull_membership(TRIANGLE, point, "equality")
    assert found.member == (distance == 0)
    assert found.distance == pytest.approx(distance, abs=1e-9)
    assert hull_distance(TRIANGLE, point)[0] == pytest.approx(distance, abs=1e-9)
    if point == (0.5, 0.5):
        np.testing.assert_allclose(found.alpha, [0.5, 0.25, 0.25])


@pytest.mark.parametrize(
    ("labels", "margin", "alpha"),
    [((1, 0), 1, (1, 0, 0)), ((0, 1), 1, (0, 1, 0)), ((1, 1), 0, None)],
)
def test_margins(labels, margin, alpha):
    found = hull_membership(DEAD, labels)
    assert found.margin == pytest.approx(margin, abs=1e-9)
    assert found.member == (margin == 1)
    if alpha:
        np.testing.assert_allclose(found.alpha, alpha, atol=1e-9)


def test_a_margin_below_zero():
    found = hull_membership([[1.0, 2.0], [1.0, 3.0]], (1, 0), tau_min=0.0)
    assert (found.margin, found.member) == (pytest.approx(-1), False)


def test_scale_order_and_copies():
    generator = np.random.default_rng(1)
    columns, labels = generator.normal(size=(6, 30)), generator.integers(0, 2, 6)
    margin = hull_membership(columns * 0.1, labels).margin
    assert 0 < margin < 0.5
    assert hull_membership(columns * 0.2, labels).margin == pytest.approx(2 * margin)
    shuffled = columns[:, generator.permutation(30)] * 0.1
    assert hull_membership(shuffled, labels).margin == pytest.approx(margin)
    copied = np.hstack([columns, columns[:, :1]]) * 0.1
    assert hull_membership(copied, labels).margin == pytest.approx(margin)


def test_points_of_a_hull_and_beyond_a_facet():
    generator = np.random.default_rng(2)
    points = generator.normal(size=(5, 12))
    inside = points @ generator.dirichlet(np.ones(12))
    assert hull_membership(points, inside, "equality").member
    assert hull_distance(points, inside)[0] < 1e-6
    normal = generator.normal(size=5)
    far = points[:, np.argmax(normal @ points)] + 10 * normal
    found = hull_membership(points, far, "equality")
    assert not found.member
    assert found.distance > 1


def test_the_distance_is_that_of_frank_wolfe():
    generator = np.random.default_rng(3)
    points, y = generator.normal(size=(8, 20)), generator.normal(size=8)
    distance, alpha = hull_distance(points, y)
    assert alpha.min() >= 0
    assert alpha.sum() == pytest.approx(1)
    slack = (points @ alpha - y) @ (points @ alpha - points.min(axis=1))
    gradient = points.T @ (points @ alpha - y)
    assert gradient @ alpha - gradient.min() < 1e-8, slack
    assert distance == pytest.approx(np.linalg.norm(points @ alpha - y))


def test_no_two_points_of_a_hull_are_further_apart_than_its_vertices():
    generator = np.random.default_rng(4)
    points = generator.normal(size=(40, 7))
    diameter = polytope_diameter(points)
    brute = max(np.linalg.norm(a - b) for a in points for b in points)
    assert diameter == pytest.approx(brute)
    pairs = generator.dirichlet(np.ones(40), size=(1000, 2)) @ points
    assert np.linalg.norm(pairs[:, 0] - pairs[:, 1], axis=1).max() <= diameter
    assert diameter <= polytope_diameter(points, exact=False) <= 2 * diameter


def test_the_condition_number_grows_with_the_samples():
    def kappa(m, seed):
        generator = np.random.default_rng(seed)
        x = generator.normal(size=(m, 50))
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        features = np.tanh(x @ generator.normal(size=(50, 1000)))
        found = first_layer_condition(features)
        return found.kappa

    means = [np.mean([kappa(m, seed) for seed in range(5)]) for m in (50, 100, 200, 400)]
    assert means == sorted(means)
    assert means[0] < means[1] < means[2] < means[3]


def test_large_programs_are_refused():
    with pytest.raises(ValueError, match="force=True"):
        hull_membership(np.zeros((2501, 2000)), np.zeros(2501))
    with pytest.raises(ValueError, match="y must be one number for each of the 2 samples"):
        hull_membership(TRIANGLE, [1, 0, 1])
