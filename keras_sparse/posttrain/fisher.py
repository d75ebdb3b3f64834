"""The empirical Fisher matrix: gradients as rows, and its inverse in blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.probe.calibration import calibration_batches
from keras_sparse.probe.gradients import LossGradients


class GradientRows:
    """The gradients that make up an empirical Fisher matrix, a few at a time.

    One gradient is that of the mean loss of `samples_per_gradient` samples. Samples that are left
    over at the end of the arrays, or of a given batch, are not used. The calibration data stays
    in memory; of the gradients only those of one piece, `at_once * weights * 8` bytes.

    ```python
    rows = GradientRows(model, variables, (x, y), samples_per_gradient=10)
    for piece in rows.pieces(16):
        print(len(rows), [part.shape for part in piece])
    ```

    Args:
        model: A built Keras model.
        variables: The weights to differentiate by.
        data: Calibration data. See `calibration_batches`.
        samples_per_gradient: Samples that one gradient is the mean of.
        loss: A loss, or `None` for the one that the model is compiled with.

    Raises:
        ValueError: If there are fewer samples than one gradient takes, or no loss is known.
    """

    def __init__(
        self,
        model: keras.Model,
        variables: Sequence[Any],
        data: Any,
        samples_per_gradient: int = 1,
        loss: Any = None,
    ) -> None:
        self._gradients = LossGradients(model, variables, loss)
        self._batches = [
            part
            for x, y in calibration_batches(model, data, samples_per_gradient)
            for part in _parts(x, y, samples_per_gradient)
        ]
        if not self._batches:
            raise ValueError(
                f"No batch of the calibration data holds samples_per_gradient="
                f"{samples_per_gradient} samples. Give more samples, or lower samples_per_gradient."
            )

    def __len__(self) -> int:
        """The number of gradients."""
        return len(self._batches)

    def pieces(self, at_once: int) -> Iterator[list[np.ndarray]]:
        """Yields all gradients at the current weights, at most `at_once` of them together.

        Yields:
            For each variable a float64 array of shape `(gradients,) + variable.shape`.

        Raises:
            ValueError: If a gradient is not finite, or all of them are zero.
        """
        seen = False
        for start in range(0, len(self), at_once):
            found = [
                [ops.convert_to_numpy(gradient) for gradient in self._gradients(x, y)]
                for x, y in self._batches[start : start + at_once]
            ]
            piece = [np.stack(parts).astype(np.float64) for parts in zip(*found, strict=True)]
            if not all(np.isfinite(part).all() for part in piece):
                raise ValueError(
                    "A gradient of the calibration data is not finite. Look for NaN or infinity "
                    "in the data, in the model's weights and in its loss."
                )
            seen = seen or any(part.any() for part in piece)
            yield piece
        if not seen:
            raise ValueError(
                "All gradients of the calibration data are zero: they do not tell weights apart. "
                "Give a loss that depends on the outputs, and samples that the model gets wrong."
            )


def _parts(x: Any, y: Any, size: int) -> Iterator[tuple[Any, Any]]:
    samples = len(keras.tree.flatten(x)[0])
    for start in range(0, samples - size + 1, size):
        part = slice(start, start + size)
        yield tuple(keras.tree.map_structure(lambda leaf, p=part: leaf[p], side) for side in (x, y))


class BlockInverse:
    """The inverse of `damping * I + 1/n sum_i g_i g_i^T`, block by block along a flat weight.

    Gradients come in pieces of several; `F^-1 - F^-1 G^T (n I + G F^-1 G^T)^-1 G F^-1` is the
    Woodbury recursion taken for a piece `G` at once. Memory: `size * width * 8` bytes, twice that
    while a piece is added.

    Args:
        size: Number of weights.
        block_size: Weights in a block; the last block is filled up with weights of no gradient.
        damping: The multiple of the identity.
        gradients: How many gradients there will be, n.

    Source: Singh and Alistarh (2020).
    """

    def __init__(self, size: int, block_size: int, damping: float, gradients: int) -> None:
        self.size, self._gradients = size, gradients
        self.width = min(block_size, size)
        self.blocks = np.zeros((-(-size // self.width), self.width, self.width))
        self._diagonals()[:] = 1 / damping

    def add(self, rows: np.ndarray) -> None:
        """Adds gradients, shape `(some, size)`."""
        piece = self._in_blocks(rows)
        reach = piece @ self.blocks
        inner = reach @ piece.swapaxes(1, 2)
        np.einsum("bii->bi", inner)[:] += self._gradients
        self.blocks -= reach.swapaxes(1, 2) @ np.linalg.solve(inner, reach)

    def diagonal(self) -> np.ndarray:
        """The diagonal of the inverse, shape `(size,)`."""
        return self._diagonals().ravel()[: self.size].copy()

    def product(self, vector: np.ndarray) -> np.ndarray:
        """The inverse times a vector of shape `(size,)`."""
        return (self._in_blocks(vector[None]) @ self.blocks).ravel()[: self.size]

    def _diagonals(self) -> np.ndarray:
        return np.einsum("bii->bi", self.blocks)

    def _in_blocks(self, rows: np.ndarray) -> np.ndarray:
        filled = np.zeros((len(rows), self.blocks.shape[0] * self.width))
        filled[:, : self.size] = rows
        return np.ascontiguousarray(filled.reshape(len(rows), -1, self.width).swapaxes(0, 1))


def obs_scores(weights: np.ndarray, inverse_diagonal: np.ndarray) -> np.ndarray:
    """What removing each weight adds to the loss, `theta_q^2 / (2 [F^-1]_qq)`.

    Infinite where rounding has brought the diagonal down to zero, for want of damping.
    """
    positive = inverse_diagonal > 0
    return np.where(positive, weights**2 / (2 * np.where(positive, inverse_diagonal, 1)), np.inf)


def obs_update(
    weights: np.ndarray, inverse_diagonal: np.ndarray, removed: np.ndarray
) -> np.ndarray:
    """The vector whose product with `F^-1` is the sum of the removed weights' own updates.

    The update of a single weight is `-theta_q F^-1 e_q / [F^-1]_qq`.
    """
    return np.where(removed, -weights / inverse_diagonal, 0.0)
