"""AutoAugment's two policies and RandAugment.

A policy is 25 pairs of operations, each with its probability and, where it has one, its level of
0 to 9.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from keras_sparse.streaming.augmentation import operations

_CIFAR10 = """
Inv .1 / Con .2 6 | Rot .7 2 / TrX .3 9 | Sha .8 1 / Sha .9 3 | ShY .5 8 / TrY .7 9
AC .5 / Eq .9 | ShY .2 7 / Pos .3 7 | Col .4 3 / Bri .6 7 | Sha .3 9 / Bri .7 9
Eq .6 / Eq .5 | Con .6 7 / Sha .6 5 | Col .7 7 / TrX .5 8 | Eq .3 / AC .4
TrY .4 3 / Sha .2 6 | Bri .9 6 / Col .2 8 | Sol .5 2 / Inv 0 | Eq .2 / AC .6
Eq .2 / Eq .6 | Col .9 9 / Eq .6 | AC .8 / Sol .2 8 | Bri .1 3 / Col .7 0
Sol .4 5 / AC .9 | TrY .9 9 / TrY .7 9 | AC .9 / Sol .8 3 | Eq .8 / Inv .1
TrY .7 9 / AC .9
"""
_IMAGENET = """
Pos .4 8 / Rot .6 9 | Sol .6 5 / AC .6 | Eq .8 / Eq .6 | Pos .6 7 / Pos .6 6
Eq .4 / Sol .2 4 | Eq .4 / Rot .8 8 | Sol .6 3 / Eq .6 | Pos .8 5 / Eq 1
Rot .2 3 / Sol .6 8 | Eq .6 / Pos .4 6 | Rot .8 8 / Col .4 0 | Rot .4 9 / Eq .6
Eq 0 / Eq .8 | Inv .6 / Eq 1 | Col .6 4 / Con 1 8 | Rot .8 8 / Col 1 2
Col .8 8 / Sol .8 7 | Sha .4 7 / Inv .6 | ShX .6 5 / Eq 1 | Col .4 0 / Eq .6
Eq .4 / Sol .2 4 | Sol .6 5 / AC .6 | Inv .6 / Eq 1 | Col .6 4 / Con 1 8
Eq .8 / Eq .6
"""


class Operation(NamedTuple):
    """An operation of a policy.

    Args:
        apply: Of a uint8 image and, if there is a strength, that.
        strength: Of a level from 0 to 9; `None` for none.
        either_sign: Whether the strength is negative half of the time: `1 - s` for factors.
    """

    apply: Callable[..., np.ndarray]
    strength: Callable[[float], float] | None = None
    either_sign: bool = False


def _factor(level: float) -> float:
    return 0.9 * level / 9


_OPERATIONS = {
    "Inv": Operation(operations.invert),
    "AC": Operation(operations.autocontrast),
    "Eq": Operation(operations.equalize),
    "Sol": Operation(operations.solarize, lambda level: 255 - 255 * level / 9),
    "Pos": Operation(operations.posterize, lambda level: 8 - round(level / 2.25)),
    "Rot": Operation(operations.rotate, lambda level: 30 * level / 9, True),
    "ShX": Operation(operations.shear_x, lambda level: 0.3 * level / 9, True),
    "ShY": Operation(operations.shear_y, lambda level: 0.3 * level / 9, True),
    "TrX": Operation(operations.translate_x, lambda level: 150 / 331 * level / 9, True),
    "TrY": Operation(operations.translate_y, lambda level: 150 / 331 * level / 9, True),
    "Bri": Operation(lambda image, by: operations.brightness(image, 1 + by), _factor, True),
    "Col": Operation(lambda image, by: operations.color(image, 1 + by), _factor, True),
    "Con": Operation(lambda image, by: operations.contrast(image, 1 + by), _factor, True),
    "Sha": Operation(lambda image, by: operations.sharpness(image, 1 + by), _factor, True),
}


class Step(NamedTuple):
    """One of the two operations of a pair.

    Args:
        name: Of the operation.
        probability: Of its being applied.
        level: 0 to 9.
    """

    name: str
    probability: float
    level: float


def _read(text: str) -> list[tuple[Step, Step]]:
    pairs = []
    for pair in text.strip().replace("\n", "|").split("|"):
        words = [step.split() for step in pair.split("/")]
        one, two = (Step(w[0], float(w[1]), float(w[2]) if w[2:] else 0.0) for w in words)
        pairs.append((one, two))
    return pairs


POLICIES = {"cifar10": _read(_CIFAR10), "imagenet": _read(_IMAGENET)}


def apply(image: np.ndarray, name: str, level: float, random: np.random.Generator) -> np.ndarray:
    """Applies an operation at a level.

    Args:
        image: Uint8, `(h, w, c)`.
        name: Of the operation, as in a policy.
        level: 0 to 9.
        random: Decides the sign, where there are two.
    """
    operation = _OPERATIONS[name]
    if operation.strength is None:
        return operation.apply(image)
    strength = operation.strength(level)
    if operation.either_sign and random.random() < 0.5:
        strength = -strength
    return operation.apply(image, strength)


def auto_augment(image: np.ndarray, policy: str, random: np.random.Generator) -> np.ndarray:
    """Applies one pair of a policy.

    Args:
        image: Uint8, `(h, w, c)`.
        policy: `"cifar10"` or `"imagenet"`.
        random: Random numbers.

    Source: Cubuk et al. (2019), Tables 7 and 9, as Wolfe (2023), D.2.1 uses them.
    """
    pairs = POLICIES[policy]
    for step in pairs[int(random.integers(len(pairs)))]:
        if random.random() < step.probability:
            image = apply(image, step.name, step.level, random)
    return image


def rand_augment(
    image: np.ndarray, count: int, magnitude: float, random: np.random.Generator
) -> np.ndarray:
    """Applies some operations of all, each drawn anew, at one magnitude.

    Args:
        image: Uint8, `(h, w, c)`.
        count: Operations.
        magnitude: 0 to 30, the levels 0 to 9 of a policy.
        random: Random numbers.

    Source: Cubuk et al. (2020); Wolfe (2023), Table 24.
    """
    names = list(_OPERATIONS)
    for chosen in random.integers(len(names), size=count):
        image = apply(image, names[int(chosen)], 9 * magnitude / 30, random)
    return image
