"""Initializers of convolutions that keep the size of every signal."""

from __future__ import annotations

import random
import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.messages.arguments import number, random_seed
from keras_sparse.messages.warning import SparsityWarning

PACKAGE = "keras_sparse"


class _OrthogonalKernel(keras.initializers.Initializer):
    """Base class: draws an orthogonal kernel of a convolution, of anything else a matrix."""

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        self.gain = number("gain", gain, "(0, inf)")
        self.seed = random_seed("seed", seed)

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        """A kernel.

        Args:
            shape: `(..., inputs, outputs)`, two numbers at least.
            dtype: Of the kernel. Defaults to Keras's float type.
        """
        shape = tuple(shape)
        if len(shape) < 2:
            raise ValueError(
                f"{type(self).__name__} draws kernels of shape (..., inputs, outputs). Received: "
                f"shape={shape}"
            )
        seed = random.randrange(2**31) if self.seed is None else self.seed
        generator = np.random.default_rng(seed)
        *window, inputs, outputs = shape
        if self._fits(window, inputs, outputs):
            kernel = self._kernel(window, inputs, outputs, generator)
        else:
            if len(window):
                warnings.warn(
                    f"{type(self).__name__} needs {self._needs} and at most as many inputs as "
                    f"outputs. Received: shape={shape}. Its kernel is drawn as an orthogonal "
                    "matrix of window and inputs by outputs.",
                    SparsityWarning,
                    stacklevel=2,
                )
            kernel = orthogonal_matrix(int(np.prod(shape[:-1])), outputs, generator)
        kernel = self.gain * kernel.reshape(shape)
        return ops.convert_to_tensor(kernel, keras.backend.standardize_dtype(dtype))

    _needs = "a window"

    def _fits(self, window: list[int], inputs: int, outputs: int) -> bool:
        raise NotImplementedError

    def _kernel(
        self, window: list[int], inputs: int, outputs: int, generator: np.random.Generator
    ) -> np.ndarray:
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, serializable."""
        return {"gain": self.gain, "seed": self.seed}


@keras.saving.register_keras_serializable(package=PACKAGE)
class ConvolutionOrthogonal(_OrthogonalKernel):
    """Draws kernels whose convolution keeps the norm of what it is given.

    Exactly so with circular padding and a stride of 1, and up to the border otherwise. Dense
    kernels are drawn as orthogonal matrices. Where a window is not square or there are more inputs
    than outputs, there is no such kernel: it is drawn as an orthogonal matrix, with a warning.

    ```python
    keras.layers.Conv2D(32, 3, kernel_initializer=ks.ConvolutionOrthogonal(seed=0))
    ```

    Args:
        gain: What the kernel is multiplied by.
        seed: Makes it reproducible, with the same values at each call, as Keras's own.

    Raises:
        ValueError: If the gain is not greater than 0.

    Source: Xiao et al. (2018), "Dynamical isometry and a mean field theory of CNNs", Algorithm 1.
    """

    _needs = "a square window of two axes"

    def _fits(self, window: list[int], inputs: int, outputs: int) -> bool:
        return len(window) == 2 and window[0] == window[1] and inputs <= outputs

    def _kernel(
        self, window: list[int], inputs: int, outputs: int, generator: np.random.Generator
    ) -> np.ndarray:
        block = np.eye(outputs)[None, None]
        for _ in range(window[0] - 1):
            block = _convolved(block, _two_by_two(outputs, generator))
        return orthogonal_matrix(outputs, outputs, generator)[:inputs] @ block


@keras.saving.register_keras_serializable(package=PACKAGE)
class DeltaOrthogonal(_OrthogonalKernel):
    """Draws kernels that are an orthogonal matrix at the center of the window and zero elsewhere.

    Do not prune by connection sensitivity at such a start: of a weight that is zero it is zero, so
    that at 90 % a convolution of 3x3 becomes one of 1x1. Use `ConvolutionOrthogonal`.

    ```python
    keras.layers.Conv2D(32, 3, kernel_initializer=ks.DeltaOrthogonal(seed=0))
    ```

    Args:
        gain: What the kernel is multiplied by.
        seed: Makes it reproducible, with the same values at each call, as Keras's own.

    Raises:
        ValueError: If the gain is not greater than 0.

    Source: Xiao et al. (2018), Section 2.3; the warning: Lee (2020), Section 4.3.
    """

    _needs = "a window of odd lengths"

    def _fits(self, window: list[int], inputs: int, outputs: int) -> bool:
        return len(window) > 0 and all(length % 2 for length in window) and inputs <= outputs

    def _kernel(
        self, window: list[int], inputs: int, outputs: int, generator: np.random.Generator
    ) -> np.ndarray:
        kernel = np.zeros((*window, inputs, outputs))
        center = tuple(length // 2 for length in window)
        kernel[center] = orthogonal_matrix(outputs, outputs, generator)[:inputs]
        return kernel


def orthogonal_matrix(rows: int, columns: int, generator: np.random.Generator) -> np.ndarray:
    """A random matrix with orthonormal rows or columns, whichever are fewer."""
    tall = generator.normal(size=(max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    q *= np.sign(np.diag(r))  # uniform over all of them
    return q if rows >= columns else q.T


def _two_by_two(size: int, generator: np.random.Generator) -> np.ndarray:
    """An orthogonal kernel of 2x2, from two random projections, shape `(2, 2, size, size)`."""
    one, two = (_projection(size, generator) for _ in range(2))
    identity = np.eye(size)
    return np.array(
        [
            [one @ two, one @ (identity - two)],
            [(identity - one) @ two, (identity - one) @ (identity - two)],
        ]
    )


def _projection(size: int, generator: np.random.Generator) -> np.ndarray:
    basis = orthogonal_matrix(size, size, generator)[:, : size // 2]
    return basis @ basis.T


def _convolved(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """The convolution of two kernels of matrices, which multiplies them."""
    length = len(one) + len(two) - 1
    result = np.zeros((length, length, *one.shape[2:]))
    for i in range(len(two)):
        for j in range(len(two)):
            result[i : i + len(one), j : j + len(one)] += one @ two[i, j]
    return result
