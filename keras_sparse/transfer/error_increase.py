"""How much more a sparse model errs than the dense one, task by task."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from keras_sparse.messages.arguments import array, wrong


class MeanOverTasks(NamedTuple):
    """A mean and its standard error.

    Args:
        mean: The mean.
        standard_error: The sample standard deviation over the root of the number of values; NaN
            of a single one.
    """

    mean: float
    standard_error: float


def relative_error_increase(accuracy: Any, dense_accuracy: Any) -> Any:
    """The relative increase in error of a sparse model over the dense one.

    ```python
    relative_error_increase([0.85, 0.94], [0.80, 0.95])  # -0.25 and 0.2: better, and worse
    ```

    Args:
        accuracy: Of the sparse model on each task, fractions in [0, 1].
        dense_accuracy: Of the dense model under the same kind of transfer.

    Returns:
        `(error - dense error) / dense error`, negative where the sparse model is better: a float
        for two numbers, else an array.

    Raises:
        ValueError: If shapes differ, an accuracy is no fraction, or the dense model has no error.

    Source: Peste (2023), 4.3.3.
    """
    one, dense = array("accuracy", accuracy), array("dense_accuracy", dense_accuracy)
    if one.shape != dense.shape:
        raise ValueError(
            "accuracy and dense_accuracy must be of the same tasks. Received shapes: "
            f"{one.shape} and {dense.shape}"
        )
    for name, values in {"accuracy": one, "dense_accuracy": dense}.items():
        if (values < 0).any() or (values > 1).any():
            cure = "Divide percentages by 100."
            raise wrong(name, values.tolist(), "fractions in [0, 1]", cure)
    if (dense == 1).any():
        raise ValueError(
            "The relative error increase is undefined where the dense model makes no error. "
            f"Received: dense_accuracy={dense.tolist()}. Leave the task out, or test on more or "
            "harder samples."
        )
    increase = (dense - one) / (1 - dense)
    return float(increase) if increase.ndim == 0 else increase


def mean_over_tasks(values: Any) -> MeanOverTasks:
    """The mean of some values and its standard error.

    ```python
    mean_over_tasks([-0.25, 0.2])  # -0.025 and 0.225
    ```

    Args:
        values: One for each task.

    Raises:
        ValueError: If there is none, or one is no finite number.

    Source: Peste (2023), 4.3.3.
    """
    found = array("values", values).ravel()
    spread = float(found.std(ddof=1)) / math.sqrt(len(found)) if len(found) > 1 else math.nan
    return MeanOverTasks(float(found.mean()), spread)


def task_difficulty(full_accuracy: Any, linear_accuracy: Any) -> Any:
    """How many points full fine-tuning of the dense model gains over linear fine-tuning.

    Args:
        full_accuracy: Of the dense model on a task or several, fractions.
        linear_accuracy: The same with linear fine-tuning.

    Returns:
        Points of accuracy: a float for two numbers, else an array.

    Raises:
        ValueError: If shapes differ.

    Source: Peste (2023), 4.4.2.
    """
    full, linear = array("full_accuracy", full_accuracy), array("linear_accuracy", linear_accuracy)
    if full.shape != linear.shape:
        raise ValueError(
            "full_accuracy and linear_accuracy must be of the same tasks. Received shapes: "
            f"{full.shape} and {linear.shape}"
        )
    points = 100 * (full - linear)
    return float(points) if np.ndim(points) == 0 else points
