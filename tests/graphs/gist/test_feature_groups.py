"""Features are followed through a model: what is cut together, and along which axes."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_sparse import graphs
from keras_sparse.graphs.gist.cutting import Cutting, cut_all, merge_all, model_weights
from keras_sparse.graphs.gist.feature_groups import feature_groups
from keras_sparse.graphs.gist.sub_network import sub_network
from tests.graphs.paths import X, adjacency


def model_of(build):
    """A model of 2 features whose body is made by a function of features and adjacency."""
    features, links = keras.Input((2,), name="features"), keras.Input((None,), sparse=True)
    return keras.Model((features, links), build(features, links), name="net")


def groups_by_name(model, **options):
    groups = feature_groups(model, **options)
    return {
        name: (width, cut)
        for name, width, cut in zip(groups.names, groups.widths, groups.cut, strict=True)
    }


def residual(x, links):
    x = layers.Dense(6, name="first")(x)
    x = layers.LayerNormalization()(x)
    y = graphs.GraphConv(6, activation="relu", name="second")(x, links)
    y = layers.BatchNormalization(name="scale")(layers.Dropout(0.5)(y))
    return graphs.GraphConv(3, name="last")(layers.Add()([x, y]), links)


def joined(x, links):
    one = graphs.GATConv(4, heads=3, name="one")(x, links)
    two = graphs.SAGEConv(6, name="two")(x, links)
    both = layers.LayerNormalization(name="norm")(layers.Concatenate()([one, two]))
    return graphs.SAGEConv(3, name="last")(both, links)


def test_hidden_features_are_cut_and_those_of_the_output_are_not():
    model = graphs.gcn(5, 3, (8, 6), layer_norm=True)
    expected = {"features": (5, False), "hidden1": (8, True), "hidden2": (6, True)}
    assert groups_by_name(model) == {**expected, "logits": (3, False)}
    assert groups_by_name(model, partition_input=True)["features"] == (5, True)
    assert groups_by_name(model, whole=["hidden2"])["hidden2"] == (6, False)


def test_both_sides_of_an_addition_are_one_group():
    groups = groups_by_name(model_of(residual))
    assert groups == {"features": (2, False), "first": (6, True), "last": (3, False)}


def test_what_is_added_to_the_output_stays_whole():
    def build(x, links):
        hidden = graphs.GraphConv(3, name="hidden")(x, links)
        return layers.Add()([hidden, layers.Dense(3, name="out")(hidden)])

    assert groups_by_name(model_of(build))["hidden"] == (3, False)


def test_a_concatenation_is_cut_where_its_parts_are():
    model = model_of(joined)
    cutting = Cutting(model, feature_groups(model), 2, seed=0)
    one, two = cutting.blocks(0)[0][1:3]
    by_name = dict(zip(cutting.names, cutting.places(0)[0], strict=True))
    heads = np.concatenate([one, 4 + one, 8 + one])
    expected = np.concatenate([heads, 12 + two])
    np.testing.assert_array_equal(by_name["norm/gamma"][0], expected)
    rows, columns = by_name["last/kernel"]
    np.testing.assert_array_equal(rows, np.concatenate([expected, 18 + expected]))
    assert columns is None
    assert by_name["last/bias"] == [None]
    np.testing.assert_array_equal(by_name["one/attention"][2], one)
    np.testing.assert_array_equal(by_name["one/bias"][0], heads)


@pytest.mark.parametrize("build", [residual, joined])
@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_a_sub_network_has_the_shapes_of_its_parts_and_what_is_cut_comes_back(build, blocks):
    model = model_of(build)
    groups = feature_groups(model)
    cutting = Cutting(model, groups, blocks, seed=4)
    weights = model.get_weights()
    weights = [np.asarray(each) for each in model_weights(model)]
    places = cutting.places(7)
    parts = [cut_all(weights, place) for place in places]
    for sizes, part in zip(cutting.sizes(), parts, strict=True):
        network = sub_network(model, groups, sizes)
        variables = model_weights(network)
        assert [tuple(v.shape) for v in variables] == [value.shape for value in part]
        assert network((keras.ops.convert_to_tensor(X), adjacency("gcn"))).shape == (3, 3)
    for weight, merged in zip(weights, merge_all(weights, parts, places), strict=True):
        np.testing.assert_allclose(merged, weight, rtol=1e-6)


def test_a_copy_of_full_size_computes_the_same():
    model = model_of(residual)
    groups = feature_groups(model)
    copy = sub_network(model, groups, groups.widths)
    for variable, value in zip(model_weights(copy), model_weights(model), strict=True):
        variable.assign(value)
    inputs = (keras.ops.convert_to_tensor(X), adjacency("gcn"))
    np.testing.assert_allclose(copy(inputs), model(inputs), rtol=1e-6)


@keras.saving.register_keras_serializable(package="tests")
class Doubling(layers.Layer):
    """Makes twice as many features, which nobody can know."""

    def call(self, x):
        return keras.ops.concatenate([x, x], axis=-1)


def unknown(x, links):
    hidden = graphs.GraphConv(4, name="hidden")(x, links)
    return graphs.GraphConv(3)(Doubling(name="doubling")(hidden), links)


def test_a_layer_between_cut_features_that_is_not_understood_is_named():
    with pytest.raises(ValueError, match=r"(?s)Layer 'doubling' of model 'net'.*'hidden'.*whole="):
        feature_groups(model_of(unknown))


def test_a_layer_that_is_not_understood_may_stand_where_nothing_is_cut():
    model = model_of(unknown)
    groups = groups_by_name(model, whole=["hidden"])
    assert [name for name, (_, cut) in groups.items() if cut] == []


def test_cut_features_without_a_normalization_are_known():
    assert feature_groups(graphs.gcn(5, 3, (8, 6))).bare == ("hidden2", "logits")
    assert feature_groups(graphs.gcn(5, 3, (8, 6), layer_norm=True)).bare == ()
    assert feature_groups(graphs.sage(5, 3, (8, 6))).bare == ()


def test_names_of_layers_that_are_not_there():
    with pytest.raises(ValueError, match="Did you mean 'hidden1'"):
        feature_groups(graphs.gcn(5, 3, (8,)), whole=["hiden1"])
