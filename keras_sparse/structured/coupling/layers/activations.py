"""Whether an activation function looks at each number by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from keras_sparse.structured.coupling.coupling import Coupling


def fix_mixed(c: Coupling, axis: int = -1) -> None:
    """Lets the positions of an output stay that the layer's activation mixes, as softmax does."""
    activation = getattr(c.layer, "activation", None)
    if activation is not None and not is_elementwise(activation):
        name = getattr(activation, "__name__", type(activation).__name__)
        c.fix(
            c.channels.axis(c.outputs[0], axis),
            f"the activation {name} of {c.call.name} mixes its positions",
        )


def is_elementwise(activation: Any) -> bool:
    """Whether each number that a function returns depends on the number at its place alone."""
    x = np.random.default_rng(0).normal(size=(2, 3, 5)).astype("float32")
    try:
        y = ops.convert_to_numpy(activation(ops.convert_to_tensor(x)))
        for axis, place in ((-1, 0), (-1, 3), (-2, 1)):
            other = x.copy()
            np.moveaxis(other, axis, 0)[place] += 1.5
            z = ops.convert_to_numpy(activation(ops.convert_to_tensor(other)))
            if not np.array_equal(np.delete(y, place, axis), np.delete(z, place, axis)):
                return False
    except Exception:
        return False
    return y.shape == x.shape
