"""Every variable of a model has a path of its own, and a name for each layer around it."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_sparse as ks
from keras_sparse.probe.variables import broken_weights, check_built, places
from keras_sparse.sparsity.selection import Target, select
from tests.training import conv_net


def tower(name, units=16):
    inputs = keras.Input((10,))
    return keras.Model(inputs, layers.Dense(units, name="fc")(inputs), name=name)


def two_towers():
    left, right = tower("left"), tower("right")
    one, two = keras.Input((10,)), keras.Input((10,))
    product = layers.Multiply()([left(one), right(two)])
    return keras.Model([one, two], layers.Dense(1, name="head")(product))


class Twins(keras.Model):
    def __init__(self):
        super().__init__()
        self.one, self.two = layers.Dense(3, name="fc"), layers.Dense(3, name="fc")

    def call(self, inputs):
        return self.one(inputs) + self.two(inputs)


def paths(model):
    return [place.path for place in places(model).values()]


def test_a_path_is_the_variable_s_own():
    model = conv_net()
    place = places(model)
    for variable in model.variables:
        assert place[id(variable)].path == variable.path.removeprefix(f"{model.name}/")
    nested = keras.Sequential([keras.Input((10,)), tower("only"), layers.Dense(2, name="head")])
    assert "fc/kernel" in paths(nested)


def test_equal_layer_names_in_two_sub_models(tmp_path):
    model = two_towers()
    assert sorted(p for p in paths(model) if "kernel" in p) == [
        "head/kernel",
        "left/fc/kernel",
        "right/fc/kernel",
    ]
    model.save(tmp_path / "m.keras")
    assert paths(keras.models.load_model(tmp_path / "m.keras")) == paths(model)


def test_equal_layer_names_side_by_side_are_numbered():
    model = Twins()
    model(np.zeros((1, 4), "float32"))
    found = {path.removeprefix("twins/") for path in paths(model)}
    assert found == {"fc/kernel", "fc/bias", "fc_1/kernel", "fc_1/bias"}


@pytest.mark.parametrize("item", ["left", "left/fc", "left/*", "left/fc/kernel"])
def test_a_sub_model_is_excluded_by_its_name(item):
    rows = {r.path: r.reason for r in ks.report(two_towers(), exclude=[item]).rows}
    assert rows["left/fc/kernel"] == "excluded"
    assert rows["right/fc/kernel"] is None


def test_reasons_belong_to_the_right_tower():
    model = two_towers()
    left, right = model.get_layer("left"), model.get_layer("right")
    left.trainable = False
    rows = {row.path: row.reason for row in ks.report(model, exclude=[right]).rows}
    assert rows["left/fc/kernel"] == "frozen (trainable=False)"
    assert rows["right/fc/kernel"] == "excluded"
    assert rows["head/kernel"] is None


def test_one_of_two_equally_named_layers_is_first():
    rows = {r.path: r.reason for r in ks.report(two_towers(), keep_dense="first").rows}
    assert rows["left/fc/kernel"] == "first layer kept dense (keep_dense)"
    assert rows["right/fc/kernel"] is None


def test_an_allocation_and_masks_name_a_tower():
    report = ks.prune(two_towers(), 0.5, allocation={"left": 0.9})
    zeros = {row.path: row.sparsity for row in report.prunable}
    assert zeros["left/fc/kernel"] == pytest.approx(0.9)
    assert zeros["right/fc/kernel"] == pytest.approx(0.5)
    model = two_towers()
    model.compile("sgd", "mse")
    method = ks.SynFlow(0.5)
    x = np.ones((8, 10), "float32")
    model.fit([x, x], np.ones((8, 1)), epochs=1, verbose=0, callbacks=[method])
    assert set(method.masks) == {"left/fc/kernel", "right/fc/kernel", "head/kernel"}


def test_more_names_of_a_target_survive_its_configuration():
    target = select(two_towers()).targets[0]
    assert "left" in target.names
    again = Target.from_config(target.get_config())
    assert again == target
    assert again.names == target.names
    older = {k: v for k, v in target.get_config().items() if k != "more_names"}
    assert Target.from_config(older) == target


def test_the_litert_file_names_both_towers(tmp_path):
    model = two_towers()
    x = np.random.default_rng(0).normal(size=(8, 10)).astype("float32")
    report = ks.deploy.to_litert(model, tmp_path / "t.tflite", sparse=False, inputs=[x, x])
    names = {row.variable for row in report.tensors}
    assert names == {"left/fc/kernel", "right/fc/kernel", "head/kernel"}


@pytest.mark.parametrize("model", [None, "model", layers.Dense(2)])
def test_what_is_no_model_is_named(model):
    with pytest.raises(ValueError, match=r"model must be a built keras\.Model"):
        check_built(model)
    with pytest.raises(ValueError, match=r"model must be a built keras\.Model"):
        ks.report(model)


def test_weights_that_are_not_finite_are_found():
    model = two_towers()
    assert broken_weights(model) == []
    kernel = model.get_layer("right").layers[1].kernel
    kernel.assign(np.full(kernel.shape, np.inf))
    assert broken_weights(model) == ["right/fc/kernel"]
