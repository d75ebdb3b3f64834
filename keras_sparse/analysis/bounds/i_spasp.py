"""What is proven about i-SpaSP: how far the pruned hidden layer is from the whole one.

Notation: `f(X) = W1 relu(W0 X)`, H the hidden activations with a row for each unit, `mu` the sums
of the rows, s units kept, E what H has beyond its s rows of the largest sums, and V the difference
of the outputs. H is p-row-compressible with magnitude R if the i-th largest of `|mu(H)|` is at most
`R / i^(1/p)`. The bounds hold for W1 with restricted isometry constant `delta_4s <= 0.1`, which
no W1 of fewer than 4 s outputs has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from keras_sparse.messages.arguments import array, instance, integer, number, wrong


def hidden_error_bound(sums: ArrayLike, size: int, iterations: int) -> float:
    """The norm of what the selected units leave out of the row sums, at most.

    `0.444^t ||mu(H)||_2 + (14 + 7 / sqrt(s)) ||mu(E)||_1`.

    Args:
        sums: `mu(H)`, shape `(d_hid,)`, at least 0.
        size: s.
        iterations: t.

    Raises:
        ValueError: If an argument is out of range.

    Source: Wolfe (2023), Lemma 3.
    """
    ordered = np.sort(np.abs(array("sums", sums).ravel()))[::-1]
    integer("size", size)
    integer("iterations", iterations, 0)
    tail = ordered[size:].sum()
    return float(0.444**iterations * np.linalg.norm(ordered) + (14 + 7 / np.sqrt(size)) * tail)


def residual_bound(sums: ArrayLike, weights: ArrayLike, size: int, iterations: int) -> float:
    """The Frobenius norm of the difference of dense and pruned outputs, at most.

    `||W1||_F` times `hidden_error_bound`; for activations of at least 0.

    Args:
        sums: `mu(H)`, shape `(d_hid,)`.
        weights: W1, of any layout.
        size: s.
        iterations: t.

    Raises:
        ValueError: If an argument is out of range.

    Source: Wolfe (2023), Theorem 3.
    """
    norm = np.linalg.norm(array("weights", weights))
    return float(norm) * hidden_error_bound(sums, size, iterations)


def network_residual_bound(
    sums: ArrayLike, weights: Sequence[ArrayLike], size: int, iterations: int
) -> float:
    """The Frobenius norm of the difference of outputs where several layers are pruned, at most.

    Each hidden layer is pruned to s units, the first one first. What was left out before layer l
    comes to it as `sqrt(d) ||vec(W)||_1` times `hidden_error_bound` of the layer before, and counts
    there as what the layer itself leaves out. Nothing is rounded to an order: with many iterations,
    and sums as of `tail_bound`, this is the sum in the theorem times R.

    Args:
        sums: `mu(H)` of the hidden layers of the whole network, shape `(layers, d)`.
        weights: What each of these layers is multiplied by, matrices of shape `(d, d_out)`.
        size: s.
        iterations: t.

    Raises:
        ValueError: If an argument is out of range, or there is not one matrix for each layer.

    Source: Wolfe (2023), Theorem 5, equation 46 and C.2.6.
    """
    layers = array("sums", sums)
    if layers.ndim != 2:
        raise wrong("sums", sums, "an array of shape (layers, d)")
    integer("size", size)
    matrices = [
        array("weights", each) for each in instance("weights", weights, (list, tuple), "a list")
    ]
    if [len(matrix) for matrix in matrices] != [layers.shape[1]] * len(layers):
        rows = f"a matrix of {layers.shape[1]} rows for each of the {len(layers)} layers"
        raise wrong("weights", weights, rows)
    error = left_out = 0.0
    for of, matrix in zip(layers, matrices, strict=True):
        missed = (14 + 7 / np.sqrt(size)) * left_out
        error = hidden_error_bound(of, size, iterations) + missed
        left_out = float(np.sqrt(len(matrix)) * np.abs(matrix).sum() * error)
    return float(np.linalg.norm(matrices[-1])) * error


def tail_bound(magnitude: float, p: float, size: int) -> float:
    """The sum of the row sums beyond the s largest, at most: `R s^(1 - 1/p) / (1/p - 1)`.

    Args:
        magnitude: R.
        p: In (0, 1).
        size: s.

    Raises:
        ValueError: If an argument is out of range.

    Source: Wolfe (2023), Lemma 4 as C.2.5 has it.
    """
    number("magnitude", magnitude, "[0, inf)")
    number("p", p, "(0, 1)")
    integer("size", size)
    return magnitude * size ** (1 - 1 / p) / (1 / p - 1)


class Compressibility(NamedTuple):
    """How fast ordered row sums fall.

    Args:
        magnitude: R.
        p: The smaller, the more is in few rows.
    """

    magnitude: float
    p: float


def fit_compressibility(sums: ArrayLike) -> Compressibility:
    """Fits `R / i^(1/p)` to the ordered row sums, by least squares on logarithms.

    Args:
        sums: `mu(H)`, shape `(d_hid,)`; zeros are left out.

    Raises:
        ValueError: If fewer than two are left, or they do not fall.

    Source: Wolfe (2023), 4.5.
    """
    ordered = np.sort(np.abs(array("sums", sums).ravel()))[::-1]
    ordered = ordered[ordered > 0]
    if len(ordered) < 2 or ordered[0] == ordered[-1]:
        raise wrong("sums", sums, "two different numbers at least, besides zeros")
    slope, level = np.polyfit(np.log(np.arange(1, len(ordered) + 1)), np.log(ordered), 1)
    return Compressibility(float(np.exp(level)), float(-1 / slope))
