import keras
import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.messages.warning import SparsityWarning
from keras_sparse.signal_propagation.orthogonality import matrix_score

layers = keras.layers


def circular(x, kernel):
    """A convolution with circular padding."""
    size = len(kernel)
    result = np.zeros((*x.shape[:2], kernel.shape[-1]))
    for i in range(size):
        for j in range(size):
            result += np.roll(x, (i - size // 2, j - size // 2), (0, 1)) @ kernel[i, j]
    return result


@pytest.mark.parametrize(("inputs", "outputs"), [(8, 8), (4, 8)])
def test_a_convolution_orthogonal_kernel_keeps_norms(inputs, outputs):
    x = np.random.default_rng(0).normal(size=(9, 9, inputs))
    kernel = np.asarray(ks.ConvolutionOrthogonal(seed=1)((3, 3, inputs, outputs)), float)
    assert np.linalg.norm(circular(x, kernel)) == pytest.approx(np.linalg.norm(x), rel=1e-4)
    total = np.einsum("ijac,ijbc->ab", kernel, kernel)
    np.testing.assert_allclose(total, np.eye(inputs), atol=1e-5)
    flat = keras.initializers.Orthogonal(seed=1)((9 * inputs, outputs))
    flattened = np.asarray(flat, float).reshape(3, 3, inputs, outputs)
    ratio = np.linalg.norm(circular(x, flattened)) / np.linalg.norm(x)
    assert abs(ratio - 1) > 0.01, "an orthogonal matrix is no such kernel"


def test_the_flattened_kernel_is_orthogonal_where_inputs_are_outputs():
    square, wide = (
        np.asarray(ks.ConvolutionOrthogonal(seed=0)((3, 3, inputs, 8)), float).reshape(-1, 8)
        for inputs in (8, 4)
    )
    assert matrix_score(square) < 1e-5
    assert np.trace(wide.T @ wide) == pytest.approx(4, abs=1e-5)
    assert matrix_score(wide) > 1


def test_delta_orthogonal_kernels_have_a_center_alone_and_no_sensitivity_beside_it():
    kernel = np.asarray(ks.DeltaOrthogonal(seed=0)((3, 3, 4, 8)))
    np.testing.assert_allclose(kernel[1, 1] @ kernel[1, 1].T, np.eye(4), atol=1e-6)
    assert np.count_nonzero(kernel) == 32
    delta = ks.DeltaOrthogonal(seed=0)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(4, 3, activation="tanh", kernel_initializer=delta, name="conv"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3),
        ]
    )
    x = np.random.default_rng(0).normal(size=(8, 6, 6, 2)).astype("float32")
    masks = ks.connection_sensitivity_masks(model, x, 0.8, loss="uniform")
    beside = np.ones((3, 3), bool)
    beside[1, 1] = False
    assert not masks["conv/kernel"][beside].any(), "a 3x3 convolution became one of 1x1"


@pytest.mark.parametrize("shape", [(3, 2, 4, 8), (3, 3, 8, 4), (5, 4, 8)])
def test_kernels_that_cannot_be_are_orthogonal_matrices(shape):
    with pytest.warns(SparsityWarning, match=r"needs a square window .* Received: shape="):
        kernel = np.asarray(ks.ConvolutionOrthogonal(seed=0)(shape), float)
    matrix = kernel.reshape(-1, shape[-1])
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(shape[-1]), atol=1e-5)


def test_initializers_are_serialized_and_draw_by_their_seed():
    layer = layers.Conv2D(4, 3, kernel_initializer=ks.ConvolutionOrthogonal(gain=2.0, seed=3))
    again = layers.Conv2D.from_config(layer.get_config())
    for each in (layer, again):
        each.build((None, 6, 6, 2))
    np.testing.assert_array_equal(layer.kernel, again.kernel)
    free = ks.DeltaOrthogonal()
    assert not np.array_equal(free((3, 3, 2, 4)), free((3, 3, 2, 4)))
    keras.utils.set_random_seed(1)
    first = np.asarray(free((3, 3, 2, 4)))
    keras.utils.set_random_seed(1)
    np.testing.assert_array_equal(free((3, 3, 2, 4)), first)
    with pytest.raises(ValueError, match="gain must be"):
        ks.ConvolutionOrthogonal(gain=0)


@pytest.mark.jax
@pytest.mark.parametrize(
    ("activation", "q", "weight", "bias"),
    [
        ("linear", 1.0, 1, 0),
        ("tanh", 0.0, 1, 0),
        ("tanh", 0.1, 1.08516, 0.00083),
        ("tanh", 0.5, 1.29922, 0.03804),
        ("tanh", 1.0, 1.46741, 0.15096),
        ("relu", 1.0, 2**0.5, 0),
    ],
)
def test_mean_field_gains(activation, q, weight, bias):
    gain = ks.mean_field_gain(activation, q)
    assert gain.weight_std == pytest.approx(weight, abs=1e-4)
    assert gain.bias_variance == pytest.approx(bias, abs=1e-4)
    points, weights = np.polynomial.hermite_e.hermegauss(100)
    slope = {
        "linear": np.ones_like,
        "tanh": lambda h: 1 / np.cosh(h) ** 2,
        "relu": lambda h: (h > 0) * 1.0,
    }[activation]
    flow = (weights / weights.sum()) @ slope(q**0.5 * points) ** 2
    if q:
        assert flow * gain.weight_std**2 == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "no such"])
def test_activations_without_a_gain_are_named(activation):
    with pytest.raises(ValueError, match=rf"activation must be .*activation='{activation}'"):
        ks.mean_field_gain(activation)
