"""What a sweep looks for: a metric of the training, or a cost of the model that it ended with."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_sparse.deploy.latency import LiteRTCost, litert_costs
from keras_sparse.messages.arguments import one_of, text, wrong
from keras_sparse.sparsity.report import report

DIRECTIONS = ("min", "max")
# Costs of a trained model; any other objective is a name in the training's logs.
COSTS = ("nonzeros", "flops", "bytes", "latency")
_ALIASES = {"accuracy": "val_accuracy", "loss": "val_loss"}
_MORE_IS_BETTER = ("accuracy", "acc", "auc", "precision", "recall", "f1_score")
# What a diverged training counts as having reached, where the metric is to be small.
_WORST = 1e6


@dataclasses.dataclass(frozen=True)
class Objective:
    """One thing that a sweep looks for.

    ```python
    ks.tuning.Objective("val_f1", "max")
    ```

    Args:
        name: `"accuracy"`, which is `val_accuracy` at the end of the training; `"nonzeros"`,
            `"flops"` (of an inference), `"bytes"` (of the LiteRT file, pruned weights left out) or
            `"latency"` (seconds of an inference with LiteRT, measured as the machine is then); or
            any name in the logs of `fit`.
        direction: `"min"` or `"max"`. Defaults to what the name says.

    Raises:
        ValueError: If the name does not say which direction is better.
    """

    name: str
    direction: str = ""

    def __post_init__(self) -> None:
        text("name", self.name)
        if self.direction == "":
            object.__setattr__(self, "direction", self._usual())
        one_of("direction", self.direction, DIRECTIONS)

    def _usual(self) -> str:
        if self.is_cost or self.name.endswith(("loss", "error")):
            return "min"
        if self.name.endswith(_MORE_IS_BETTER):
            return "max"
        known = "accuracy, loss, nonzeros, flops, bytes or latency"
        cure = f"Give ks.tuning.Objective({self.name!r}, 'min') or 'max'."
        raise wrong("objectives", self.name, f"{known}, or tell which direction is better", cure)

    @property
    def is_cost(self) -> bool:
        """Whether it is measured on the trained model."""
        return self.name in COSTS

    def signed(self, value: float) -> float:
        """The value where less is always better."""
        return value if self.direction == "min" else -value

    def worst(self) -> float:
        """A finite value for a training that diverged."""
        return 0.0 if self.direction == "max" else _WORST

    def logged(self, logs: Mapping[str, float]) -> float:
        """The value in the logs of the last epoch.

        Raises:
            ValueError: If it is not among them.
        """
        name = _ALIASES.get(self.name, self.name)
        if name not in logs:
            raise ValueError(
                f"Objective {self.name!r} is {name!r} in the logs of fit, which has only "
                f"{', '.join(logs)}. Compile the model with that metric, and give validation_data "
                "for one whose name begins with 'val_'."
            )
        return float(logs[name])


def check_objectives(objectives: Any) -> tuple[Objective, ...]:
    """Objectives from their names or themselves.

    Raises:
        ValueError: If there is none, one stands there twice, or one is neither.
    """
    several = [objectives] if isinstance(objectives, (str, Objective)) else objectives
    if not isinstance(several, Sequence) or not several:
        raise wrong("objectives", objectives, "names such as ('accuracy', 'bytes')")
    found = []
    for each in several:
        if not isinstance(each, (str, Objective)):
            raise wrong("objectives", objectives, "names such as ('accuracy', 'bytes')")
        found.append(Objective(each) if isinstance(each, str) else each)
    if len({each.name for each in found}) < len(found):
        raise wrong("objectives", objectives, "names of which none stands there twice")
    return tuple(found)


def measured(
    objectives: Sequence[Objective], model: keras.Model, logs: Mapping[str, float] | None
) -> dict[str, float]:
    """The value of each objective.

    Args:
        objectives: What is looked for.
        model: The trained model.
        logs: Of the last epoch; `None` for a training that diverged, of which the model is as it
            was before.

    Returns:
        Finite values by the objectives' names.

    Raises:
        ValueError: If an objective is not in the logs, or the model's operations are not known.
    """
    names = {each.name for each in objectives}
    found: dict[str, float | None] = {}
    if names & {"nonzeros", "flops"}:
        counted = report(model)
        if "flops" in names and counted.flops is None:
            raise ValueError(f"Objective 'flops' is not known: {counted.flops_reason}")
        found |= {"nonzeros": counted.nonzeros, "flops": counted.flops}
    if names & {"bytes", "latency"}:
        cost = _litert_cost(model)
        found |= {"bytes": cost.bytes, "latency": cost.seconds}
    for each in objectives:
        if not each.is_cost:
            found[each.name] = each.worst() if logs is None else each.logged(logs)
    finite = {each.name: float(found[each.name] or 0.0) for each in objectives}
    for each in objectives:
        if not math.isfinite(finite[each.name]):
            finite[each.name] = each.worst()
    return finite


def _litert_cost(model: keras.Model) -> LiteRTCost:
    return litert_costs([model], sparse=True)[0]
