"""What each unit of a layer adds to the outputs of the layer that follows."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from keras_sparse.messages.arguments import array, wrong


class Contributions:
    """Units' shares in a sum, kept as the two factors that they are products of.

    Unit i adds `hidden[:, i] @ weights[i]` to the outputs, before the next layer's bias. Inner
    products of contributions are taken factor by factor, and never need them written out.

    Args:
        hidden: Activations of N units, shape `(rows, N)`; `(rows, N, positions)` where a unit has
            several numbers in a row, as a channel has in the window of a convolution.
        weights: What they are multiplied with, shape `(N,)`, `(N, outputs)` or
            `(N, positions, outputs)`.

    Raises:
        ValueError: If the shapes do not fit.
    """

    def __init__(self, hidden: Any, weights: Any) -> None:
        found, factors = numbers("hidden", hidden), numbers("weights", weights)
        if found.ndim not in (2, 3):
            raise wrong("hidden", hidden, "an array of shape (rows, units)")
        if factors.ndim not in (1, 2, 3) or len(factors) != found.shape[1]:
            raise wrong(
                "weights", weights, f"an array with one entry for each of {found.shape[1]} units"
            )
        if factors.ndim < 3:
            factors = factors.reshape(len(factors), 1, -1)
        self.hidden = found if found.ndim == 3 else found[..., None]
        self.weights = factors
        if self.hidden.shape[2] != factors.shape[1]:
            raise wrong("weights", weights, f"of {self.hidden.shape[2]} positions, as hidden")

    @property
    def rows(self) -> int:
        """Rows of the data."""
        return len(self.hidden)

    @property
    def units(self) -> int:
        """N."""
        return len(self.weights)

    @property
    def outputs(self) -> int:
        """Outputs of the next layer."""
        return self.weights.shape[2]

    def part(self, units: Any = None, rows: Any = None) -> Contributions:
        """Those of some units, on some rows; `None` for all.

        Args:
            units: Indices.
            rows: Indices.
        """
        hidden = self.hidden if rows is None else self.hidden[rows]
        if units is None:
            return Contributions(hidden, self.weights)
        return Contributions(hidden[:, units], self.weights[units])

    def of(self, units: Any) -> np.ndarray:
        """The contributions of some units, shape `(units, rows, outputs)`."""
        return np.matmul(self.hidden[:, units].transpose(1, 0, 2), self.weights[units])

    def total(self, amounts: np.ndarray) -> np.ndarray:
        """The sum of all contributions, each so many times, shape `(rows, outputs)`."""
        chosen = np.flatnonzero(amounts)
        weights = amounts[chosen, None, None] * self.weights[chosen]
        return self.hidden[:, chosen].reshape(self.rows, -1) @ weights.reshape(-1, self.outputs)

    def inner(self, outputs: np.ndarray) -> np.ndarray:
        """The inner product of each contribution with outputs, shape `(N,)`."""
        flat = self.hidden.reshape(self.rows, -1)
        products = (flat.T @ outputs).reshape(self.weights.shape)
        return np.einsum("ipo,ipo->i", products, self.weights)

    def cross(self, hidden: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The inner product of each contribution with that of another unit, shape `(N,)`.

        Args:
            hidden: The other's activations, shape `(rows, positions)`.
            weights: The other's weights, shape `(positions, outputs)`.
        """
        flat = self.hidden.reshape(self.rows, -1)
        one = (flat.T @ hidden).reshape(self.units, -1)
        two = (self.weights @ weights.T).reshape(self.units, -1)
        return np.einsum("ip,ip->i", one, two)

    def norms(self) -> np.ndarray:
        """The squared norm of each contribution, shape `(N,)`."""
        if self.hidden.shape[2] == 1:
            flat = self.hidden[..., 0]
            squares = np.einsum("ri,ri->i", flat, flat)
            return squares * np.einsum("ipo,ipo->i", self.weights, self.weights)
        one = np.matmul(self.hidden.transpose(1, 2, 0), self.hidden.transpose(1, 0, 2))
        two = np.matmul(self.weights, self.weights.transpose(0, 2, 1))
        return np.einsum("ipq,ipq->i", one, two)


def numbers(name: str, value: Any) -> np.ndarray:
    """Finite numbers of an array or tensor, float64.

    Args:
        name: The argument's name.
        value: What was given.

    Raises:
        ValueError: If it holds something else.
    """
    found = ops.convert_to_numpy(value) if ops.is_tensor(value) else value
    if getattr(getattr(found, "dtype", None), "name", "") in ("bool", "bfloat16"):
        found = found.astype("float32")
    return array(name, found)
