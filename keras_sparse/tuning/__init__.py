"""Sweeps over hyperparameters, and studies of the steps to a result."""

from keras_sparse.tuning.hyper_model import SparseHyperModel
from keras_sparse.tuning.objectives import Objective
from keras_sparse.tuning.optuna_sweep import OptunaSweep
from keras_sparse.tuning.oracles import SobolOracle
from keras_sparse.tuning.points import sobol_points
from keras_sparse.tuning.result import SweepResult
from keras_sparse.tuning.smoothness import LipschitzSmoothness
from keras_sparse.tuning.space import IntUniform, LogUniform, ReverseLogUniform, Uniform
from keras_sparse.tuning.steps.fixed_rule import fixed_rule, scaled_rate
from keras_sparse.tuning.steps.momentum_sgd import MomentumSGD
from keras_sparse.tuning.steps.steps_to_result import StepsToResult
from keras_sparse.tuning.steps.study import BatchSizeStudy
from keras_sparse.tuning.steps.table import StepsTable
from keras_sparse.tuning.trials import Trial
from keras_sparse.tuning.tuner import SparseTuner

__all__ = [
    "BatchSizeStudy",
    "IntUniform",
    "LipschitzSmoothness",
    "LogUniform",
    "MomentumSGD",
    "Objective",
    "OptunaSweep",
    "ReverseLogUniform",
    "SobolOracle",
    "SparseHyperModel",
    "SparseTuner",
    "StepsTable",
    "StepsToResult",
    "SweepResult",
    "Trial",
    "Uniform",
    "fixed_rule",
    "scaled_rate",
    "sobol_points",
]
