"""The rows of inputs times the rows of weights are the layer's outputs."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_sparse as ks
from keras_sparse.posttrain.layer_inputs import chosen_layers, input_rows
from keras_sparse.posttrain.pruned_weights import PrunedWeights, from_rows, to_rows
from keras_sparse.posttrain.recording import recorded
from tests.posttrain.calibrated import one_layer


@pytest.mark.jax
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (layers.Dense(3), (2, 4)),
        (layers.EinsumDense("abc,cde->abde", (None, 2, 3)), (2, 4)),
        (layers.EinsumDense("abcd,cde->abe", (None, 3)), (2, 2, 3)),
        (layers.EinsumDense("...x,xy->...y", 3), (2, 4)),
        (layers.EinsumDense("abc,dec->abde", (None, 2, 3)), (2, 4)),
        (layers.EinsumDense("abcd,dec->abe", (None, 3)), (2, 2, 3)),
        (layers.EinsumDense("abc,cd->ad", 3), (2, 4)),
        (layers.Conv1D(3, 3, padding="causal", dilation_rate=2), (6, 2)),
        (layers.Conv1D(3, 4, padding="same", strides=3), (7, 2)),
        (layers.Conv2D(3, (3, 2), padding="same", strides=2), (6, 5, 2)),
        (layers.Conv2D(3, 2, dilation_rate=2), (5, 6, 2)),
    ],
)
def test_rows(layer, shape):
    model = keras.Sequential([keras.Input(shape), layer])
    chosen = PrunedWeights(model, 0.5, {})
    x = np.random.default_rng(0).normal(size=(3, *shape)).astype("float32")
    found = chosen_layers(chosen)
    ((inputs,),) = recorded(model, found, x)
    rows = to_rows(chosen.layouts[0], chosen.read()[0])
    outputs = ops.convert_to_numpy(model(x))
    product = (input_rows(layer, chosen.variables[0], inputs) @ rows.T).reshape(outputs.shape)
    np.testing.assert_allclose(product, outputs, atol=1e-5)
    np.testing.assert_array_equal(from_rows(chosen.layouts[0], rows), chosen.read()[0])
    assert "call" not in vars(layer)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("function", [ks.wanda, ks.sparsegpt, ks.obc, ks.adaprune])
def test_infinite_inputs_are_refused_before_they_meet_a_zero(function):
    """Infinity times zero is what "invalid value encountered in matmul" speaks of."""
    x = np.array([[np.inf, 0.0, 1.0], [1.0, 1.0, 1.0]], "float32")
    model = one_layer(np.ones((3, 2)))
    with pytest.raises(ValueError, match="The inputs of 'only' are not finite"):
        function(model, x, 0.5)


def test_layers_out_of_sight_are_pruned_by_magnitude():
    model = keras.Sequential(
        [
            keras.Input((6, 6, 4)),
            layers.DepthwiseConv2D(3, name="depth"),
            layers.Conv2D(4, 3, groups=2, name="grouped"),
            layers.Flatten(),
            layers.Dense(2, name="dense"),
        ]
    )
    other = keras.models.clone_model(model)
    other.set_weights(model.get_weights())
    x = np.random.default_rng(0).normal(size=(64, 6, 6, 4)).astype("float32")
    with pytest.warns(ks.SparsityWarning, match="depth/kernel, grouped/kernel"):
        ks.obc(model, (x, np.zeros(64)), 0.5, allocation="uniform")
    ks.prune(other, 0.5, allocation="uniform")
    for one, two in zip(model.layers[:2], other.layers[:2], strict=True):
        np.testing.assert_allclose(one.get_weights()[0], two.get_weights()[0], rtol=1e-6)
