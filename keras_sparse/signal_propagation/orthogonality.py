"""How far kernels are from being orthogonal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_sparse.messages.arguments import boolean, one_of
from keras_sparse.signal_propagation.matrices import LARGEST_GRAM, kernel_matrices

GRAMS = ("out", "in", "min")


def orthogonality_score(
    model: keras.Model,
    masks: Mapping[str, Any] | Sequence[Any] | None = None,
    *,
    per_layer: bool = False,
    gram: str = "out",
) -> Any:
    """The mean over kernels of `||V^T V - I||_F`, 0 where all are orthogonal.

    `V` is the masked kernel as a matrix of window and inputs by outputs. Depthwise kernels, which
    are no matrix, and those too large for a Gram matrix are left out.

    ```python
    print(ks.orthogonality_score(model))
    print(ks.orthogonality_score(model, per_layer=True))
    ```

    Args:
        model: A built Keras model.
        masks: Boolean arrays, as `StaticMask(mask=...)` takes them, for what is not pruned yet.
            Defaults to none.
        per_layer: Whether to return the score of each kernel by its path.
        gram: `"out"` (outputs by outputs), `"in"` (`V V^T`, window and inputs squared) or `"min"`,
            the smaller of the two.

    Returns:
        The score, or a dict of scores.

    Raises:
        ValueError: For arguments out of range, or masks that do not fit the model.

    Source: Lee (2020), Section 4.5.1.
    """
    boolean("per_layer", per_layer)
    one_of("gram", gram, GRAMS)
    scores = {
        kernel.target.path: matrix_score(kernel.matrix, gram)
        for kernel in kernel_matrices(model, masks)
        if kernel.target.layout.inputs and min(kernel.matrix.shape) <= LARGEST_GRAM
    }
    if not scores:
        raise ValueError(
            f"Model {model.name!r} has no kernel whose orthogonality can be told: all are "
            "depthwise or too large for a Gram matrix."
        )
    return scores if per_layer else float(np.mean(list(scores.values())))


def matrix_score(matrix: np.ndarray, gram: str = "out") -> float:
    """`||V^T V - I||_F` of a matrix.

    Args:
        matrix: Of shape `(inputs, outputs)`.
        gram: As for `orthogonality_score`.
    """
    return float(np.sqrt(np.sum(smaller_gram(matrix) ** 2) + more_zeros(matrix.shape, gram)))


def smaller_gram(matrix: np.ndarray) -> np.ndarray:
    """`V^T V - I` or `V V^T - I`, whichever is smaller."""
    rows, columns = matrix.shape
    found = matrix @ matrix.T if rows < columns else matrix.T @ matrix
    found.flat[:: len(found) + 1] -= 1
    return found


def more_zeros(shape: tuple[int, ...], gram: str) -> int:
    """Eigenvalues -1 that a matrix's Gram matrix minus the identity has beside the smaller one's.

    `V^T V` and `V V^T` have the same eigenvalues but for these.
    """
    rows, columns = shape
    side = {"out": columns, "in": rows, "min": min(rows, columns)}[gram]
    return side - min(rows, columns)
