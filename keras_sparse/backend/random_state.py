"""The global states of random numbers, set aside and put back."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state

_GENERATOR = "global_seed_generator"


@contextlib.contextmanager
def undisturbed_random() -> Iterator[None]:
    """Whatever is drawn meanwhile, what is drawn afterwards is as if nothing had been.

    Of Python's, NumPy's and Keras's global generators, and of what seeds TensorFlow's data sets.
    Layers that are made meanwhile draw their seeds from these.
    """
    own, operations = random.getstate(), _operation_seeds()
    legacy = np.random.get_state()  # noqa: NPY002 - what a user's script may draw from
    before = operations.getstate() if operations is not None else None
    generator = global_state.get_global_attribute(_GENERATOR)
    state = None if generator is None else keras.ops.convert_to_numpy(generator.state).copy()
    try:
        yield
    finally:
        random.setstate(own)
        np.random.set_state(legacy)  # noqa: NPY002
        if operations is not None:
            operations.setstate(before)
        global_state.set_global_attribute(_GENERATOR, generator)
        if generator is not None:
            generator.state.assign(state)


def _operation_seeds() -> Any:
    """The generator of the seeds of TensorFlow's operations, `None` if there is none."""
    if keras.backend.backend() != "tensorflow":
        return None
    from tensorflow.python.eager import context

    return getattr(context.context(), "_rng", None)
