"""Sparse transfer: fine-tuning, probing and distilling of sparse models on other tasks."""

from keras_sparse.transfer.comparison import Increase, Outcome, TransferComparison
from keras_sparse.transfer.distillation import Distillation
from keras_sparse.transfer.error_increase import (
    MeanOverTasks,
    mean_over_tasks,
    relative_error_increase,
    task_difficulty,
)
from keras_sparse.transfer.features import extract_features
from keras_sparse.transfer.full import full
from keras_sparse.transfer.heads import replace_head
from keras_sparse.transfer.linear import linear
from keras_sparse.transfer.logistic_regression import LogisticRegression, logistic_regression
from keras_sparse.transfer.lth_transfer import lth_transfer
from keras_sparse.transfer.mean_per_class_accuracy import MeanPerClassAccuracy
from keras_sparse.transfer.recommend import Recommendation, recommend
from keras_sparse.transfer.result import Transfer
from keras_sparse.transfer.training import step_decay

__all__ = [
    "Distillation",
    "Increase",
    "LogisticRegression",
    "MeanOverTasks",
    "MeanPerClassAccuracy",
    "Outcome",
    "Recommendation",
    "Transfer",
    "TransferComparison",
    "extract_features",
    "full",
    "linear",
    "logistic_regression",
    "lth_transfer",
    "mean_over_tasks",
    "recommend",
    "relative_error_increase",
    "replace_head",
    "step_decay",
    "task_difficulty",
]
