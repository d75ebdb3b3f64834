"""Gradients of single examples."""

import keras
import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.analysis.scaling import gradient_noise, gradient_variance, noise_scale


def test_the_noise_of_a_linear_regression_is_what_it_is():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(12, 3)), generator.normal(size=(12, 1))
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False)])
    kernel = np.array([[0.5], [0.0], [-1.0]])
    model.set_weights([kernel])
    model.compile("sgd", "mse", run_eagerly=True)
    gradients = 2 * (x @ kernel - y) * x * (kernel[:, 0] != 0)
    variance = np.mean(np.sum((gradients - gradients.mean(0)) ** 2, axis=1))
    found = gradient_noise(model, (x.astype("float32"), y.astype("float32")))
    assert found.variance == pytest.approx(variance, rel=1e-5)
    norm = np.sum(gradients.mean(0) ** 2)
    assert found.squared_norm == pytest.approx(norm, rel=1e-4)
    data = x.astype("float32"), y.astype("float32")
    assert noise_scale(model, data) == pytest.approx(variance / norm, rel=1e-4)
    assert gradient_variance(model, data, samples=5) != found.variance
    with pytest.raises(ValueError, match="samples must be"):
        ks.scaling.gradient_noise(model, data, samples=1)
