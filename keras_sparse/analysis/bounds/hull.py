"""Whether labels are in the convex hull of neurons' outputs: linear programs and distances."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from keras_sparse.messages.arguments import array, boolean, integer, number, one_of, optional, wrong

MODES = ("sign", "equality")
_MOST = 5e6  # numbers in a program that a solver is given without being asked twice
_EXACT = 4096  # neurons up to which the diameter is that of all pairs


class MembershipResult(NamedTuple):
    """What a linear program found.

    Args:
        member: Whether the labels are in the hull, or some weighting classifies all samples.
        margin: `tau*`, the largest margin that a weighting has, at most 1; NaN for equality.
        distance: From the scaled labels to the hull; NaN for signs.
        alpha: Weights of the neurons that attain it, shape `(N,)`, of sum 1.
        status: What the solver says.
    """

    member: bool
    margin: float
    distance: float
    alpha: np.ndarray
    status: str


def hull_membership(
    phi: ArrayLike, y: ArrayLike, mode: str = "sign", tau_min: float = 0.1, force: bool = False
) -> MembershipResult:
    """Whether some weighting of the neurons gives the labels.

    By `"sign"`, whether it classifies every sample: the program looks for the largest tau, at most
    1, with `s_j (A alpha)_j >= tau`, alpha in the simplex; a member has `tau* > tau_min`. With more
    neurons than samples and weights of both signs tau* is greater than 0 at random
    initialization already, so that a `tau_min` of 0 tells nothing. By `"equality"`, whether
    `A alpha = y` has a solution.

    ```python
    hull_membership(phi, labels, tau_min=0.1).margin
    ```

    Args:
        phi: Outputs of the neurons, shape `(m, N)`, a column each, on the scale of `y`.
        y: Shape `(m,)`: for signs the labels, 0 or less and greater than 0; else what is to be
            met.
        mode: `"sign"` or `"equality"`.
        tau_min: The margin that a member is above.
        force: Whether to solve a program of more than five million numbers.

    Returns:
        A `MembershipResult`.

    Raises:
        ValueError: If an argument is out of range or the program too large.

    Source: Wolfe (2023), B.2.2, programs 41 and 42 (with a margin in place of strict inequalities).
    """
    columns, labels = array("phi", phi), array("y", y).ravel()
    one_of("mode", mode, MODES)
    number("tau_min", tau_min, "[0, 1]")
    boolean("force", force)
    if columns.ndim != 2:
        raise wrong("phi", phi, "an array of shape (m, N)")
    if len(labels) != len(columns):
        raise wrong("y", y, f"one number for each of the {len(columns)} samples")
    if columns.size > _MOST and not force:
        raise ValueError(
            f"A program of {columns.size:,} numbers takes a solver long. Give fewer samples, or "
            "force=True. Received: phi of shape " + str(columns.shape)
        )
    if mode == "sign":
        return _largest_margin(columns, np.where(labels > 0, 1.0, -1.0), tau_min)
    return _equality(columns, labels)


def _largest_margin(columns: np.ndarray, signs: np.ndarray, tau_min: float) -> MembershipResult:
    from scipy.optimize import linprog

    m, n = columns.shape
    rows = np.hstack([-signs[:, None] * columns, np.ones((m, 1))])
    found = linprog(
        np.append(np.zeros(n), -1.0),
        A_ub=rows,
        b_ub=np.zeros(m),
        A_eq=np.append(np.ones(n), 0.0)[None],
        b_eq=[1.0],
        bounds=[(0, None)] * n + [(None, 1.0)],
        method="highs",
    )
    if found.x is None:
        return MembershipResult(False, float("nan"), float("nan"), np.zeros(n), found.message)
    margin = float(found.x[-1])
    return MembershipResult(margin > tau_min, margin, float("nan"), found.x[:-1], found.message)


def _equality(columns: np.ndarray, target: np.ndarray) -> MembershipResult:
    from scipy.optimize import linprog

    n = columns.shape[1]
    rows = np.vstack([columns, np.ones((1, n))])
    found = linprog(
        np.zeros(n), A_eq=rows, b_eq=np.append(target, 1.0), bounds=(0, None), method="highs"
    )
    if found.x is not None:
        return MembershipResult(True, float("nan"), 0.0, found.x, found.message)
    distance, alpha = hull_distance(columns, target)
    return MembershipResult(False, float("nan"), distance, alpha, found.message)


def hull_distance(phi: ArrayLike, y: ArrayLike) -> tuple[float, np.ndarray]:
    """The distance from a point to the convex hull of some others, and the weights of the nearest.

    Args:
        phi: The points, shape `(m, N)`, a column each.
        y: Shape `(m,)`.

    Returns:
        `min ||A alpha - y||` over the simplex, and alpha.

    Raises:
        ValueError: If the arguments do not fit.

    Source: Wolfe (2023), B.2.2 (the distance beside the program's yes or no).
    """
    from scipy.optimize import nnls

    columns, target = array("phi", phi), array("y", y).ravel()
    if columns.ndim != 2:
        raise wrong("phi", phi, "an array of shape (m, N)")
    if len(target) != len(columns):
        raise wrong("y", y, f"one number for each of the {len(columns)} rows of phi")
    # Seen from y, the nearest point is along alpha' >= 0 of the least ||B alpha'||^2 plus
    # (sum - 1)^2: its alpha', divided by its sum, is the simplex's own.
    seen = columns - target[:, None]
    scale = float(np.abs(seen).max()) or 1.0
    rows = np.vstack([seen / scale, np.ones((1, columns.shape[1]))])
    alpha, _ = nnls(rows, np.append(np.zeros(len(target)), 1.0), maxiter=30 * columns.shape[1])
    alpha /= alpha.sum()
    return float(np.linalg.norm(seen @ alpha)), alpha


def polytope_diameter(phi: ArrayLike, exact: bool | None = None) -> float:
    """The diameter of the convex hull of points: the largest distance of two of them.

    Args:
        phi: The points, shape `(N, m)`, a row each.
        exact: Whether to look at all pairs; otherwise twice the largest distance from the mean is
            returned, which is no smaller. Defaults to all pairs of up to 4,096 points.

    Raises:
        ValueError: If `phi` is no matrix.

    Source: Wolfe (2023), 3.2; Wolfe et al. (2022), Lemma 2.
    """
    points = array("phi", phi)
    optional(boolean, "exact", exact)
    if points.ndim != 2:
        raise wrong("phi", phi, "an array of shape (N, m)")
    points = points - points.mean(axis=0)
    norms = np.einsum("ij,ij->i", points, points)
    if not (len(points) <= _EXACT if exact is None else exact):
        return float(2 * np.sqrt(norms.max()))
    squares = norms[:, None] + norms - 2 * points @ points.T
    return float(np.sqrt(max(squares.max(), 0.0)))


class Condition(NamedTuple):
    """How well conditioned features are.

    Args:
        smallest: The smallest singular value.
        largest: The largest singular value.
    """

    smallest: float
    largest: float

    @property
    def kappa(self) -> float:
        """The condition number."""
        return self.largest / self.smallest if self.smallest else float("inf")


def first_layer_condition(features: ArrayLike, samples: int | None = None) -> Condition:
    """The singular values that the threshold of gradient descent depends upon.

    The source's threshold has a power of the condition number: look at kappa and its square.

    Args:
        features: Outputs of the first layer at initialization, shape `(m, N)`.
        samples: Takes the first so many. Defaults to all.

    Raises:
        ValueError: If an argument is out of range.

    Source: Wolfe et al. (2022), Definition 1 and Theorem 3.
    """
    matrix = array("features", features)
    if matrix.ndim != 2:
        raise wrong("features", features, "an array of shape (m, N)")
    optional(integer, "samples", samples, 1, len(matrix))
    values = np.linalg.svd(matrix[:samples], compute_uv=False)
    return Condition(float(values[-1]), float(values[0]))
