import keras
import numpy as np
import pytest
from keras import ops

from keras_sparse.backend.step_random import normal, uniform
from keras_sparse.sparsity import bundles as bundles_module
from keras_sparse.sparsity.bundles import Bundles

pytestmark = pytest.mark.jax
ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
SHAPES = [(3, 4), (), (5,), (1, 2, 3), (7,)]


@pytest.fixture
def tensors(monkeypatch):
    """Five tensors of two types; the third is too long to be put together with others."""
    monkeypatch.setattr(bundles_module, "_SMALL", 12)
    generator = np.random.default_rng(0)
    values = [generator.normal(size=shape).astype("float32") for shape in SHAPES]
    values[2] = generator.normal(size=(13,)).astype("float32")
    values[4] = values[4].astype("float16")
    return [ops.convert_to_tensor(value) for value in values]


def numbers(tensors):
    return [ops.convert_to_numpy(tensor) for tensor in tensors]


def test_what_is_joined_comes_apart_again(tensors):
    bundles = Bundles(tensors)
    joined = bundles.join(tensors)
    assert sorted(tuple(vector.shape) for vector in joined) == [(7,), (13,), (19,)]
    for before, after in zip(tensors, bundles.split(joined), strict=True):
        assert after.dtype == before.dtype
        np.testing.assert_array_equal(*numbers([before, after]))


def test_no_bundle_is_longer_than_allowed(tensors, monkeypatch):
    monkeypatch.setattr(bundles_module, "_LONGEST", 14)
    bundles = Bundles(tensors)
    joined = bundles.join(tensors)
    assert max(np.prod(vector.shape) for vector in joined) == 13
    for before, after in zip(tensors, bundles.split(joined), strict=True):
        np.testing.assert_array_equal(*numbers([before, after]))


def test_numbers_that_are_not_zero_are_counted_by_tensor(tensors):
    some = [tensor * ops.cast(tensor > 0, tensor.dtype) for tensor in tensors]
    counted = ops.convert_to_numpy(Bundles(tensors).counts(some)).tolist()
    assert counted == [np.count_nonzero(tensor) for tensor in numbers(some)]


def test_a_scalar_reaches_each_number_of_its_tensor(tensors):
    bundles = Bundles(tensors)
    scalars = [ops.convert_to_tensor(float(i)) for i in range(5)]
    spread = bundles.spread(scalars)
    zeros = bundles.join([ops.zeros_like(tensor) for tensor in tensors])
    sums = [ops.cast(zero, "float32") + value for zero, value in zip(zeros, spread, strict=True)]
    for i, value in enumerate(numbers(bundles.split(sums))):
        assert (value == i).all()


@pytest.mark.parametrize("jit", [False, True] if ON_TENSORFLOW else [False])
@pytest.mark.parametrize(("name", "alone"), [("uniform", uniform), ("normal", normal)])
def test_bundles_draw_what_tensors_draw(tensors, name, alone, jit):
    """Also under XLA, whose sizes have to be known."""

    def draw(step):
        bundles = Bundles(tensors)
        return bundles.split(getattr(bundles, name)(7, step, first=2))

    if jit:
        import tensorflow as tf

        draw = tf.function(draw, jit_compile=True)
    for i, found in enumerate(draw(ops.convert_to_tensor(9, "int32"))):
        expected = alone(tuple(tensors[i].shape), 7, 9, 2 + i)
        np.testing.assert_allclose(*numbers([found, expected]), atol=1e-5 if jit else 0)
