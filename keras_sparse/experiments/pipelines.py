"""Pipelines of start, pruning and isometry, by names such as `LDI-CS-AI`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras

from keras_sparse.experiments.catalog import METHODS, Method
from keras_sparse.methods import GMP, SNIP, StaticMask
from keras_sparse.methods.at_start.base import draw
from keras_sparse.signal_propagation import init_ldi
from keras_sparse.sparsity.schedules import OneShot
from keras_sparse.sparsity.selection import survey

_SOURCE = "Lee (2020), chapter 4"


def _variance_scaling(scale: float, mode: str) -> Callable[[keras.Model, int], None]:
    def start(model: keras.Model, seed: int) -> None:
        initializer = keras.initializers.VarianceScaling(scale, mode, "untruncated_normal")
        draw(model, survey(model).variables(model), initializer, seed)

    return start


def _orthogonal(model: keras.Model, seed: int) -> None:
    init_ldi(model, seed=seed)


STARTS: Mapping[str, tuple[Callable[[keras.Model, int], None], str]] = {
    "VS-L": (_variance_scaling(1.0, "fan_in"), "Starts from weights of variance 1 by inputs."),
    "VS-G": (
        _variance_scaling(1.0, "fan_avg"),
        "Starts from weights of variance 2 by inputs and outputs.",
    ),
    "VS-H": (_variance_scaling(2.0, "fan_in"), "Starts from weights of variance 2 by inputs."),
    "LDI": (_orthogonal, "Starts from orthogonal weights, layerwise dynamical isometry."),
}


def _dense(**_: Any) -> None:
    return None


def _sensitive(**common: Any) -> SNIP:
    return SNIP(**common)


def _sensitive_isometric(**common: Any) -> SNIP:
    return SNIP(isometry=True, **common)


def _random(**common: Any) -> StaticMask:
    return StaticMask(**common)


def _random_isometric(**common: Any) -> StaticMask:
    return StaticMask(isometry=True, **common)


def _trained_magnitude(**common: Any) -> GMP:
    return GMP(schedule=OneShot("50%"), **common)


PRUNINGS: Mapping[str, tuple[Callable[..., Any], str]] = {
    "Dense": (_dense, "Prunes nothing."),
    "CS": (_sensitive, "Prunes by connection sensitivity on all training images."),
    "CS-AI": (_sensitive_isometric, "As CS, then approximate isometry."),
    "Rand": (_random, "Prunes at random."),
    "Rand-AI": (_random_isometric, "As Rand, then approximate isometry."),
    "Mag": (_trained_magnitude, "Prunes by magnitude of what half of the run has trained."),
}

PIPELINES: Mapping[str, Method] = {
    f"{start}-{pruning}": Method(
        make,
        f"{begins} {line}",
        _SOURCE,
        takes_sparsity=pruning != "Dense",
        takes_data=pruning.startswith("CS"),
        all_data=pruning.startswith("CS"),
        start=draws,
        family=start,
    )
    for start, (draws, begins) in STARTS.items()
    for pruning, (make, line) in PRUNINGS.items()
}

# What `train` and `compare` know.
NAMED: Mapping[str, Method] = {**METHODS, **PIPELINES}
