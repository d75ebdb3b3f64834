"""The scale of weights at which signals of an infinitely wide network keep their size."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_sparse.backend.gradients import gradient
from keras_sparse.messages.arguments import number, wrong

_NODES = 100
_KNOWN = "such as 'linear', 'tanh', 'relu', 'leaky_relu' or 'selu'"


class MeanField(NamedTuple):
    """The critical point of an activation.

    Args:
        weight_std: `sigma_w`, by which an orthogonal matrix is multiplied.
        bias_variance: `sigma_b^2`, the variance of the biases.
    """

    weight_std: float
    bias_variance: float


def mean_field_gain(activation: str | Callable[[Any], Any], q: float = 1.0) -> MeanField:
    """The critical scale of weights and biases for pre-activations of a variance.

    It solves `sigma_w^2 E[phi'(sqrt(q) z)^2] = 1` and
    `q = sigma_w^2 E[phi(sqrt(q) z)^2] + sigma_b^2` with a standard normal `z`, by Gauss-Hermite
    quadrature.

    ```python
    gain = ks.mean_field_gain("tanh", q=1.0)
    print(gain.weight_std, gain.bias_variance)  # 1.467 and 0.151
    ```

    Args:
        activation: The name of a Keras activation, or a function that acts on each unit by itself.
        q: The variance of pre-activations at the fixed point, at least 0.

    Returns:
        A `MeanField`.

    Raises:
        ValueError: If the activation is unknown, acts on several units together, or has no
            critical point at this variance.

    Source: Lee (2020), Section 4.3.3.2; values as in Pennington et al. (2017).
    """
    number("q", q, "[0, inf)")
    phi = _activation(activation)
    points, weights = _quadrature()
    z = ops.convert_to_tensor(np.sqrt(q) * points)
    value = _numbers(phi(ops.reshape(z, (-1, 2))))
    # Whatever acts on all units of a sample together sees others of them here.
    many = _numbers(phi(ops.reshape(z, (-1, 4))))
    if value.shape != (_NODES,) or not np.allclose(many, value, atol=1e-5):
        raise wrong("activation", activation, f"one that acts on each unit by itself, {_KNOWN}")
    (slope,) = gradient(lambda values: ops.sum(phi(values[0])), [z])
    flow = float(weights @ _numbers(slope) ** 2)
    variance = np.inf if flow == 0 else q - float(weights @ value**2) / flow
    if not np.isfinite(variance) or variance < -1e-5:
        cure = "Choose another variance q, or another activation."
        raise wrong("activation", activation, f"one with a critical point at q={q:g}", cure)
    return MeanField(flow**-0.5, max(variance, 0.0))


def _numbers(tensor: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(tensor), float).ravel()


def _activation(activation: Any) -> Callable[[Any], Any]:
    if not isinstance(activation, str) and not callable(activation):
        raise wrong("activation", activation, f"a Keras activation or its name, {_KNOWN}")
    try:
        return keras.activations.get(activation)
    except ValueError as error:
        raise wrong(
            "activation", activation, f"a Keras activation or its name, {_KNOWN}"
        ) from error


@functools.cache
def _quadrature() -> tuple[np.ndarray, np.ndarray]:
    points, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    return points, weights / weights.sum()
