import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

import keras_sparse as ks
from keras_sparse.probe.layout import Layout
from keras_sparse.sparsity.operators import LargestKept, get_operator

DENSE = Layout((4, 2), (), (0,), (1,))


@pytest.mark.jax
def test_quantization_worked_example():
    """Peste et al. (2023), 5.4.1: 4 bits by output channel."""
    kernel = np.array([[0.7, 0.1], [-0.33, 0.02], [0.06, -0.04], [-0.7, 0.07]], "float32")
    (rounded,) = ks.Quantize(4).compress([ops.convert_to_tensor(kernel)], [DENSE])
    codes = np.array([[7, 7], [-3, 1], [1, -3], [-7, 5]])
    np.testing.assert_allclose(rounded, codes * np.array([0.1, 1 / 70]), atol=1e-7)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 8), st.integers(0, 1000))
def test_quantization_is_within_half_a_level_and_idempotent(bits, seed):
    kernel = np.random.default_rng(seed).normal(size=(3, 5, 4)).astype("float32")
    kernel[:, :, 1] = 0
    layout = Layout((3, 5, 4), (0,), (1,), (2,))
    operator = ks.Quantize(bits)
    rounded = np.array(operator.rounded(ops.convert_to_tensor(kernel), layout))
    scale = np.abs(kernel).max((0, 1)) / (2 ** (bits - 1) - 1)
    assert (np.abs(rounded - kernel) <= scale / 2 * (1 + 1e-5)).all()
    assert all(len(np.unique(rounded[..., c])) <= 2**bits - 1 for c in range(4))
    assert not rounded[:, :, 1].any()
    again = np.array(operator.rounded(ops.convert_to_tensor(rounded), layout))
    np.testing.assert_allclose(again, rounded, rtol=1e-5, atol=1e-7)


def test_quantization_by_output_channel_whatever_the_layer():
    attention = keras.layers.MultiHeadAttention(2, 3)
    attention.build((None, 5, 4), (None, 5, 4))
    model = keras.Sequential([keras.Input((5, 4))])
    inputs = keras.Input((5, 4))
    model = keras.Model(inputs, attention(inputs, inputs))
    before = [v.numpy() for v in model.trainable_variables]
    ks.compress(model, "2bit")
    for old, variable in zip(before, model.trainable_variables, strict=True):
        new = variable.numpy()
        if old.ndim < 3:
            np.testing.assert_array_equal(new, old)
            continue
        outputs = (2,) if "output" in variable.path else (1, 2)
        inputs_ = tuple(i for i in range(3) if i not in outputs)
        np.testing.assert_allclose(np.abs(new).max(inputs_), np.abs(old).max(inputs_), rtol=1e-6)
        channels = np.moveaxis(new, inputs_, range(len(inputs_)))
        channels = channels.reshape(np.prod([old.shape[i] for i in inputs_]), -1)
        assert all(len(np.unique(channels[:, c])) <= 3 for c in range(channels.shape[1]))


def test_operators_by_name():
    assert get_operator(0.9) == ks.TopK(0.9)
    assert get_operator("2:4") == get_operator(ks.NM(2, 4)) == ks.TopK(granularity="2:4")
    assert get_operator("4bit") == ks.Quantize(4)
    labels = [get_operator(o).label for o in (0.9, 0.995, "2:4", "8bit", ks.TopK(0.5, "4x1"))]
    assert labels == ["90%", "99.5%", "2:4", "8bit", "50% block"]
    for wrong, words in (
        ("2x4", "operator must be"),
        (True, "operator must be"),
        ("1bit", "2 to 16"),
    ):
        with pytest.raises(ValueError, match=words):
            get_operator(wrong)
    with pytest.raises(ValueError, match="needs a sparsity"):
        ks.TopK()


def test_is_a_projection():
    """C(C(x)) = C(x), and 2:4 is 4:8 as well, but not the other way round."""
    weights = ops.convert_to_tensor(np.array([[0.1, -0.5, 0.3, 0.2, 1, 1, 1, 1]], "float32").T)
    layout = [Layout((8, 1), (), (0,), (1,))]
    two, four = (LargestKept([n], ks.NM(n, 2 * n), True) for n in (2, 4))
    once = two.compress([weights], layout)
    np.testing.assert_array_equal(np.ravel(once[0]) != 0, [0, 1, 1, 0, 1, 1, 0, 0])
    np.testing.assert_array_equal(two.compress(once, layout)[0], once[0])
    np.testing.assert_array_equal(four.compress(once, layout)[0], once[0])
    wide = four.compress([weights], layout)
    np.testing.assert_array_equal(np.ravel(wide[0]) != 0, [0, 0, 0, 0, 1, 1, 1, 1])
    assert (np.array(two.compress(wide, layout)[0]) != np.array(wide[0])).any()


@pytest.mark.parametrize("operator", [LargestKept([3], ks.NM(1, 4), False), ks.Quantize(5)])
def test_bound_operators_are_serializable(operator):
    read = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(operator))
    assert type(read) is type(operator)
    assert read.get_config() == operator.get_config()
