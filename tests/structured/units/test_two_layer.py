"""Two-layer Keras models: what is recorded of them, and the smaller ones made of them."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_sparse as ks
from keras_sparse.analysis.bounds.hull import polytope_diameter
from keras_sparse.analysis.bounds.pruning_rate import max_subnetwork_size
from keras_sparse.structured.units.two_layer import recorded, two_layers


def network(norm=False, functional=False, seed=0):
    keras.utils.set_random_seed(seed)
    between = [layers.BatchNormalization(name="norm")] if norm else []
    stack = [
        layers.Flatten(),
        layers.Dense(12, activation=None if norm else "relu", name="hidden"),
        *between,
        *([layers.ReLU()] if norm else []),
        layers.Dropout(0.2),
        layers.Dense(4, activation="softmax", name="logits"),
    ]
    if functional:
        x = inputs = keras.Input((8, 8, 1))
        for layer in stack:
            x = layer(x)
        model = keras.Model(inputs, x)
    else:
        model = keras.Sequential([keras.Input((8, 8, 1)), *stack])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def values(model):
    return [keras.ops.convert_to_numpy(v).copy() for v in model.variables]


@pytest.mark.jax
@pytest.mark.parametrize("functional", [False, True])
@pytest.mark.parametrize("norm", [False, True])
def test_selection_leaves_the_model_alone_and_is_what_the_smaller_model_computes(
    images, norm, functional
):
    model = network(norm, functional)
    model.fit(*images, epochs=3, verbose=0)
    before = values(model)
    selection = ks.structured.greedy_forward_selection(model, images, size=6)
    for one, two in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(one, two)
    small = ks.structured.smaller_model(model, selection.indices, selection.gains)
    assert small.get_layer("hidden").kernel.shape == (64, selection.n_units)
    seen = recorded(model, images)
    logits = model.get_layer("logits")
    gains = 12 * selection.alpha
    kernel, bias = (keras.ops.convert_to_numpy(v) for v in logits.variables)
    wanted = keras.ops.softmax((seen.hidden * gains) @ kernel + bias)
    np.testing.assert_allclose(small(images[0]), wanted, atol=1e-5)
    loss = keras.losses.SparseCategoricalCrossentropy()(images[1], small(images[0]))
    assert float(loss) == pytest.approx(selection.losses[-1], abs=1e-5)


def test_all_units_once_are_the_dense_network(images):
    model = network(norm=True)
    whole = ks.structured.greedy_forward_selection(model, images, size=12, replacement=False)
    small = ks.structured.smaller_model(model, whole.indices, whole.gains)
    np.testing.assert_allclose(small(images[0]), model(images[0]), atol=1e-6)


def test_the_smaller_model_is_saved_and_trained_as_any(images, tmp_path):
    model = network(norm=True)
    small = ks.structured.smaller_model(model, [3, 1, 7], name="small")
    assert small.name == "small"
    np.testing.assert_array_equal(
        small.get_layer("norm").gamma, np.array(model.get_layer("norm").gamma)[[3, 1, 7]]
    )
    small.compile("sgd", "sparse_categorical_crossentropy")
    small.fit(*images, epochs=1, verbose=0)
    small.save(tmp_path / "small.keras")
    again = keras.models.load_model(tmp_path / "small.keras")
    np.testing.assert_allclose(again(images[0]), small(images[0]), atol=1e-6)


def test_i_spasp_of_a_model(images):
    model = network()
    before = values(model)
    found = ks.structured.i_spasp(model, images, 4)
    for one, two in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(one, two)
    hidden = recorded(model, images[0], targets=False).hidden
    kernel = model.get_layer("logits").kernel
    same = ks.structured.i_spasp_units(hidden, kernel, 4, batch_size=96)
    np.testing.assert_array_equal(found.indices, same.indices)
    assert len(found.indices) == 4


def test_the_vertices_of_a_network(images):
    x, y = images
    keras.utils.set_random_seed(2)
    hidden = layers.Dense(9, activation="tanh", bias_initializer="uniform")
    output = layers.Dense(1, bias_initializer="uniform")
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), hidden, output])
    model.compile("sgd", "mse")
    phi, labels = ks.structured.neuron_outputs(model, (x, y))
    loss = 0.5 * np.mean((numpy(model(x))[:, 0] - y) ** 2)
    assert 0.5 * np.sum((phi.mean(axis=0) - labels) ** 2) == pytest.approx(loss, rel=1e-5)
    one = ks.structured.select_vertices(phi, labels, 8)
    two = ks.structured.greedy_forward_selection(model, (x, y), 8)
    np.testing.assert_array_equal(one.picks, two.picks)
    np.testing.assert_allclose(one.losses, two.losses)
    size = max_subnetwork_size(one.losses[0], polytope_diameter(phi), loss)
    assert size > 1


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


@pytest.mark.parametrize(
    "between", [layers.LayerNormalization(), layers.Softmax(), layers.Activation("softmax")]
)
def test_layers_that_mix_units_are_refused(between):
    model = keras.Sequential([keras.Input((5,)), layers.Dense(6), between, layers.Dense(2)])
    with pytest.raises(ValueError, match="stands between the hidden layer"):
        two_layers(model)


def test_a_connection_past_the_hidden_layer_is_refused():
    inputs = keras.Input((6,))
    hidden = layers.Dense(6, activation="relu")(inputs)
    outputs = layers.Dense(2)(layers.Add()([inputs, hidden]))
    with pytest.raises(ValueError, match="stands between the hidden layer"):
        two_layers(keras.Model(inputs, outputs))


def test_models_that_do_not_suit(images):
    three = keras.Sequential([keras.Input((5,)), *[layers.Dense(5) for _ in range(3)]])
    with pytest.raises(ValueError, match="has 3 Dense layers"):
        two_layers(three)
    wrong = keras.Sequential(
        [keras.Input((6,)), layers.Dense(6), layers.Reshape((2, 3)), layers.Dense(4)]
    )
    with pytest.raises(ValueError, match=r"6 units and .* takes 3"):
        two_layers(wrong)
    shared = keras.Sequential([keras.Input((2, 3)), layers.Dense(6), layers.Dense(4)])
    with pytest.raises(ValueError, match="called on inputs of shape"):
        ks.structured.i_spasp(shared, np.zeros((5, 2, 3), "float32"), 2)
    plain = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(3), layers.Dense(4)]
    )
    with pytest.raises(ValueError, match="loss must be given"):
        ks.structured.greedy_forward_selection(plain, images, 2)
    with pytest.raises(ValueError, match="indices must be an integer from 0 to 2"):
        ks.structured.smaller_model(plain, [3])
    with pytest.raises(ValueError, match="indices must be different units"):
        ks.structured.smaller_model(plain, [1, 1])


def test_only_the_hidden_units_are_cut():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8,)),
            layers.BatchNormalization(),  # as wide as the hidden layer, and not of its units
            layers.Dense(8, activation="relu"),
            layers.PReLU(),
            layers.Dense(3),
        ]
    )
    x = np.random.default_rng(0).normal(size=(5, 8)).astype("float32")
    small = ks.structured.smaller_model(model, [6, 1, 4], [2.0, 3.0, 0.5])
    norm, hidden, activation, output = model.layers
    units = activation(hidden(norm(x))).numpy()[:, [6, 1, 4]] * [2.0, 3.0, 0.5]
    wanted = units @ output.kernel.numpy()[[6, 1, 4]] + output.bias.numpy()
    np.testing.assert_allclose(small(x), wanted, rtol=1e-5, atol=1e-6)
    assert small.count_params() < model.count_params()
