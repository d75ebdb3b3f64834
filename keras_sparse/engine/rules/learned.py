"""Optimizers of a rule's own parameters, which the model's optimizer does not know."""

from __future__ import annotations

from typing import Any

from keras import ops

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8


def momentum_step(
    parameter: Any, velocity: Any, slope: Any, rate: Any, momentum: float
) -> tuple[Any, Any]:
    """SGD with momentum: the parameter and its velocity after a step.

    Args:
        parameter: A float tensor.
        velocity: What the step before left, of the same shape; zero at first.
        slope: The gradient by the parameter.
        rate: The learning rate, a scalar.
        momentum: In [0, 1).
    """
    velocity = momentum * velocity + slope
    return parameter - ops.cast(rate, parameter.dtype) * velocity, velocity


def adam_moments(first: Any, second: Any, slope: Any) -> tuple[Any, Any]:
    """Adam's means of a parameter's gradient and of its square, after one more gradient."""
    return (
        _BETA_1 * first + (1 - _BETA_1) * slope,
        _BETA_2 * second + (1 - _BETA_2) * ops.square(slope),
    )


def adam_step(parameter: Any, first: Any, second: Any, rate: float, step: Any) -> Any:
    """The parameter after Adam's step, with the moments' bias corrected.

    Args:
        parameter: A float tensor.
        first: Mean of its gradient, this step's included: see `adam_moments`.
        second: Mean of the gradient's square.
        rate: The learning rate.
        step: Integer scalar, steps taken before this one.

    Source: Kingma and Ba (2015), algorithm 1.
    """
    count = ops.cast(step, "float32") + 1
    first_scale = ops.cast(rate / (1 - ops.power(_BETA_1, count)), parameter.dtype)
    second_scale = ops.cast(1 / (1 - ops.power(_BETA_2, count)), parameter.dtype)
    return parameter - first_scale * first / (ops.sqrt(second_scale * second) + _EPSILON)
