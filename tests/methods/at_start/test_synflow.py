import keras
import numpy as np
import pytest
from keras import ops

import keras_sparse as ks
from tests.training import compiled, conv_net, fit, kernels

pytestmark = pytest.mark.jax


def deep(width=12, depth=5):
    """A net whose middle layer would be emptied by a single round."""
    layers = keras.layers
    model = keras.Sequential([keras.Input((4,))])
    for i in range(depth):
        model.add(layers.Dense(60 if i == 2 else width, "relu", name=f"d{i}"))
    model.add(layers.Dense(2, name="logits"))
    return compiled(model)


def masks_of(model, *args, **kwargs):
    x, y = np.zeros((8, 4), "float32"), np.zeros(8, "int32")
    callback = ks.SynFlow(*args, **kwargs)
    model.fit(x, y, epochs=1, verbose=0, callbacks=[callback])
    return callback.masks


def test_rounds_do_not_empty_a_layer():
    masks = masks_of(deep(), 0.985)
    sizes = sum(mask.size for mask in masks.values())
    assert sum(mask.sum() for mask in masks.values()) == sizes - round(0.985 * sizes)
    assert all(mask.any() for mask in masks.values())
    with pytest.warns(ks.SparsityWarning) as seen:
        masks_of(deep(), 0.985, rounds=1)
    assert any("Nothing is left of d1/kernel" in str(warning.message) for warning in seen)


# At an input of ones every unit is where ReLU6 is flat.
@pytest.mark.parametrize(("activation", "scale"), [(None, 1), ("relu6", 10)])
def test_one_round_keeps_the_largest_products(activation, scale):
    # One path a weight: y = sum_i v_i u_i x, so that both weights of unit i score |v_i u_i|.
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((1,)),
            layers.Dense(3, activation, use_bias=False, name="u"),
            layers.Dense(1, use_bias=False, name="v"),
        ]
    )
    u, v = np.array([[1.0, -3.0, 2.0]]), np.array([[5.0], [1.0], [-2.0]])
    model.set_weights([scale * u, v])
    model.compile(loss="mse")
    callback = ks.SynFlow(0.5, rounds=1)
    x = np.zeros((8, 1), "float32")
    model.fit(x, x, epochs=1, verbose=0, callbacks=[callback])
    # Scores 5, 3, 4: the tie of u's and v's last kept weight goes to the first tensor.
    np.testing.assert_array_equal(callback.masks["u/kernel"], [[True, False, True]])
    np.testing.assert_array_equal(callback.masks["v/kernel"], [[True], [False], [False]])


def test_the_model_keeps_its_weights(images):
    model = compiled(conv_net(), keras.optimizers.SGD(0.0))
    moving = [np.array(ops.convert_to_numpy(v)) for v in model.non_trainable_variables[:2]]
    callback = ks.SynFlow(0.8, rounds=5)
    model.layers[1].trainable = False
    fit(compiled(model, keras.optimizers.SGD(0.0)), images, callback, epochs=1)
    for kernel, own, mask in zip(
        kernels(model), kernels(conv_net()), callback.masks.values(), strict=True
    ):
        np.testing.assert_array_equal(kernel, np.where(mask, own, 0))
    for variable, value in zip(model.layers[1].variables[2:], moving, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)


def test_softmax_outputs_say_nothing():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2), keras.layers.Softmax()])
    with pytest.raises(ValueError, match="all zero"):
        masks_of(compiled(model), 0.5)


def test_open_input_shape():
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((None, 4)),
            layers.Dense(5),
            layers.GlobalAveragePooling1D(),
            layers.Dense(2),
        ]
    )
    x, y = np.zeros((8, 3, 4), "float32"), np.zeros(8, "int32")
    with pytest.raises(ValueError, match="Give input_shape"):
        compiled(model).fit(x, y, verbose=0, callbacks=[ks.SynFlow(0.5)])
    callback = ks.SynFlow(0.5, input_shape=(3, 4), rounds=3)
    compiled(model).fit(x, y, verbose=0, callbacks=[callback])
    assert sum(mask.sum() for mask in callback.masks.values()) == 15


def test_bad_arguments():
    with pytest.raises(ValueError, match="rounds must be"):
        ks.SynFlow(0.5, rounds=0)
