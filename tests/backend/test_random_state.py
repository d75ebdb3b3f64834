"""Random numbers that are drawn in between leave no trace."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sparse.backend.random_state import undisturbed_random


def drawn():
    layer = keras.layers.Dropout(0.5)
    found = [random.random(), np.random.random()]  # noqa: NPY002
    found += np.array(layer.seed_generator.state).ravel().tolist()
    found += np.array(keras.random.uniform((2,))).tolist()
    if keras.backend.backend() == "tensorflow":
        found += [int(x) for x in tf.data.Dataset.range(9).shuffle(9)]
    return found


@pytest.mark.jax
@pytest.mark.parametrize("fails", [False, True])
def test_what_is_drawn_afterwards(fails):
    keras.utils.set_random_seed(1)
    wanted = drawn()
    keras.utils.set_random_seed(1)
    try:
        with undisturbed_random():
            drawn()
            assert not fails
    except AssertionError:
        pass
    assert drawn() == wanted


@pytest.mark.jax
def test_without_a_seed_nothing_is_left_behind():
    keras.utils.clear_session()
    with undisturbed_random():
        keras.random.uniform((2,))
    random.seed(3)
    one = np.array(keras.random.uniform((2,)))
    keras.utils.clear_session()
    random.seed(3)
    np.testing.assert_array_equal(one, keras.random.uniform((2,)))
