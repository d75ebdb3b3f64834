"""How small or fast a model is to become: operations, parameters or measured time."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np

from keras_sparse.deploy.latency import RelativeLatency
from keras_sparse.messages.arguments import number, wrong
from keras_sparse.sparsity.bisection import lowest_level
from keras_sparse.structured.coupling.cost import Cost
from keras_sparse.structured.coupling.groups import ChannelGroups
from keras_sparse.structured.selecting import Ladder
from keras_sparse.structured.shrink import build

KINDS = ("flops", "params", "latency")
_WORDS = {"flops": "operations", "params": "parameters"}


@dataclasses.dataclass(frozen=True)
class Target:
    """What is to be reached.

    Args:
        kind: `"flops"`, `"params"` or `"latency"`.
        value: A part of what the given model has, in (0, 1); for operations and parameters also
            a number of them, above 1.
    """

    kind: str
    value: float

    def amount(self, whole: float) -> float:
        """What is to be reached, in operations, parameters or as a part of the time.

        Args:
            whole: What the given model has.
        """
        return self.value if self.value >= 1 else self.value * whole

    def described(self, amount: float) -> str:
        """An amount in words."""
        if self.kind == "latency":
            return f"{amount:.0%} of the time"
        return f"{amount:,.0f} {_WORDS[self.kind]}"


def read_target(**given: float | None) -> Target:
    """The one target that is given.

    Raises:
        ValueError: If none or several are, or one is out of range.
    """
    named = {name: value for name, value in given.items() if value is not None}
    if len(named) != 1:
        raise ValueError(
            "Give one target: flops=, params= or latency=, such as flops=0.5 for half the "
            f"operations. Received: {', '.join(f'{k}={v!r}' for k, v in named.items()) or 'none'}"
        )
    ((kind, value),) = named.items()
    if kind == "latency":
        number(kind, value, "(0, 1)", "It is a part of what the given model takes.")
    else:
        number(kind, value, "(0, inf)")
        if value == 1:
            raise wrong(kind, value, f"a part below 1, or a number of {_WORDS[kind]} above 1")
    return Target(kind, value)


class Measure:
    """What a model costs with some of its units, in terms of a target.

    Args:
        kind: The target's kind.
        model: The model.
        groups: Its groups.
        input_shape: Shape of one sample, where the model leaves it open.
        latency: What measures time, relative to the first model of several steps. Defaults to
            this one.
    """

    def __init__(
        self,
        kind: str,
        model: keras.Model,
        groups: ChannelGroups,
        input_shape: Any = None,
        latency: RelativeLatency | None = None,
    ) -> None:
        self.kind = kind
        self.groups = groups
        self.latency = latency
        if kind == "latency" and latency is None:
            self.latency = RelativeLatency(model, _samples(model, input_shape))
        self._cost = Cost(model, groups)
        if kind == "flops":
            self._cost.with_flops(input_shape)

    def whole(self) -> float:
        """What the model costs as it is."""
        return 1.0 if self.latency is not None else self({})

    def __call__(self, keep: dict[str, np.ndarray]) -> float:
        """What is left of the cost.

        Args:
            keep: Booleans for each unit, by the names of groups.
        """
        if self.latency is not None:
            return self.latency(build(self.groups, keep, masked=False))
        kept = self.groups.kept(keep)
        return self._cost.flops(kept) if self.kind == "flops" else self._cost.parameters(kept)


def check_target(target: Target, whole: float) -> None:
    """Checks that a model is not small enough as it is.

    Raises:
        ValueError: If it is.
    """
    if target.amount(whole) >= whole:
        raise wrong(target.kind, target.value, f"below the {target.described(whole)} it has now")


def fitting(ladder: Ladder, measure: Measure, target: Target, goal: float) -> dict[str, np.ndarray]:
    """What to keep where as little as possible is removed to reach a goal.

    Args:
        ladder: What to keep at each of many levels.
        measure: What is left at one of them.
        target: What was asked for.
        goal: In operations, parameters or as a part of the time.

    Raises:
        ValueError: If it is not reached with all that may be removed.
    """
    level = lowest_level(ladder.top, lambda level: measure(ladder.keep(level)) <= goal)
    if level is None:
        reached = measure(ladder.keep(ladder.top))
        raise ValueError(
            f"{target.kind}={target.value} cannot be met: it asks for at most "
            f"{target.described(goal)}, and {target.described(reached)} are left when as much is "
            "removed as may be. Ask for less, raise max_removed, lower min_channels or round_to, "
            "or exclude less; ks.structured.report names what cannot be removed, and why."
        )
    return ladder.keep(level)


def _samples(model: keras.Model, input_shape: Any) -> Any:
    """Zeros of an input shape, for whoever runs the model; `None` if the model says its own."""
    if input_shape is None:
        return None
    one = all(side is None or isinstance(side, int) for side in input_shape)
    shapes = [input_shape] if one else list(input_shape)
    arrays = [
        np.zeros((1, *shape), spec.dtype) for shape, spec in zip(shapes, model.inputs, strict=True)
    ]
    return arrays[0] if len(arrays) == 1 else arrays
