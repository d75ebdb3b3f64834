import keras
import numpy as np
import pytest
from keras import ops

from keras_sparse.backend.step_random import normal, uniform

pytestmark = pytest.mark.jax


def array(tensor):
    return ops.convert_to_numpy(tensor)


def test_is_uniform():
    numbers = array(uniform((200, 500), seed=3, step=11))
    assert numbers.dtype == np.float32
    assert 0 <= numbers.min() < 1e-3
    assert 0.999 < numbers.max() < 1
    counts = np.histogram(numbers, bins=100, range=(0, 1))[0]
    chi_squared = np.sum((counts - 1000) ** 2 / 1000)
    assert 50 < chi_squared < 160, "99 degrees of freedom"
    for lag in (1, 2, 3, 500):
        flat = numbers.ravel()
        assert abs(np.corrcoef(flat[:-lag], flat[lag:])[0, 1]) < 0.015


def test_is_normal():
    numbers = array(normal((100000,), seed=0, step=5))
    assert numbers.mean() == pytest.approx(0, abs=0.01)
    assert numbers.std() == pytest.approx(1, abs=0.01)
    assert np.mean(np.abs(numbers) > 1.96) == pytest.approx(0.05, abs=0.004)


def test_differs_by_seed_step_and_stream_and_repeats():
    reference = array(uniform((1000,), 1, 2, 3))
    np.testing.assert_array_equal(reference, array(uniform((1000,), 1, 2, 3)))
    others = [(2, 2, 3), (1, 3, 3), (1, 2, 4), (1, 2 + 2**20, 3)]
    for other in others:
        numbers = array(uniform((1000,), *other))
        assert abs(np.corrcoef(reference, numbers)[0, 1]) < 0.12
        assert not (reference == numbers).any()


def test_known_values():
    """The same on every backend, forever: resumed runs depend on it."""
    expected = [0.6465616822242737, 0.08154869079589844, 0.18352389335632324]
    np.testing.assert_array_equal(array(uniform((3,), seed=1, step=2)), np.float32(expected))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="XLA against kernels")
def test_the_same_compiled():
    import tensorflow as tf

    def draw(step):
        return uniform((1000,), seed=1, step=step), normal((1000,), seed=1, step=step)

    plain = draw(tf.constant(9))
    compiled = tf.function(draw, jit_compile=True)(tf.constant(9))
    np.testing.assert_array_equal(plain[0], compiled[0])
    np.testing.assert_allclose(plain[1], compiled[1], atol=1e-5)
