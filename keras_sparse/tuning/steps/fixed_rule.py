"""Learning rates by a rule instead of a search: what tuning at each batch size is compared with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from keras_sparse.messages.arguments import integer, number, one_of, optional, wrong
from keras_sparse.tuning.steps.workload import Record, Trainer

if TYPE_CHECKING:
    from keras_sparse.tuning.steps.study import BatchSizeStudy

RULES = ("constant", "linear", "sqrt")


def scaled_rate(rule: str, learning_rate: float, base_batch: int, batch_size: int) -> float:
    """The learning rate that a rule gives at a batch size.

    ```python
    scaled_rate("linear", 0.1, 256, 8192)  # 3.2
    ```

    Args:
        rule: `"constant"`, `"linear"` (in the batch size) or `"sqrt"` (in its square root).
        learning_rate: At the base.
        base_batch: The batch size that it is good for.
        batch_size: The one to train with.

    Raises:
        ValueError: If an argument is out of range.

    Source: Goyal et al. (2017) for linear scaling, Krizhevsky (2014) for the square root.
    """
    number("learning_rate", learning_rate, "(0, inf)")
    ratio = integer("batch_size", batch_size) / integer("base_batch", base_batch)
    power = {"constant": 0.0, "linear": 1.0, "sqrt": 0.5}[one_of("rule", rule, RULES)]
    return learning_rate * math.pow(ratio, power)


def fixed_rule(
    study: BatchSizeStudy,
    rule: str = "linear",
    *,
    base_batch: int,
    sparsity: float = 0.0,
    values: Mapping[str, float] | None = None,
    warmup_steps: int = 0,
    trials: int = 1,
) -> dict[int, list[Record]]:
    """Trains at each batch size of a study with the learning rate that a rule gives.

    ```python
    for size, (trial,) in fixed_rule(study, "linear", base_batch=32).items():
        print(size, trial.status, trial.steps)
    ```

    Args:
        study: A study, which has been run at the base unless `values` are given.
        rule: As for `scaled_rate`.
        base_batch: The batch size whose metaparameters are taken over.
        sparsity: One of the study's.
        values: Those metaparameters. Defaults to the best that the study has found there.
        warmup_steps: Updates over which the learning rate rises from 0.
        trials: Trainings at each batch size, from different seeds.

    Returns:
        The trials of each batch size.

    Raises:
        ValueError: If the study has no complete trial at the base, or an argument is wrong.
    """
    one_of("rule", rule, RULES)
    integer("base_batch", base_batch)
    number("sparsity", sparsity, "[0, 1)")
    integer("trials", trials)
    integer("warmup_steps", warmup_steps, 0)
    optional(_has_rate, "values", values)
    if values is None:
        rows = [
            row
            for row in study.table().rows
            if (row.sparsity, row.batch_size) == (sparsity, base_batch) and row.steps is not None
        ]
        if not rows:
            cure = "Run the study first, or give values={'learning_rate': ...}."
            raise wrong("base_batch", base_batch, "one at which a trial was complete", cure)
        values = rows[0].values
    trainer = Trainer(study.workload, study.data)
    found: dict[int, list[Record]] = {}
    for cell in study.cells:
        if cell.sparsity != sparsity:
            continue
        rate = scaled_rate(rule, values["learning_rate"], base_batch, cell.batch_size)
        own = {**values, "learning_rate": rate, "warmup_steps": warmup_steps}
        found[cell.batch_size] = [trainer.run(*cell, trial, own) for trial in range(trials)]
    return found


def _has_rate(name: str, values: Mapping[str, float]) -> Mapping[str, float]:
    if not isinstance(values, Mapping) or "learning_rate" not in values:
        raise wrong(name, values, "a mapping with a learning_rate")
    return values
