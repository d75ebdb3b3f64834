"""Rounding to a few bits, against numbers worked out by hand."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from keras import ops

from keras_sparse.backend.gradients import gradient
from keras_sparse.precision.quantizers import Quantization, gradient_quantized, quantized


def rounded(x, bits, *args, **kwargs):
    x = ops.convert_to_tensor(np.asarray(x, "float32"))
    return ops.convert_to_numpy(quantized(x, bits, *args, **kwargs))


@pytest.mark.jax
def test_numbers_worked_out_by_hand():
    np.testing.assert_allclose(rounded([0, 0.1, 0.4, 1], 2), [0, 0, 1 / 3, 1], atol=1e-7)
    expected = [-1, -1 / 7, 3 / 7, 1]
    np.testing.assert_allclose(rounded([-1, -0.2, 0.3, 1], 3), expected, atol=1e-6)
    np.testing.assert_array_equal(rounded([2, 2, 2], 4), [2, 2, 2])
    # s = 1/3: -1, 0, 1/3 and 2/3.
    np.testing.assert_allclose(
        rounded([-1, 0, 0.3, 0.6], 3, "symmetric"), [-1, 0, 1 / 3, 2 / 3], atol=1e-6
    )
    # s = 1/3 as well: 0.5/s = 1.5 is rounded to even.
    np.testing.assert_allclose(rounded([1, 0.5], 3, "symmetric"), [1, 2 / 3], atol=1e-6)


VALUES = arrays.arrays(
    "float32", st.integers(1, 40), elements=st.floats(-100, 100, width=32, allow_subnormal=False)
)


@settings(max_examples=150, deadline=None)
@given(VALUES, st.integers(1, 12))
def test_what_holds_of_any_affine_rounding(x, bits):
    out = rounded(x, bits)
    step = max((float(x.max()) - float(x.min())) / (2**bits - 1), 1e-8)
    slack = 1e-5 * max(1.0, float(np.abs(x).max()))
    assert len(np.unique(out)) <= 2**bits
    assert np.abs(out - x).max() <= step / 2 + slack
    assert out[x.argmin()] == x.min()
    assert out[x.argmax()] == pytest.approx(x.max(), abs=slack)
    np.testing.assert_allclose(rounded(out, bits), out, atol=slack)


@settings(max_examples=100, deadline=None)
@given(VALUES, st.integers(2, 12))
def test_symmetric_rounding_keeps_zeros_and_signs(x, bits):
    x = np.concatenate([x, np.zeros(2, "float32")])
    out = rounded(x, bits, "symmetric")
    assert (out[x == 0] == 0).all()
    assert (out * x >= 0).all()
    np.testing.assert_allclose(rounded(-x, bits, "symmetric"), -out)


def test_affine_rounding_moves_zeros():
    assert rounded([-1, 0, 0.9], 2)[1] != 0


@pytest.mark.parametrize("bits", [24, 32])
def test_many_bits_change_nothing(bits):
    x = np.random.default_rng(0).normal(size=100).astype("float32")
    np.testing.assert_allclose(rounded(x, bits), x, rtol=1e-5, atol=1e-6)


def test_ranges_of_single_channels():
    x = np.array([[0, 100], [0.1, 140], [1, 200]], "float32")
    by_column = rounded(x, 1, axes=(0,))
    np.testing.assert_allclose(by_column, [[0, 100], [0, 100], [1, 200]])


def test_known_ends_clip():
    np.testing.assert_allclose(rounded([-5, 0.4, 5], 1, ends=(0.0, 1.0)), [0, 0, 1])


def test_bits_may_be_a_tensor():
    x = np.random.default_rng(0).normal(size=50).astype("float32")
    np.testing.assert_array_equal(rounded(x, ops.convert_to_tensor(3.0)), rounded(x, 3))


@pytest.mark.jax
@pytest.mark.parametrize("kind", ["affine", "symmetric"])
def test_the_gradient_passes_straight_through(kind):
    x = ops.convert_to_tensor(np.array([-3.0, 0.2, 7.0], "float32"))
    (slope,) = gradient(lambda values: ops.sum(quantized(values[0], 2, kind)), [x])
    np.testing.assert_array_equal(ops.convert_to_numpy(slope), [1, 1, 1])


def slopes_of(weights, bits, **how):
    """The gradient that arrives behind a gradient quantizer, of `sum(weights * x)`."""
    x = ops.zeros(len(weights))
    weights = ops.convert_to_tensor(np.asarray(weights, "float32"))

    def loss(values):
        return ops.sum(weights * gradient_quantized(values[0], bits, **how))

    return ops.convert_to_numpy(gradient(loss, [x])[0])


def test_the_forward_value_of_a_gradient_quantizer_is_its_input():
    x = np.random.default_rng(0).normal(size=9).astype("float32")
    out = gradient_quantized(ops.convert_to_tensor(x), 1)
    np.testing.assert_array_equal(ops.convert_to_numpy(out), x)


@pytest.mark.jax
def test_stochastic_rounding_is_unbiased():
    slopes = [0.0, 1.0, *[0.3] * 20000]
    found = slopes_of(slopes, 1, step=7)
    assert set(np.unique(found)) == {0, 1}
    assert found[2:].mean() == pytest.approx(0.3, abs=0.01)
    assert (found != slopes_of(slopes, 1, step=8)).any()
    assert (found != slopes_of(slopes, 1, step=7, stream=1)).any()
    np.testing.assert_array_equal(found, slopes_of(slopes, 1, step=7))


def test_rounding_to_the_nearest_is_there_as_well():
    np.testing.assert_allclose(slopes_of([0, 0.4, 0.6, 1], 1, stochastic=False), [0, 0, 1, 1])


def test_small_gradients_are_not_lost():
    found = slopes_of([0, 4e-10, 6e-10, 1e-9], 1, stochastic=False)
    np.testing.assert_allclose(found, [0, 0, 1e-9, 1e-9], rtol=1e-5)


def test_half_precision_is_rounded_in_single_precision():
    x = np.random.default_rng(0).normal(size=200).astype("float16")
    out = quantized(ops.convert_to_tensor(x), 8)
    assert keras.backend.standardize_dtype(out.dtype) == "float16"
    np.testing.assert_array_equal(
        ops.convert_to_numpy(out), rounded(x.astype("float32"), 8).astype("float16")
    )


def test_wrong_arguments():
    with pytest.raises(ValueError, match="quantizer must be one of"):
        Quantization("afine")
    with pytest.raises(ValueError, match="activations"):
        Quantization(activations="channel")
    with pytest.raises(ValueError, match="at least 2 with the symmetric"):
        Quantization("symmetric").check_bits(1)
