"""Conjugate gradients on `||V^T V - I||_F^2`, with steps that are exactly the best ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from keras_sparse.signal_propagation.orthogonality import smaller_gram

# Steps after which what rounding has added to the Gram matrix is cleared.
_ANEW = 20


def conjugate_descent(matrix: np.ndarray, mask: np.ndarray) -> Iterator[tuple[np.ndarray, float]]:
    """Yields masked matrices of ever smaller norms, each with its `||V^T V - I||_F`.

    Along a direction `D` the norm's square is a polynomial of degree four in the step, whose
    coefficients are inner products of `V^T V - I`, `V^T D + D^T V` and `D^T D`. Of these only the
    smaller side is computed (`V V^T` where that is it). It ends where no step leads down.

    Args:
        matrix: Of shape `(inputs, outputs)`, in the precision to compute in.
        mask: Ones where an entry is kept, of the same type.

    Source: the direction is that of Polak and Ribiere (1969).
    """
    wide = matrix.shape[0] < matrix.shape[1]
    value, direction, before, size_before = matrix * mask, None, None, 1.0
    step = 0
    while True:
        if step % _ANEW == 0:
            gram = smaller_gram(value)
        yield value, float(np.sum(gram**2)) ** 0.5
        gradient = 4 * mask * (gram @ value if wide else value @ gram)
        size = float(np.sum(gradient**2))
        if size == 0 or not np.isfinite(size):
            return
        if direction is None:
            direction = -gradient
        else:
            turn = max(0.0, float(np.sum(gradient * (gradient - before))) / size_before)
            direction = turn * direction - gradient
            if float(np.sum(direction * gradient)) >= 0:
                direction = -gradient
        before, size_before = gradient, size
        linear = value @ direction.T if wide else value.T @ direction
        linear = linear + linear.T
        square = direction @ direction.T if wide else direction.T @ direction
        length = _best_step(gram, linear, square)
        if length is None:
            return
        value = value + length * direction
        gram = gram + length * linear + length**2 * square
        step += 1


def _best_step(gram: np.ndarray, linear: np.ndarray, square: np.ndarray) -> float | None:
    """The step above zero at which `||gram + t linear + t^2 square||` is least, `None` if none."""
    quartic = [
        float(np.sum(square * square)),
        2 * float(np.sum(linear * square)),
        float(np.sum(linear * linear)) + 2 * float(np.sum(gram * square)),
        2 * float(np.sum(gram * linear)),
        0.0,
    ]
    roots = np.roots(np.polyder(quartic))
    steps = roots.real[(np.abs(roots.imag) <= 1e-6 * np.abs(roots)) & (roots.real > 0)]
    if not len(steps):
        return None
    best = min(steps, key=lambda length: float(np.polyval(quartic, length)))
    return float(best) if np.polyval(quartic, best) < 0 else None
