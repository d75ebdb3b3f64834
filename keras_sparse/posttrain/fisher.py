"""The empirical Fisher matrix: gradients as rows, and its inverse in blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.probe.calibration import calibration_batches
from keras_sparse.probe.gradients import LossGradients
from keras_sparse.probe.layout import Layout

# Arrays are cut by gradients, not by batches.
_WHOLE = 1 << 30


class GradientRows:
    """The gradients that make up an empirical Fisher matrix, a few at a time.

    One gradient is that of the mean loss of `samples_per_gradient` samples. Samples that are left
    over at the end of the arrays, or of a given batch, are not used. The calibration data stays
    in memory; of the gradients only those of one piece, `at_once * weights * 4` bytes.

    ```python
    rows = GradientRows(model, variables, (x, y), samples_per_gradient=10)
    for piece in rows.pieces(16):
        print(len(rows), [part.shape for part in piece])
    ```

    Args:
        model: A built Keras model.
        variables: The weights to differentiate by.
        data: Calibration data. See `calibration_batches`.
        samples_per_gradient: Samples that one gradient is the mean of, or `None` for as few as
            make no more than `at_most` gradients.
        loss: A loss, or `None` for the one that the model is compiled with.
        at_most: See `samples_per_gradient`.

    Raises:
        ValueError: If there are fewer samples than one gradient takes, or no loss is known.
    """

    def __init__(
        self,
        model: keras.Model,
        variables: Sequence[Any],
        data: Any,
        samples_per_gradient: int | None = 1,
        loss: Any = None,
        at_most: int = 1,
    ) -> None:
        self._gradients = LossGradients(model, variables, loss)
        self._shapes = [variable.shape for variable in variables]
        given = list(calibration_batches(model, data, _WHOLE))
        if samples_per_gradient is None:
            samples_per_gradient = math.ceil(sum(_samples(x) for x, _ in given) / at_most)
        self._batches = [part for x, y in given for part in _parts(x, y, samples_per_gradient)]
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
            For each variable a float32 array of shape `(gradients,) + variable.shape`.

        Raises:
            ValueError: If a gradient is not finite, or all of them are zero.
        """
        seen = False
        for start in range(0, len(self), at_once):
            batches = self._batches[start : start + at_once]
            piece = [np.empty((len(batches), *shape), "float32") for shape in self._shapes]
            for i, (x, y) in enumerate(batches):
                for rows, gradient in zip(piece, self._gradients(x, y), strict=True):
                    rows[i] = ops.convert_to_numpy(gradient)
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
    for start in range(0, _samples(x) - size + 1, size):
        part = slice(start, start + size)
        yield tuple(keras.tree.map_structure(lambda leaf, p=part: leaf[p], side) for side in (x, y))


def _samples(x: Any) -> int:
    return len(keras.tree.flatten(x)[0])


def flat_rows(layout: Layout, gradients: np.ndarray) -> np.ndarray:
    """Gradients of one weight as rows of a matrix, the inputs of an output side by side.

    Args:
        layout: The weight's layout.
        gradients: Shape `(gradients,) + layout.shape`.

    Returns:
        Shape `(gradients, size)`, in the order of `to_rows`.
    """
    order = [1 + axis for axis in layout.positions + layout.inputs + layout.outputs]
    positions, inputs, outputs = layout.matrix_shape
    ordered = gradients.transpose(0, *order).reshape(-1, positions * inputs, outputs)
    return ordered.swapaxes(1, 2).reshape(len(gradients), -1)


class BlockFisher:
    """The blocks along the diagonal of `1/n sum_i g_i g_i^T`, and their inverse.

    Memory: `size * width * 8` bytes, twice that while the inverse is made, which uses it up.

    Args:
        size: Number of weights.
        block_size: Weights in a block; the last block is filled up with weights of no gradient.

    Source: Singh and Alistarh (2020), whose recursion gives the same inverse.
    """

    def __init__(self, size: int, block_size: int) -> None:
        self.size, self._gradients = size, 0
        self.width = min(block_size, size)
        self._sums = np.zeros((-(-size // self.width), self.width, self.width))

    def add(self, rows: np.ndarray) -> None:
        """Adds gradients, shape `(some, size)`."""
        piece = in_blocks(rows, self.width)
        self._sums += piece.swapaxes(1, 2) @ piece
        self._gradients += len(rows)

    def diagonal(self) -> np.ndarray:
        """The mean of the squared gradients, shape `(size,)`."""
        return np.einsum("bii->bi", self._sums).ravel()[: self.size] / self._gradients

    def inverted(self, damping: float) -> BlockInverse:
        """The inverse of the blocks with a multiple of the identity added; the last call."""
        blocks, self._sums = self._sums, np.empty((0, 0, 0))
        blocks /= self._gradients
        np.einsum("bii->bi", blocks)[:] += damping
        return BlockInverse(self.size, np.linalg.inv(blocks))


class BlockInverse:
    """A matrix of blocks along its diagonal.

    Args:
        size: Its rows and columns, which may end within the last block.
        blocks: Shape `(blocks, width, width)`.
    """

    def __init__(self, size: int, blocks: np.ndarray) -> None:
        self.size, self.blocks = size, blocks

    def diagonal(self) -> np.ndarray:
        """The diagonal, shape `(size,)`."""
        return np.einsum("bii->bi", self.blocks).ravel()[: self.size]

    def product(self, vector: np.ndarray) -> np.ndarray:
        """The matrix times a vector of shape `(size,)`."""
        parts = in_blocks(vector[None], self.blocks.shape[1])
        return (parts @ self.blocks).ravel()[: self.size]


def in_blocks(rows: np.ndarray, width: int) -> np.ndarray:
    """Cuts rows of shape `(some, size)` into `(blocks, some, width)`, filled up with zeros."""
    missing = -rows.shape[1] % width
    filled = np.pad(rows, [(0, 0), (0, missing)])
    return np.ascontiguousarray(filled.reshape(len(rows), -1, width).swapaxes(0, 1))


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
