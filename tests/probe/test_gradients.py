import keras
import numpy as np
import pytest
from keras import ops

from keras_sparse.probe.gradients import LossGradients
from tests.training import compiled, conv_net

pytestmark = pytest.mark.jax


def two_two_two():
    """A network of 2-2-2 units with ReLU and no biases."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((2,)),
            layers.Dense(2, activation="relu", use_bias=False, name="one"),
            layers.Dense(2, use_bias=False, name="two"),
        ]
    )
    model.set_weights([np.array([[1, -1], [0.5, 2]]), np.array([[1, 0], [-0.5, 1]])])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def test_snip_example():
    model = two_two_two()
    weights = model.trainable_variables
    found = LossGradients(model, weights)(np.array([[1.0, 2.0]]), np.array([0]))
    scores = [ops.convert_to_numpy(g * w) for g, w in zip(found, weights, strict=True)]
    one = [[-0.9241418, -1.3862127], [-0.9241418, 5.5448509]]
    np.testing.assert_allclose(scores[0], one, atol=1e-6)
    np.testing.assert_allclose(scores[1], [[-1.8482836, 0], [1.3862127, 2.7724255]], atol=1e-6)


def test_follows_the_weights_and_leaves_the_state_alone(images):
    x, y = images
    model = compiled(conv_net())
    gradients = LossGradients(model, model.trainable_variables)
    before = [ops.convert_to_numpy(v) for v in model.variables]
    first = [np.array(ops.convert_to_numpy(g)) for g in gradients(x, y)]
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)
    for variable in model.trainable_variables:
        variable.assign(ops.convert_to_tensor(variable) * 1.5)
    second = gradients(x, y)
    assert any(
        np.abs(ops.convert_to_numpy(b) - a).max() > 1e-3 for a, b in zip(first, second, strict=True)
    )


def test_hessian_product_of_a_quadratic():
    layers = keras.layers
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1, use_bias=False)])
    x = np.random.default_rng(0).normal(size=(7, 3)).astype("float32")
    vector = np.array([[1.0], [-2.0], [0.5]], "float32")
    gradients = LossGradients(model, model.trainable_variables, loss="mse")
    (found,) = gradients.hessian_product(x, np.zeros((7, 1), "float32"), [vector])
    np.testing.assert_allclose(ops.convert_to_numpy(found), 2 / 7 * x.T @ x @ vector, rtol=1e-5)


def test_float16_does_not_underflow():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, use_bias=False)])
    finally:
        keras.config.set_dtype_policy("float32")
    model.set_weights([np.full((4, 1), 1e-4)])
    gradients = LossGradients(model, model.trainable_variables, loss="mse")
    (found,) = gradients(np.full((64, 4), 1e-3, "float32"), np.full((64, 1), -1e-4, "float32"))
    np.testing.assert_allclose(
        ops.convert_to_numpy(found), 2e-3 * 1e-4 * np.ones((4, 1)), rtol=0.05
    )


def test_without_a_loss():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match=r"not compiled.*give loss"):
        LossGradients(model, model.trainable_variables)
