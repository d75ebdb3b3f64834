"""What a comparison of methods came to, in numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

Group = tuple[str, float | None, int]


class Row(NamedTuple):
    """One method at one sparsity: means over seeds, and the spread of the accuracy.

    Args:
        method: Its name.
        asked: The sparsity asked for, `None` where none can be.
        epochs: Length of its runs.
        seeds: How many runs there are.
        accuracy: Mean test accuracy.
        spread: Sample standard deviation of the accuracy.
        sparsity: Mean sparsity of the final models.
        training_flops: Operations of the training, relative to dense training of the same epochs.
        inference_flops: Operations of an inference, relative to the dense model.
        seconds: Mean seconds of a run.
        bytes: Mean size of the LiteRT file.
        steps_to_loss: Mean steps to the training loss asked for, infinite if a run did not come
            there, NaN if that was not measured.
        layers: Mean sparsity of each layer.
    """

    method: str
    asked: float | None
    epochs: int
    seeds: int
    accuracy: float
    spread: float
    sparsity: float
    training_flops: float
    inference_flops: float
    seconds: float
    bytes: float
    steps_to_loss: float
    layers: Mapping[str, float]


def rows(results: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Sums up results of runs by method, sparsity and length, in order of sparsity."""
    groups: dict[Group, list[Mapping[str, Any]]] = {}
    for result in results:
        key = (result["method"], result["asked_sparsity"], result["epochs"])
        groups.setdefault(key, []).append(result)
    made = []
    for (method, asked, epochs), runs in groups.items():

        def mean(value: Callable[[Mapping[str, Any]], Any], runs: Any = runs) -> float:
            return mean_and_spread([value(run) for run in runs])[0]

        accuracy, spread = mean_and_spread([run["accuracy"] for run in runs])
        made.append(
            Row(
                method,
                asked,
                epochs,
                len(runs),
                accuracy,
                spread,
                mean(lambda run: run["sparsity"]),
                mean(lambda run: _ratio(run, "training_flops", "dense_training_flops")),
                mean(lambda run: _ratio(run, "inference_flops", "dense_inference_flops")),
                mean(lambda run: run["seconds"]),
                mean(lambda run: run["tflite_bytes"]),
                mean(_steps),
                {
                    name: mean_and_spread([run["layers"][name] for run in runs])[0]
                    for name in runs[0]["layers"]
                },
            )
        )
    order = {method: i for i, method in enumerate(dict.fromkeys(row.method for row in made))}
    return sorted(made, key=lambda row: (row.asked or row.sparsity, order[row.method]))


def _ratio(run: Mapping[str, Any], part: str, whole: str) -> float | None:
    return run[part] / run[whole] if run[part] and run[whole] else None


def _steps(run: Mapping[str, Any]) -> float:
    steps = run.get("steps_to_loss", math.nan)
    return math.inf if steps is None else steps


def mean_and_spread(values: Sequence[float | None]) -> tuple[float, float]:
    """Mean and sample standard deviation; the latter NaN of a single value."""
    known = [math.nan if value is None else value for value in values]
    mean = sum(known) / len(known)
    if len(known) < 2:
        return mean, math.nan
    return mean, math.sqrt(sum((value - mean) ** 2 for value in known) / (len(known) - 1))


def mean(values: Sequence[float | None]) -> float:
    """The mean."""
    return mean_and_spread(values)[0]


def spread(values: Sequence[float | None]) -> float:
    """The sample standard deviation; NaN of a single value."""
    return mean_and_spread(values)[1]
