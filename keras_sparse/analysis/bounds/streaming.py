"""What is proven about streaming with replay: how often the iterates err, in the mean.

Notation: `f(x) = sqrt(m) W_L relu(W_{L-1} ... relu(W_1 x))`, m its width and L its depth, n
examples of norm 1 that come once, B replayed at each, Xi the largest squared norm of what
augmentation adds. W_1 and W_L are not trained. Constants that the source does not name are
arguments, 1 by default.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from keras_sparse.messages.arguments import array, integer, number, wrong

Weights = list[np.ndarray]


def initial_weights(width: int, depth: int, dimension: int, seed: int = 0) -> Weights:
    """Draws W_1 to W_L: variance 2/m, and 1/m for W_L.

    Args:
        width: m.
        depth: L, at least 2.
        dimension: Of an example.
        seed: Of the draw.

    Returns:
        Matrices `(m, dimension)`, `(m, m)`, ..., `(1, m)`.

    Raises:
        ValueError: If an argument is out of range.

    Source: Wolfe (2023), Equation 20.
    """
    integer("width", width)
    integer("depth", depth, 2)
    integer("dimension", dimension)
    random = np.random.default_rng(integer("seed", seed, 0))
    sizes = [dimension, *[width] * (depth - 1)]
    hidden = [random.normal(0, math.sqrt(2 / width), (width, size)) for size in sizes[: depth - 1]]
    return [*hidden, random.normal(0, math.sqrt(1 / width), (1, width))]


def _checked(weights: Weights) -> Weights:
    if not isinstance(weights, (list, tuple)) or len(weights) < 2:
        raise wrong("weights", weights, "a list of the matrices W_1 to W_L")
    return [array("weights", each) for each in weights]


def hidden_states(weights: Weights, x: ArrayLike) -> list[np.ndarray]:
    """The outputs h_1 to h_{L-1} of the hidden layers for an example.

    Args:
        weights: W_1 to W_L.
        x: The example, `(dimension,)`.

    Raises:
        ValueError: If an argument is none that can be used.

    Source: Wolfe (2023), Equation 19.
    """
    state, found = array("x", x), []
    for matrix in _checked(weights)[:-1]:
        state = np.maximum(matrix @ state, 0)
        found.append(state)
    return found


def output(weights: Weights, x: ArrayLike) -> float:
    """`f(x)`. Source: Wolfe (2023), Equation 19."""
    last = hidden_states(weights, x)[-1]
    return float(math.sqrt(len(last)) * (weights[-1] @ last)[0])


def output_gradients(weights: Weights, x: ArrayLike) -> Weights:
    """The gradients of `f(x)` by each matrix.

    Args:
        weights: W_1 to W_L.
        x: The example.

    Raises:
        ValueError: If an argument is none that can be used.
    """
    states = [array("x", x), *hidden_states(weights, x)]
    root = math.sqrt(len(states[-1]))
    found = [root * states[-1][None]]
    back = root * weights[-1][0]
    for layer in range(len(weights) - 2, -1, -1):
        back = back * (states[layer + 1] > 0)
        found.append(np.outer(back, states[layer]))
        back = weights[layer].T @ back
    return found[::-1]


def logistic_loss(margin: ArrayLike) -> np.ndarray:
    """`log(1 + e^-z)`, a quarter of which at least is the error `1{z <= 0}`."""
    return np.logaddexp(0, -array("margin", margin))


def streaming_step(weights: Weights, x: ArrayLike, y: ArrayLike, learning_rate: float) -> Weights:
    """The weights after a step on the new and the replayed examples; gradients are summed.

    Args:
        weights: W_1 to W_L, of which the first and the last stay.
        x: Examples, `(B + 1, dimension)`.
        y: Their labels, -1 or 1.
        learning_rate: eta.

    Raises:
        ValueError: If an argument is none that can be used.

    Source: Wolfe (2023), Equation 21.
    """
    examples, labels = np.atleast_2d(array("x", x)), np.atleast_1d(array("y", y))
    if len(examples) != len(labels) or not np.isin(labels, (-1, 1)).all():
        raise wrong("y", y, "-1 or 1 for each example")
    number("learning_rate", learning_rate, "(0, inf)")
    new = [matrix.copy() for matrix in _checked(weights)]
    for example, label in zip(examples, labels, strict=True):
        slope = -label / (1 + math.exp(label * output(weights, example)))
        for matrix, gradient in zip(
            new[1:-1], output_gradients(weights, example)[1:-1], strict=True
        ):
            matrix -= learning_rate * slope * gradient
    return new


def linearization_error(weights: Weights, changed: Weights, x: ArrayLike) -> float:
    """`|f_W'(x) - f_W(x) - <grad f_W(x), W' - W>|`, which Lemma 12 bounds.

    Args:
        weights: W.
        changed: W'.
        x: The example.

    Raises:
        ValueError: If an argument is none that can be used.

    Source: Wolfe (2023), 5.5.
    """
    gradients = output_gradients(weights, x)
    moved = sum(
        float((gradient * (after - before)).sum())
        for gradient, before, after in zip(gradients, weights, _checked(changed), strict=True)
    )
    return abs(output(changed, x) - output(weights, x) - moved)


def linearization_bound(
    width: int, depth: int, distance: float, perturbation: float = 0.0, constant: float = 1.0
) -> float:
    """`C sqrt(m (1 + ||xi||^2)) w^(4/3) L^3 log m`.

    Args:
        width: m.
        depth: L.
        distance: w, the Frobenius norm by which a layer may change.
        perturbation: `||xi||^2`.
        constant: C.

    Raises:
        ValueError: If an argument is out of range.

    Source: Wolfe (2023), Lemma 12.
    """
    integer("width", width, 2)
    integer("depth", depth, 2)
    number("distance", distance, "[0, inf)")
    number("perturbation", perturbation, "[0, inf)")
    number("constant", constant, "(0, inf)")
    scale = math.sqrt(width * (1 + perturbation)) * depth**3 * math.log(width)
    return constant * scale * distance ** (4 / 3)


def distance_bound(
    width: int, examples: int, replayed: int, perturbation: float = 0.0, constant: float = 1.0
) -> float:
    """How far a layer gets from its first weights: `kappa n B sqrt(1 + Xi) / sqrt(m)`.

    For the learning rate `kappa m^(-3/2)` up to constants.

    Args:
        width: m.
        examples: n.
        replayed: B.
        perturbation: Xi.
        constant: kappa.

    Raises:
        ValueError: If an argument is out of range.

    Source: Wolfe (2023), Lemma 11.
    """
    integer("width", width)
    integer("examples", examples)
    integer("replayed", replayed)
    number("perturbation", perturbation, "[0, inf)")
    number("constant", constant, "(0, inf)")
    return constant * examples * replayed * math.sqrt((1 + perturbation) / width)


class StreamingBound(NamedTuple):
    """The three parts of a bound of the error.

    Args:
        loss: Four times the mean loss of the best linearized network.
        deviation: What a sample of n examples may be off.
        remainder: What the linearization, the radius and the replay cost.
    """

    loss: float
    deviation: float
    remainder: float

    @property
    def total(self) -> float:
        """The bound."""
        return self.loss + self.deviation + self.remainder


def streaming_error_bound(
    losses: ArrayLike,
    width: int,
    depth: int,
    replayed: int,
    radius: float,
    perturbation: float = 0.0,
    failure: float = 0.05,
    constant: float = 1.0,
) -> StreamingBound:
    """The mean error of an iterate drawn uniformly, at most, with probability `1 - delta`.

    `(4/n) sum l + sqrt(2 log(1/delta) / n)
    + C ((1 + Xi)^(3/4) B^(1/2) n + R^2) / (L^2 log^(3/2) m)`.

    Args:
        losses: The losses `l(y_t f(x_t + xi_t))` of a linearized network within `R / m` of the
            initialization, the best one that is known, `(n,)`.
        width: m, at least 2.
        depth: L.
        replayed: B.
        radius: R.
        perturbation: Xi.
        failure: delta, in (0, 1).
        constant: C.

    Raises:
        ValueError: If an argument is out of range.

    Source: Wolfe (2023), Theorem 6.
    """
    found = array("losses", losses).ravel()
    if (found < 0).any():
        raise wrong("losses", losses, "numbers of at least 0")
    integer("width", width, 2)
    integer("depth", depth, 2)
    integer("replayed", replayed, 0)
    number("radius", radius, "[0, inf)")
    number("perturbation", perturbation, "[0, inf)")
    number("failure", failure, "(0, 1)")
    number("constant", constant, "(0, inf)")
    n = len(found)
    replay = (1 + perturbation) ** 0.75 * math.sqrt(replayed) * n
    return StreamingBound(
        4 * float(found.mean()),
        math.sqrt(2 * math.log(1 / failure) / n),
        constant * (replay + radius**2) / (depth**2 * math.log(width) ** 1.5),
    )


def least_width(
    examples: int, replayed: int, depth: int, perturbation: float = 0.0, constant: float = 1.0
) -> int:
    """The least m of at least `C n B sqrt(1 + Xi) L^6 log^3 m`.

    Args:
        examples: n.
        replayed: B.
        depth: L.
        perturbation: Xi.
        constant: C.

    Raises:
        ValueError: If an argument is out of range.

    Source: Wolfe (2023), Theorem 6.
    """
    integer("examples", examples)
    integer("replayed", replayed)
    integer("depth", depth, 2)
    number("perturbation", perturbation, "[0, inf)")
    number("constant", constant, "(0, inf)")
    scale = constant * examples * replayed * math.sqrt(1 + perturbation) * depth**6

    def enough(width: int) -> bool:
        return width >= scale * math.log(width) ** 3

    # log^3 m falls behind m for good from e^3 on: double until it is enough, then bisect.
    low = high = math.ceil(math.e**3)
    if enough(low):
        return low
    while not enough(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
