"""Where the variables of a model in training have their values."""

from __future__ import annotations

import keras


def steps_are_pure() -> bool:
    """Whether a compiled step takes and returns values, as JAX's does, and assigns nothing."""
    return keras.backend.backend() == "jax"


def fetch_state(model: keras.Model) -> None:
    """Gives the variables of a model in `fit` the values that its steps have come to."""
    if steps_are_pure():
        model.jax_state_sync()
