import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_sparse as ks
from tests.posttrain.calibrated import check_common, layer_error, one_layer, small_net
from tests.training import kernels, values


@pytest.mark.jax
@pytest.mark.parametrize("function", [ks.adaprune, ks.global_adaprune])
def test_is_the_least_squares_fit_on_the_mask(function):
    """On the mask (1,1,0) the re-fit is (1.166667,-.633333,0)."""
    x = np.array([[2, 0, 1], [0, 1, 1], [1, 1, 0], [0, 0, 1]], "float32")
    model = one_layer([[1.0], [-0.8], [0.5]])
    function(model, (x, np.zeros(4)), 1 / 3, damping=1e-9)
    np.testing.assert_allclose(kernels(model)[0][:, 0], [1.166667, -0.633333, 0], rtol=1e-6)


@pytest.mark.parametrize("kwargs", [{"sparsity": 0.6}, {"granularity": "2:4"}])
def test_errors_of_a_layer_are_in_order(kwargs):
    obc, adaprune, sparsegpt, magnitude = (
        layer_error(function, **kwargs)
        for function in (ks.obc, ks.adaprune, ks.sparsegpt, ks.prune)
    )
    assert obc < adaprune < magnitude
    assert obc < sparsegpt < magnitude


def test_keeps_the_mask_of_magnitude(images):
    one, two = small_net(), small_net()
    ks.prune(one, 0.7, allocation="uniform")
    ks.adaprune(two, images, 0.7, allocation="uniform")
    for a, b in zip(kernels(one), kernels(two), strict=True):
        np.testing.assert_array_equal(a != 0, b != 0)


def test_global_is_nearer_in_the_outputs_of_the_model():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(200, 12)).astype("float32")

    def error(function):
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [keras.Input((12,)), *(layers.Dense(w, activation="tanh") for w in (16, 16, 4))]
        )
        before = ops.convert_to_numpy(model(x))
        function(model, (x, np.zeros(200)), 0.6)
        return np.mean((ops.convert_to_numpy(model(x)) - before) ** 2)

    assert error(ks.global_adaprune) < error(ks.adaprune)


@pytest.mark.parametrize("function", [ks.adaprune, ks.global_adaprune])
def test_counts_pattern_and_what_stays(function, images):
    check_common(function, images)


def test_global_warns_of_layers_out_of_sight():
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.DepthwiseConv2D(3, name="depth"),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )
    x = np.random.default_rng(0).normal(size=(50, 6, 6, 2)).astype("float32")
    with pytest.warns(ks.SparsityWarning, match=r"magnitude instead: depth/kernel\."):
        ks.global_adaprune(model, (x, np.zeros(50)), 0.5)
    assert [np.count_nonzero(k) / k.size for k in kernels(model)] == [0.5, 0.5]


@pytest.mark.parametrize("function", [ks.adaprune, ks.global_adaprune])
def test_bad_input(function, images):
    model = small_net()
    before = values(model)
    with pytest.raises(ValueError, match="takes inputs of shape"):
        function(model, (images[0][:, :4], images[1]), 0.5)
    with pytest.raises(ValueError, match="damping must be a finite number greater than 0"):
        function(model, images, 0.5, damping=0)
    with pytest.raises(ValueError, match="not finite"):
        function(model, (np.full_like(images[0], np.inf), images[1]), 0.5)
    for one, two in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(one, two)
