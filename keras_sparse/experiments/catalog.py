"""The methods that can be chosen by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from keras_sparse.engine.callback import SparseCallback
from keras_sparse.messages.docstrings import line_and_source
from keras_sparse.methods import GMP, RigL, StaticMask
from keras_sparse.methods.commands import commands
from keras_sparse.posttrain import prune
from keras_sparse.posttrain.command import COMMANDS
from keras_sparse.sparsity.recipe import Recipe
from keras_sparse.sparsity.schedules import OneShot


class Method(NamedTuple):
    """A training method as the command line offers it.

    Args:
        make: Makes the callback from the common arguments; `None` for no callback.
        line: What it does, in one line.
        source: Where it comes from.
        granularity: The pattern it prunes in, unless another is asked for.
        takes_sparsity: Whether a sparsity can be asked for.
        takes_data: Whether `make` takes calibration data as well.
        after: Prunes the trained model: `after(model, calibration data, **common arguments)`.
        all_data: Whether the calibration data are all training images.
        start: Draws the weights to begin with, of a model and a seed; `None` for its own.
        family: Which methods it is shown with, where there are many.
    """

    make: Callable[..., SparseCallback | None]
    line: str
    source: str = ""
    granularity: str = "unstructured"
    takes_sparsity: bool = True
    takes_data: bool = False
    after: Callable[..., Any] | None = None
    all_data: bool = False
    start: Callable[[Any, int], None] | None = None
    family: str = ""


def _magnitude(model: Any, data: Any, **common: Any) -> None:
    prune(model, **common)


def _method(callback: type[SparseCallback]) -> Method:
    """What its class says of a method that trains."""
    arguments = inspect.signature(callback).parameters
    pattern = arguments["granularity"].default if "granularity" in arguments else None
    return Method(
        callback.for_run,
        *line_and_source(callback.__doc__),
        granularity=pattern or "unstructured",
        takes_sparsity=callback.takes_sparsity,
        takes_data="data" in arguments,
        after=None if callback.ends_sparse else _magnitude,
        family=callback.__module__.split(".")[-2].replace("_", " "),
    )


def _after_training(after: Callable[..., Any], described: Callable[..., Any]) -> Method:
    def make(seed: int, **common: Any) -> None:
        Recipe(**common)  # Raises for what cannot be used.

    line, source = line_and_source(described.__doc__)
    told = f"After dense training: {line[0].lower()}{line[1:]}"
    return Method(make, told, source, after=after, family="after training")


def _one_shot(**common: Any) -> GMP:
    return GMP(schedule=OneShot("50%"), **common)


def _static_magnitude(**common: Any) -> StaticMask:
    return StaticMask(mask="magnitude", **common)


def _rigl_uniform(**common: Any) -> RigL:
    return RigL(**{"allocation": "uniform", **common})


_FOUND = {name: _method(callback) for name, callback in commands().items()}
METHODS: Mapping[str, Method] = {
    "dense": Method(lambda **_: None, "No pruning: the reference to compare with."),
    **_FOUND,
    "oneshot": Method(
        _one_shot,
        "Dense until half of the run, pruned at once, fine-tuned.",
        family=_FOUND["gmp"].family,
    ),
    "static_magnitude": Method(
        _static_magnitude,
        "As static, with a mask of the largest initial weights.",
        family=_FOUND["static"].family,
    ),
    "rigl_uniform": _FOUND["rigl"]._replace(
        make=_rigl_uniform, line="As rigl, with the same sparsity in each layer."
    ),
    "magnitude": _after_training(_magnitude, prune),
    **{name: _after_training(function, function) for name, function in COMMANDS.items()},
}
