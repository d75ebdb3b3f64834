"""What is proven about the compression-aware loss: where it has a gradient, and which.

Notation: `L_CrAM(theta) = max L(C(theta + delta))` over `||delta|| <= rho`, with C a compression
operator that is a projection on each of a family of convex cells. Top-K is one: its cells are the
vectors of one support and one set of signs on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from keras_sparse.messages.arguments import array, function, integer, number, optional

Vector = np.ndarray


def ball(dimension: int, rho: float, points: int = 3600, seed: int = 0) -> Vector:
    """Points of the ball of radius rho around 0, most of them on its surface.

    Args:
        dimension: Of the space.
        rho: The radius, >= 0.
        points: How many directions: both in one dimension, evenly spaced angles in two, and
            random ones in more.
        seed: Seed of random directions.

    Returns:
        Shape `(points, dimension)`: the center, the directions at half of the radius, and at all
        of it.

    Raises:
        ValueError: If an argument is out of range.
    """
    integer("dimension", dimension)
    number("rho", rho, "[0, inf)")
    integer("points", points)
    integer("seed", seed, 0)
    if dimension == 1:
        directions = np.array([[-1.0], [1.0]])
    elif dimension == 2:
        angles = 2 * np.pi * np.arange(points) / points
        directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    else:
        directions = np.random.default_rng(seed).normal(size=(points, dimension))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return np.concatenate([np.zeros((1, dimension)), rho / 2 * directions, rho * directions])


class RobustLoss(NamedTuple):
    """The compression-aware loss at a point.

    Args:
        value: The largest loss found.
        maximizers: The perturbations that attain it, shape `(found, dimension)`.
    """

    value: float
    maximizers: Vector


def robust_loss(
    loss: Callable[[Vector], float],
    theta: ArrayLike,
    rho: float,
    compress: Callable[[Vector], Vector] | None = None,
    points: int = 3600,
) -> RobustLoss:
    """`max L(C(theta + delta))` over the ball of radius rho, by trying perturbations.

    Args:
        loss: L, of a vector.
        theta: The point, shape `(N,)`. Exact enough in one and two dimensions.
        rho: The radius, >= 0.
        compress: C. Defaults to none, which makes it the loss of sharpness-aware minimization.
        points: Directions to try.

    Raises:
        ValueError: If an argument is out of range.

    Source: Peste et al. (2023), equation 5.1.
    """
    function("loss", loss)
    optional(function, "compress", compress)
    at = array("theta", theta)
    tried = ball(at.size, rho, points)
    compressed = compress or (lambda point: point)
    values = np.array([loss(compressed(at + delta)) for delta in tried])
    largest = values.max()
    near = np.isclose(values, largest, rtol=1e-12, atol=1e-12)
    return RobustLoss(float(largest), tried[near])


def directional_derivative(gradients: ArrayLike, direction: ArrayLike) -> float:
    """The slope along d of a maximum over y: `max d'grad phi(x, y)` over the maximizers y.

    Args:
        gradients: `grad_x phi(x, y)` at each y that attains the maximum, shape `(found, N)`.
        direction: d, shape `(N,)`.

    Source: Peste et al. (2023), Theorem C.1.1 (Danskin).
    """
    slopes = np.atleast_2d(array("gradients", gradients)) @ array("direction", direction)
    return float(np.max(slopes))


def robust_gradient(gradients: ArrayLike) -> Vector:
    """The gradient of a maximum with one maximizer: the gradient there.

    Its negative is a direction of descent of the robust loss, wherever it is not zero.

    Args:
        gradients: As in `directional_derivative`.

    Raises:
        ValueError: If there are maximizers of different gradients: at such a point the maximum
            has a kink, and slopes along directions only.

    Source: Peste et al. (2023), Theorem C.1.1 and Corollary C.1.1.
    """
    rows = np.atleast_2d(array("gradients", gradients))
    if not np.allclose(rows, rows[0]):
        raise ValueError(
            "The maximum has no gradient here: it is attained in several places, whose gradients "
            f"differ. Use directional_derivative. Received: {rows.tolist()}"
        )
    return rows[0]


def robust_lipschitz(gradient_norm: float, smoothness: float, rho: float, radius: float) -> float:
    """A Lipschitz constant of the robust loss within a radius of theta.

    A loss of smoothness beta has gradients of at most `||grad L(theta)|| + beta (rho + radius)`
    wherever the maximum looks, and the maximum grows no faster than what it is taken of.

    Args:
        gradient_norm: `||grad L(theta)||`.
        smoothness: beta, >= 0.
        rho: The radius of the perturbation, >= 0.
        radius: The radius of the neighborhood, >= 0.

    Raises:
        ValueError: If an argument is negative.

    Source: Peste et al. (2023), Theorem C.1.1 (the maximum is locally Lipschitz).
    """
    number("gradient_norm", gradient_norm, "[0, inf)")
    number("smoothness", smoothness, "[0, inf)")
    number("rho", rho, "[0, inf)")
    number("radius", radius, "[0, inf)")
    return gradient_norm + smoothness * (rho + radius)


def top_k_mask(theta: ArrayLike, k: int) -> Vector:
    """Where Top-K keeps a vector, ties to the lowest index: boolean, shape `(N,)`.

    Raises:
        ValueError: If not `1 <= k <= N`.
    """
    at = array("theta", theta).ravel()
    integer("k", k, 1, at.size)
    mask = np.zeros(at.size, bool)
    mask[np.argsort(-np.abs(at), kind="stable")[:k]] = True
    return mask


def top_k_cell(theta: ArrayLike, k: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The convex cell that a vector is in, on which Top-K is one fixed projection.

    Args:
        theta: The vector, shape `(N,)`.
        k: Entries kept.

    Returns:
        The indices that are kept, and the signs there.

    Source: Peste et al. (2023), Definition C.1.1 and C.1.2.
    """
    kept = np.flatnonzero(top_k_mask(theta, k))
    signs = np.sign(np.asarray(theta, float).ravel()[kept]).astype(int)
    return tuple(kept.tolist()), tuple(signs.tolist())


def compressed_gradient(
    gradient: Callable[[Vector], ArrayLike], theta: ArrayLike, k: int
) -> Vector:
    """The gradient of `L(TopK(theta))`: `M grad L(M theta)`, almost everywhere.

    The unmasked `grad L(M theta)`, which straight-through training uses, is not.

    Args:
        gradient: `grad L`, of a vector.
        theta: The point, shape `(N,)`.
        k: Entries kept.

    Source: Peste et al. (2023), Lemma C.1.1.
    """
    function("gradient", gradient)
    mask = top_k_mask(theta, k)
    return mask * np.asarray(gradient(mask * np.asarray(theta, float)), float)
