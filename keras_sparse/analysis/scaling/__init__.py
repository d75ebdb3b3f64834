"""How the steps to a result fall with the batch size: what is proven, fitted and measured."""

from keras_sparse.analysis.scaling.bound import StepsBound, bound_steps
from keras_sparse.analysis.scaling.fit import Interval, ScalingFit, fit_scaling, predicted_ratio
from keras_sparse.analysis.scaling.noise import (
    GradientNoise,
    gradient_noise,
    gradient_variance,
    noise_scale,
)
from keras_sparse.analysis.scaling.regimes import Speedup, critical_batch, speedup_table, speedups

__all__ = [
    "GradientNoise",
    "Interval",
    "ScalingFit",
    "Speedup",
    "StepsBound",
    "bound_steps",
    "critical_batch",
    "fit_scaling",
    "gradient_noise",
    "gradient_variance",
    "noise_scale",
    "predicted_ratio",
    "speedup_table",
    "speedups",
]
