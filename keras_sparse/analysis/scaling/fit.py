"""Curves of the steps to a result over the batch size, fitted to what was measured."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar

from keras_sparse.analysis.scaling.bound import bound_steps, theorem_curve
from keras_sparse.messages.arguments import array, integer, number, one_of, wrong
from keras_sparse.messages.warning import SparsityWarning

MODELS = ("theorem", "reciprocal")
_GRID = 400
_FEWEST = {"theorem": 3, "reciprocal": 2}


class Interval(NamedTuple):
    """What a bootstrap gives for a number.

    Args:
        low: Its lower end.
        high: Its upper end.
    """

    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class ScalingFit:
    """Steps to a result as a function of the batch size. `fit_scaling` makes it.

    Args:
        model: `"theorem"`, `4 C / B` up to `2 T` and `C (1 / T + 1 / (B - T))` beyond, or
            `"reciprocal"`, `c1 / B + c2`.
        parameters: `C` and `T`, or `c1` and `c2`.
        r_squared: The share of the variance of the logarithm of the steps that it explains.
        intervals: Of the parameters and of `critical_batch` in 95 % of the bootstrap's draws.
    """

    model: str
    parameters: dict[str, float]
    r_squared: float
    intervals: dict[str, Interval] = dataclasses.field(default_factory=dict)

    @property
    def critical_batch(self) -> float:
        """The batch size up to which larger ones pay: `2 T`, or `c1 / c2`."""
        return _critical_batch(self.model, self.parameters)

    def predict(self, batch_size: ArrayLike) -> np.ndarray:
        """Steps at any batch size, also at those that were not measured.

        Args:
            batch_size: Numbers of at least 1.
        """
        return _curve(self.model, self.parameters, np.asarray(batch_size, float))


def _curve(model: str, parameters: dict[str, float], sizes: np.ndarray) -> np.ndarray:
    if model == "theorem":
        return bound_steps(sizes, parameters["C"], parameters["T"])
    return parameters["c1"] / sizes + parameters["c2"]


def _critical_batch(model: str, parameters: dict[str, float]) -> float:
    if model == "theorem":
        return 2 * parameters["T"]
    return parameters["c1"] / parameters["c2"] if parameters["c2"] > 0 else math.inf


def fit_scaling(
    batch_sizes: ArrayLike,
    steps: ArrayLike,
    model: str = "theorem",
    *,
    bootstrap: int = 0,
    seed: int = 0,
) -> ScalingFit:
    """Fits the steps to a result over the batch size.

    The theorem's curve by least squares on the logarithm of the steps; the reciprocal one, which
    is linear, by least squares weighted with `1 / K`. Both look at relative errors.

    ```python
    sizes = 2.0 ** np.arange(10)
    fit = fit_scaling(sizes, 1000 / sizes + 20, "reciprocal")
    fit.predict(4096), fit.critical_batch  # 20.24, 50
    ```

    Args:
        batch_sizes: B, one-dimensional.
        steps: K at each; those that are NaN or `None` (no trial was complete) are left out, with
            a warning.
        model: `"theorem"` or `"reciprocal"`.
        bootstrap: Draws with replacement that intervals are made of; 0 for none.
        seed: Of the draws.

    Raises:
        ValueError: If too few are left: three batch sizes for the theorem's curve, else two.

    Source: Lee (2020), Theorem 5.3.1 and Appendix 5.A.
    """
    one_of("model", model, MODELS)
    integer("bootstrap", bootstrap, 0)
    integer("seed", seed, 0)
    sizes, found = measured_pairs(batch_sizes, steps)
    if len(np.unique(sizes)) < _FEWEST[model]:
        raise ValueError(
            f"The {model!r} curve needs {_FEWEST[model]} batch sizes at which a trial was "
            f"complete. Received: {sizes.tolist()}. Give more steps, a larger goal error, or more "
            "trials."
        )
    parameters = _parameters(model, sizes, found)
    residuals = np.log(found) - np.log(np.maximum(_curve(model, parameters, sizes), 1e-12))
    spread = np.sum((np.log(found) - np.log(found).mean()) ** 2)
    r_squared = 1 - float(np.sum(residuals**2) / spread) if spread else math.nan
    intervals = _intervals(model, sizes, found, bootstrap, seed)
    return ScalingFit(model, parameters, r_squared, intervals)


def measured_pairs(batch_sizes: ArrayLike, steps: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Batch sizes and steps as arrays, without those that no trial has reached.

    Raises:
        ValueError: If they are no positive numbers, one for each.
    """
    sizes = array("batch_sizes", batch_sizes).ravel()
    try:
        found = np.asarray(steps, float).ravel()
    except (TypeError, ValueError) as error:
        raise wrong("steps", steps, "numbers, one for each batch size") from error
    if sizes.size != found.size:
        raise wrong("steps", steps, f"{sizes.size} numbers, one for each of batch_sizes")
    if not (sizes >= 1).all():
        raise wrong("batch_sizes", batch_sizes, "numbers of at least 1")
    known = np.isfinite(found)
    if not (found[known] > 0).all():
        raise wrong("steps", steps, "numbers greater than 0")
    if not known.all():
        warnings.warn(
            f"No trial was complete at the batch sizes {sizes[~known].tolist()}, which are left "
            "out of the fit.",
            SparsityWarning,
            stacklevel=3,
        )
    return sizes[known], found[known]


def _parameters(model: str, sizes: np.ndarray, steps: np.ndarray) -> dict[str, float]:
    if model == "reciprocal":
        design = np.stack([1 / sizes, np.ones_like(sizes)], axis=1) / steps[:, None]
        (c1, c2), *_ = np.linalg.lstsq(design, np.ones_like(sizes), rcond=None)
        return {"c1": float(c1), "c2": float(c2)}

    log_steps = np.log(steps)

    def residuals(log_t: Any) -> np.ndarray:
        return log_steps - np.log(theorem_curve(sizes, 1.0, np.exp(log_t)))

    def error(log_t: Any) -> Any:
        return np.var(residuals(log_t), axis=-1)  # C takes the mean away.

    # Below half the smallest batch size and above the largest the curve has one shape only.
    places = np.linspace(math.log(sizes.min() / 4), math.log(sizes.max()), _GRID)
    best = int(np.argmin(error(places[:, None])))
    around = places[max(best - 1, 0)], places[min(best + 1, _GRID - 1)]
    found = minimize_scalar(error, bounds=around, method="bounded", options={"xatol": 1e-9})
    log_t = float(found.x) if found.fun <= error(places[best]) else float(places[best])
    return {"C": float(np.exp(residuals(log_t).mean())), "T": math.exp(log_t)}


def _intervals(
    model: str, sizes: np.ndarray, steps: np.ndarray, draws: int, seed: int
) -> dict[str, Interval]:
    generator = np.random.default_rng(seed)
    found: list[dict[str, float]] = []
    while len(found) < draws:
        chosen = generator.integers(0, len(sizes), len(sizes))
        if len(np.unique(sizes[chosen])) >= _FEWEST[model]:
            drawn = _parameters(model, sizes[chosen], steps[chosen])
            found.append({**drawn, "critical_batch": _critical_batch(model, drawn)})
    names = found[0] if found else ()
    ends = {name: np.quantile([each[name] for each in found], (0.025, 0.975)) for name in names}
    return {name: Interval(float(low), float(high)) for name, (low, high) in ends.items()}


def predicted_ratio(
    delta: tuple[float, float], beta: tuple[float, float], smoothness: tuple[float, float]
) -> float:
    """The steps of a sparse model over those of a dense one, if C says all.

    `C` is an upper bound's constant: at a small scale it was seen to predict a ratio below 1 where
    3 to 6 were measured.

    ```python
    predicted_ratio((4.68, 4.66), (107.39, 197.06), (1.76, 0.57))  # 1.69
    ```

    Args:
        delta: `f(w_1) - f_inf` of the sparse and the dense model, or twice that.
        beta: The variance of the gradient of single examples of both: see `gradient_variance`.
        smoothness: The mean of `LipschitzSmoothness` of both.

    Raises:
        ValueError: If they are no pairs of positive numbers.

    Source: Lee (2020), Appendix 5.C.
    """
    ratio = 1.0
    for name, pair in {"delta": delta, "beta": beta, "smoothness": smoothness}.items():
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise wrong(name, pair, "a pair of numbers: of the sparse and of the dense model")
        sparse, dense = (number(name, value, "(0, inf)") for value in pair)
        ratio *= sparse / dense
    return ratio
