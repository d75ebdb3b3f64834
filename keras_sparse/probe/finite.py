"""Weights that are not numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from keras import ops

_FLOATS = ("float16", "bfloat16", "float32", "float64")


def not_finite(variables: Iterable[Any]) -> list[Any]:
    """Those of some variables that hold NaN or infinity.

    Args:
        variables: Keras variables of any type; only floating-point ones are looked at.
    """
    floats = [variable for variable in variables if variable.dtype in _FLOATS]
    if not floats:
        return []
    sound = ops.stack([ops.all(ops.isfinite(ops.convert_to_tensor(v))) for v in floats])
    kept = zip(floats, np.asarray(ops.convert_to_numpy(sound)), strict=True)
    return [variable for variable, finite in kept if not finite]
