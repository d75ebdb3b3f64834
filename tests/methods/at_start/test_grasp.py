import keras
import numpy as np
import pytest
from keras import layers, losses, ops

import keras_sparse as ks
from keras_sparse.methods.at_start.sensitivity import connection_sensitivity
from tests.training import compiled, conv_net, fit

pytestmark = pytest.mark.jax

X, Y = np.array([[1.0, 2.0]], "float32"), np.array([0])
ONE, TWO = np.array([[1, -1], [0.5, 2]]), np.array([[1, 0], [-0.5, 1]])
OF_LOGITS = losses.SparseCategoricalCrossentropy(from_logits=True)


def net(activation=None, loss=OF_LOGITS):
    """Without biases, logits (0.5, 3) of the sample."""
    model = keras.Sequential(
        [
            keras.Input((2,)),
            layers.Dense(2, "relu", use_bias=False),
            layers.Dense(2, activation, use_bias=False),
        ]
    )
    model.set_weights([ONE, TWO])
    model.compile(loss=loss)
    return model


def grasp_scores(model, temperature, y=Y, loss=None):
    return connection_sensitivity(
        model,
        model.trainable_variables,
        (X, y),
        criterion="grasp",
        temperature=temperature,
        loss=loss,
    )


def assert_scores(found, wanted):
    for one, two in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, two, rtol=0, atol=2e-6)


def test_keeps_the_highest_scores(images):
    callback = ks.GraSP(0.8, images)
    fit(compiled(conv_net()), images, callback, epochs=1)
    model = compiled(conv_net())
    weights = [v for v in model.trainable_variables if len(v.shape) > 1]
    scores = connection_sensitivity(model, weights, images, criterion="grasp", temperature=200)
    score = np.concatenate([s.ravel() for s in scores])
    mask = np.concatenate([m.ravel() for m in callback.masks.values()])
    assert mask.sum() == mask.size - round(0.8 * mask.size)
    assert score[mask].min() >= score[~mask].max()
    assert score[~mask].min() < 0 < score[mask].max()


def test_data_is_gone_through_twice(images):
    x, y = images
    with pytest.raises(ValueError, match="used up after one pass"):
        fit(compiled(conv_net()), images, ks.GraSP(0.8, iter([(x, y)])), epochs=1)
    with pytest.raises(ValueError, match="GraSP scores weights on data"):
        ks.GraSP(0.8)


# W (H g) / sum |W (H g)| with g and H of the cross-entropy of logits / T, in float64.
WORKED = {
    1: (
        [[0.00961179, -0.13066739], [0.00961179, 0.52266954]],
        [[-0.01704769, 0], [0.10346394, 0.20692787]],
    ),
    200: (
        [[0.07070349, -0.11177126], [0.07070349, 0.44708504]],
        [[0.08695035, 0], [0.07092879, 0.14185759]],
    ),
}


@pytest.mark.parametrize("temperature", WORKED)
def test_worked_example(temperature):
    assert_scores(grasp_scores(net(), temperature), WORKED[temperature])


@pytest.mark.parametrize(
    "loss",
    [
        "sparse_categorical_crossentropy",
        losses.sparse_categorical_crossentropy,
        losses.SparseCategoricalCrossentropy(),
    ],
)
@pytest.mark.parametrize("temperature", WORKED)
def test_logits_are_taken_back_from_a_softmax(loss, temperature):
    assert_scores(grasp_scores(net("softmax", loss), temperature), WORKED[temperature])


@pytest.mark.parametrize(
    ("kind", "y"),
    [
        (losses.CategoricalCrossentropy, [[1.0, 0.0]]),
        (losses.CategoricalFocalCrossentropy, [[1.0, 0.0]]),
        (losses.BinaryCrossentropy, [[1.0, 0.0]]),
        (losses.BinaryFocalCrossentropy, [[1.0, 0.0]]),
    ],
)
def test_cross_entropies_of_probabilities_are_those_of_logits(kind, y):
    y = np.array(y, "float32")
    activation = "sigmoid" if "Binary" in kind.__name__ else "softmax"
    wanted = grasp_scores(net(None, kind(from_logits=True)), 200, y)
    assert_scores(grasp_scores(net(activation, kind()), 200, y), wanted)


def test_a_loss_to_score_with():
    def own(y, logits):
        return ops.sparse_categorical_crossentropy(y, logits, from_logits=True)

    # The model is trained for something else.
    assert_scores(grasp_scores(net(loss="mse"), 200, loss=own), WORKED[200])
    callback = ks.GraSP(0.5, (X, Y), loss=own)
    fit(net(loss="mse"), (X, np.ones((1, 2), "float32")), callback, epochs=1)
    # The same four weights that the worked numbers rank highest.
    kept = np.concatenate([mask.ravel() for mask in callback.masks.values()])
    assert kept.tolist() == [False, False, False, True, True, False, True, True]


def test_the_temperature_is_200_unless_another_is_given():
    masks = {}
    for temperature in (None, 200.0, 1.0):
        given = {} if temperature is None else {"temperature": temperature}
        callback = ks.GraSP(0.5, (X, Y), **given)
        fit(net(), (X, Y), callback, epochs=1)
        masks[temperature] = np.concatenate([m.ravel() for m in callback.masks.values()])
        chosen = ks.connection_sensitivity_masks(
            net(), (X, Y), 0.5, criterion="grasp", **({} if temperature is None else given)
        )
        of_function = np.concatenate([mask.ravel() for mask in chosen.values()])
        np.testing.assert_array_equal(of_function, masks[temperature])
    np.testing.assert_array_equal(masks[None], masks[200.0])
    assert (masks[None] != masks[1.0]).any()


@pytest.mark.parametrize("form", [list, dict])
def test_each_output_has_its_loss_and_its_form(form):
    """A head of logits and one of probabilities score as two heads of logits do."""

    def scores(activation, loss):
        inputs = keras.Input((2,))
        hidden = layers.Dense(2, "relu", use_bias=False)(inputs)
        outputs = [
            layers.Dense(2, use_bias=False, name="a")(hidden),
            layers.Dense(2, activation, use_bias=False, name="b")(hidden),
        ]
        model = keras.Model(inputs, outputs)
        model.set_weights([ONE, TWO, 2 * TWO])
        own = [OF_LOGITS, loss]
        model.compile(loss=own if form is list else dict(zip("ab", own, strict=True)))
        y = [Y, 1 - Y] if form is list else {"a": Y, "b": 1 - Y}
        return grasp_scores(model, 200, y)

    wanted = scores(None, OF_LOGITS)
    assert_scores(scores("softmax", losses.SparseCategoricalCrossentropy()), wanted)


@pytest.mark.parametrize(
    "loss",
    ["mse", losses.MeanSquaredError(), lambda y, outputs: ops.mean((y - outputs) ** 2, -1)],
)
def test_a_loss_that_is_not_known_to_have_logits_is_refused(loss):
    y = np.ones((1, 2), "float32")
    with pytest.raises(ValueError, match=r"(?s)divides logits.*temperature=1"):
        fit(net(loss=loss), (X, y), ks.GraSP(0.5, (X, y)), epochs=1)
    fit(net(loss=loss), (X, y), ks.GraSP(0.5, (X, y), temperature=1), epochs=1)


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), float("inf"), "200", None, True])
def test_bad_temperatures(temperature):
    with pytest.raises(ValueError, match="temperature must be a finite number greater than 0"):
        ks.GraSP(0.5, (X, Y), temperature=temperature)
