"""The weights stay in files: the same training, begun rightly, evaluated rightly, resumed."""

import math

import keras
import numpy as np
import pytest

from keras_sparse import graphs
from keras_sparse.graphs.gist.cutting import Cutting, model_weights
from keras_sparse.graphs.gist.feature_groups import feature_groups
from keras_sparse.graphs.gist.weight_files import WeightFiles, fill
from keras_sparse.graphs.gist.wide import widened
from tests.graphs.gist.small import assert_same, loss, network, small_graph, trained

pytestmark = pytest.mark.jax
BUILDERS = {
    "gcn": (graphs.gcn, "gcn"),
    "sage": (graphs.sage, "mean"),
    "gat": (graphs.gat, "self_loops"),
}


@pytest.fixture(scope="module")
def graph():
    return small_graph()


def wide_training(folder, name="gcn", **kwargs):
    builder, _ = BUILDERS[name]
    more = {"heads": 2} if name == "gat" else {}
    return graphs.WideGIST(network((4, 6), builder, **more), 2, 2, folder=folder, **kwargs)


def whole_of(wide, name):
    """An ordinary model with the same weights."""
    builder, _ = BUILDERS[name]
    more = {"heads": 2} if name == "gat" else {}
    whole = network((8, 12), builder, **more)
    for variable, value in zip(model_weights(whole), wide.weights, strict=True):
        variable.assign(np.array(value))
    return whole


@pytest.mark.parametrize("name", ["gcn", "sage", pytest.param("gat", marks=pytest.mark.thorough)])
def test_it_is_the_training_of_a_model_in_memory(graph, name, tmp_path):
    loader = graphs.FullGraph(graph, BUILDERS[name][1])
    test = graphs.FullGraph(graph, BUILDERS[name][1], split="test")
    wide = wide_training(tmp_path, name)
    gist = graphs.GIST(whole_of(wide, name), 2, 2)
    expected, history = trained(gist, loader, 8)
    wide.compile(keras.optimizers.Adam(0.02), loss(), weighted_metrics=["accuracy"])
    found = wide.fit(loader, 8, validation_data=test, verbose=0).history
    assert found["loss"] == pytest.approx(history["loss"], rel=1e-5)
    assert found["comm_bytes"] == history["comm_bytes"]
    assert_same(wide.weights, [np.asarray(each) for each in model_weights(gist.model)])
    in_memory = gist.evaluate(test, verbose=0)
    assert wide.evaluate(test) == pytest.approx(in_memory, rel=1e-4)
    assert found["val_accuracy"][-1] == pytest.approx(in_memory[1])
    assert expected


def test_a_network_of_two_thousand_million_weights_has_parts_of_width_4096():
    part = graphs.sage(100, 47, (4096, 4096), seed=0)
    assert part.count_params() == 34_766_895
    cutting = Cutting(part, widened(feature_groups(part), 8), 8, seed=0)
    assert sum(map(math.prod, cutting.shapes)) == 2_157_183_023
    assert {sizes[1:3] for sizes in cutting.sizes()} == {(4096, 4096)}


def test_large_arrays_begin_as_small_ones_would(monkeypatch):
    monkeypatch.setattr("keras_sparse.graphs.gist.weight_files._CHUNK_BYTES", 4 * 200 * 30)
    weight = np.zeros((300, 200), "float32")
    fill(weight, keras.initializers.GlorotUniform(), seed=3)
    limit = np.sqrt(6 / 500)
    assert np.abs(weight).max() == pytest.approx(limit, rel=0.01)
    assert np.abs(weight).max() <= limit
    assert weight.std() == pytest.approx(limit / np.sqrt(3), rel=0.02)
    assert len(np.unique(weight)) > 0.99 * weight.size, "no chunk repeats another"
    fill(weight, keras.initializers.RandomNormal(stddev=0.5), seed=3)
    assert weight.std() == pytest.approx(0.5, rel=0.02)


def test_a_round_that_was_interrupted_while_it_was_written_is_finished(tmp_path, monkeypatch):
    places = [[(np.array([0, 2]), None), (None,)], [(np.array([1]), None), (None,)]]
    parts = [[np.ones((2, 2)), np.array([1.0])], [2 * np.ones((1, 2)), np.array([3.0])]]

    def opened():
        files = WeightFiles(tmp_path, {"seed": 0}, [(3, 2), (1,)])
        files.begin(lambda number, weight: weight.fill(7))
        return files

    files = opened()
    with monkeypatch.context() as patch:

        def cut_off(self, *args):
            self.weights[0][0] = -1
            raise KeyboardInterrupt

        patch.setattr(WeightFiles, "_write", cut_off)
        with pytest.raises(KeyboardInterrupt):
            files.apply(parts, places)
    again = opened()
    assert again.rounds == 1
    np.testing.assert_array_equal(again.weights[0], [[1, 1], [2, 2], [1, 1]])
    np.testing.assert_array_equal(again.weights[1], [2])
    with pytest.raises(ValueError, match="of another training"):
        WeightFiles(tmp_path, {"seed": 1}, [(3, 2), (1,)])


def test_an_interrupted_training_goes_on(graph, tmp_path):
    class Interrupted(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    loader = graphs.FullGraph(graph, "gcn")
    expected = wide_training(tmp_path / "one")
    trained(expected, loader, 16)
    with pytest.raises(KeyboardInterrupt):
        trained(wide_training(tmp_path / "two"), loader, 16, callbacks=[Interrupted()])
    again = wide_training(tmp_path / "two")
    _, history = trained(again, loader, 16)
    assert len(history["loss"]) == 2
    assert_same(again.weights, expected.weights, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backend": "tf.distribute"}, "backend must be one of 'sequential', 'process'"),
        ({"optimizer_state": "partition"}, "optimizer_state must be one of 'reset'"),
        ({"folder": ""}, "folder must be a path"),
    ],
)
def test_wrong_arguments(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        wide_training(**{"folder": tmp_path, **arguments})
