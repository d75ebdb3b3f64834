"""A model's outputs by a compiled function of its own, beside Keras's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_sparse.backend.compiled import compiled


def compiled_inference(model: keras.Model) -> Callable[[Any], Any]:
    """A compiled function from inputs to outputs, in inference mode, at the weights as they are.

    `model.evaluate` and `model.predict` within `fit` reset its metrics and are compiled anew.

    Args:
        model: A built model.
    """
    if keras.backend.backend() == "jax":
        import jax

        def at(values: Any, x: Any) -> Any:
            mapping = list(zip(model.variables, values, strict=True))
            with keras.StatelessScope(state_mapping=mapping):
                return model(x, training=False)

        outputs = jax.jit(at)
        return lambda x: outputs([variable.value for variable in model.variables], x)
    return compiled(lambda x: model(x, training=False))
