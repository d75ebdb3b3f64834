"""Multinomial logistic regression with an L2 penalty, fitted by L-BFGS."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from keras_sparse.messages.arguments import array, boolean, integer, number, wrong
from keras_sparse.messages.warning import SparsityWarning
from keras_sparse.transfer.labels import class_labels

# Peste (2023) gives no grid; these are decades of the range of Kornblith, Shlens and Le (2019).
GRID = tuple(10.0**k for k in range(-6, 6))
_GRADIENT = 1e-4
_STEPS = 5000
# In the search for a penalty, whose accuracy is known long before the minimum is.
_SEARCH_STEPS = 200


@dataclasses.dataclass(frozen=True)
class LogisticRegression:
    """A fitted regression. Made by `logistic_regression`.

    Args:
        kernel: Float64, shape `(features, classes)`.
        bias: Float64, shape `(classes,)`; zeros where there is none.
        l2: The penalty that it was fitted with.
        objective: The regularized mean cross-entropy at these values, in nats.
        gradient_norm: The Euclidean norm of its gradient there.
        samples: Samples that it was fitted to.
        accuracies: Of a search the validation accuracy of each penalty, by penalty.
    """

    kernel: np.ndarray = dataclasses.field(repr=False)
    bias: np.ndarray = dataclasses.field(repr=False)
    l2: float
    objective: float
    gradient_norm: float
    samples: int
    accuracies: Mapping[float, float] = dataclasses.field(default_factory=dict)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """The logits of features, shape `(samples, classes)`."""
        return np.asarray(features, float) @ self.kernel + self.bias


def logistic_regression(
    features: Any,
    labels: Any,
    classes: int | None = None,
    *,
    l2: float | Sequence[float] = GRID,
    validation: float = 0.2,
    use_bias: bool = True,
    seed: int = 0,
) -> LogisticRegression:
    """Fits a linear classifier of features, and finds its penalty by samples that are held out.

    It minimizes `mean(cross-entropy) + l2 / 2 * sum(kernel ** 2)`; the bias is free. Of several
    penalties each is fitted to the samples that are not held out, the one of the best validation
    accuracy (the largest of equal ones) is then fitted to all samples. Nothing is random but
    which samples are held out.

    ```python
    found = logistic_regression(features, labels)
    print(found.l2, (found.predict(test_features).argmax(-1) == test_labels).mean())
    ```

    Args:
        features: Shape `(samples, features)`.
        labels: Class indices, shape `(samples,)`.
        classes: How many classes; defaults to what the labels tell.
        l2: The penalty, or several to choose from.
        validation: Fraction of the samples of each class that is held out.
        use_bias: Whether there is a bias.
        seed: Seed of which are.

    Raises:
        ValueError: If features and labels do not fit together, or an argument is out of range.

    Source: Peste (2023), 4.4.2 and B.2.1; Kornblith, Shlens and Le (2019).
    """
    x = array("features", features)
    y, count = class_labels(labels, classes)
    if x.ndim != 2 or len(x) != len(y):
        raise wrong(
            "features", f"an array of shape {x.shape}", f"of shape (samples={len(y)}, features)"
        )
    boolean("use_bias", use_bias)
    integer("seed", seed, 0)
    number("validation", validation, "(0, 1)")
    # Strong penalties first: each fit begins where the last one ended.
    grid = sorted(set(penalties(l2)), reverse=True)
    accuracies: dict[float, float] = {}
    starts: dict[float, tuple[np.ndarray, np.ndarray]] = {}
    if len(grid) > 1:
        held = held_out(y, validation, seed)
        if not held.any() or held.all():
            raise ValueError(
                f"Of {len(y)} samples none is left to fit or to validate with. Give more samples, "
                f"or one l2. Received: validation={validation}"
            )
        for each in grid:
            start = next(reversed(starts.values()), None)
            fitted = _fit(x[~held], y[~held], count, each, use_bias, start, searching=True)
            starts[each] = fitted.kernel, fitted.bias
            right = fitted.predict(x[held]).argmax(-1) == y[held]
            accuracies[each] = float(right.mean())
    best = max(accuracies, key=lambda each: (accuracies[each], each)) if accuracies else grid[0]
    fitted = _fit(x, y, count, best, use_bias, starts.get(best))
    return dataclasses.replace(fitted, accuracies=accuracies)


def penalties(l2: Any) -> list[float]:
    """The penalties of `logistic_regression`'s argument of that name.

    Raises:
        ValueError: If there is none, or one is negative or not finite.
    """
    several = isinstance(l2, (list, tuple, np.ndarray))
    found = [number("l2", each, "[0, inf)") for each in (l2 if several else [l2])]
    if not found:
        raise wrong("l2", l2, "a penalty, or several to choose from")
    return found


def held_out(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Which samples are held out: of each class the fraction, rounded, at random.

    Args:
        labels: Class indices.
        fraction: In (0, 1).
        seed: A non-negative integer.

    Returns:
        Booleans.
    """
    generator = np.random.default_rng(seed)
    held = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        held[members[: round(fraction * len(members))]] = True
    return held


def objective(
    kernel: np.ndarray, bias: np.ndarray, x: np.ndarray, y: np.ndarray, l2: float | np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """The regularized mean cross-entropy, and its gradients.

    Args:
        kernel: Shape `(features, classes)`.
        bias: Shape `(classes,)`.
        x: Features, shape `(samples, features)`.
        y: Class indices.
        l2: The penalty, or one for each feature, shape `(features, 1)`.
    """
    logits = x @ kernel + bias
    rows = np.arange(len(y))
    loss = -log_softmax(logits, axis=1)[rows, y].mean() + (l2 * kernel**2).sum() / 2
    slope = softmax(logits, axis=1)
    slope[rows, y] -= 1
    slope /= len(y)
    return float(loss), x.T @ slope + l2 * kernel, slope.sum(0)


def _fit(
    x: np.ndarray,
    y: np.ndarray,
    classes: int,
    l2: float,
    use_bias: bool,
    start: tuple[np.ndarray, np.ndarray] | None = None,
    searching: bool = False,
) -> LogisticRegression:
    # The same minimum in coordinates that L-BFGS finds it in sooner: centered, where a bias makes
    # up for it, and about as curved along each feature.
    center = x.mean(0) if use_bias else np.zeros(x.shape[1])
    scale = np.sqrt(((x - center) ** 2).mean(0) / 4 + l2)
    scale[scale == 0] = 1.0
    scaled, scale = (x - center) / scale, scale[:, None]
    penalty = l2 / scale**2
    cut = x.shape[1] * classes

    def split(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return flat[:cut].reshape(-1, classes), flat[cut:] if use_bias else np.zeros(classes)

    def both(flat: np.ndarray) -> tuple[float, np.ndarray]:
        loss, slopes, of_bias = objective(*split(flat), scaled, y, penalty)
        return loss, np.concatenate([slopes.ravel(), of_bias if use_bias else []])

    kernel, bias = start or (np.zeros((x.shape[1], classes)), np.zeros(classes))
    first = np.concatenate([(kernel * scale).ravel(), bias + center @ kernel if use_bias else []])
    steps, slope = (_SEARCH_STEPS, 1e-4) if searching else (_STEPS, 1e-6)
    options = {"maxiter": steps, "maxfun": 2 * steps, "ftol": 0.0, "gtol": slope}
    found = minimize(both, first, jac=True, method="L-BFGS-B", options=options)
    kernel, bias = split(found.x)
    kernel = kernel / scale
    bias = bias - center @ kernel
    loss, slopes, of_bias = objective(kernel, bias, x, y, l2)
    norm = float(np.hypot(np.linalg.norm(slopes), np.linalg.norm(of_bias) if use_bias else 0.0))
    if not searching and norm >= _GRADIENT:
        warnings.warn(
            f"L-BFGS ended after {found.nit} steps with a gradient of norm {norm:.1e}. Classes "
            "that a plane separates have no best weights without a penalty: give a larger l2.",
            SparsityWarning,
            stacklevel=2,
        )
    return LogisticRegression(kernel, bias, float(l2), loss, norm, len(y))
