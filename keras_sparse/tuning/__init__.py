"""Sweeps over hyperparameters, and studies of the steps to a result."""

from keras_sparse.tuning.hyper_model import SparseHyperModel
from keras_sparse.tuning.objectives import Objective
from keras_sparse.tuning.optuna_sweep import OptunaSweep
from keras_sparse.tuning.oracles import SobolOracle
from keras_sparse.tuning.points import sobol_points
from keras_sparse.tuning.result import SweepResult
from keras_sparse.tuning.space import IntUniform, LogUniform, ReverseLogUniform, Uniform
from keras_sparse.tuning.trials import Trial
from keras_sparse.tuning.tuner import SparseTuner

__all__ = [
    "IntUniform",
    "LogUniform",
    "Objective",
    "OptunaSweep",
    "ReverseLogUniform",
    "SobolOracle",
    "SparseHyperModel",
    "SparseTuner",
    "SweepResult",
    "Trial",
    "Uniform",
    "sobol_points",
]
