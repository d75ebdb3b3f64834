"""Local SGD, data parallelism and ensembles: what they equal."""

import keras
import numpy as np
import pytest

from keras_sparse import graphs
from tests.graphs.gist.small import CLASSES, WORDS, assert_same, loss, network, small_graph, trained


@pytest.fixture(scope="module")
def graph():
    return small_graph()


@pytest.fixture(scope="module")
def whole(graph):
    return graphs.FullGraph(graph, "gcn", steps=2)


def clusters(graph):
    return graphs.ClusterLoader(graph, "gcn", num_parts=4, partitioner="random", seed=3)


def test_local_sgd_of_single_steps_is_data_parallelism(graph):
    given = (clusters(graph), 2, keras.optimizers.SGD(0.2))
    local, _ = trained(graphs.LocalSGD(network(), 2, 1), *given)
    parallel, _ = trained(graphs.DataParallel(network(), 2), *given)
    assert_same(local, parallel, atol=1e-5)
    longer, _ = trained(graphs.LocalSGD(network(), 2, 4), *given)
    assert not np.allclose(longer[0], local[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("build", [graphs.LocalSGD, graphs.DataParallel])
def test_workers_with_the_same_batches_are_as_one(whole, build):
    ordinary = network()
    ordinary.compile(keras.optimizers.Adam(0.02), loss())
    ordinary.fit(whole, epochs=2, shuffle=False, verbose=0)
    more = {"local_iterations": 4} if build is graphs.LocalSGD else {}
    training = build(network(), 3, split_epochs=False, same_batches=True, **more)
    weights, history = trained(training, whole, 2)
    assert_same(weights, ordinary.get_weights(), atol=1e-5)
    method, rounds = ("local_sgd", 1) if more else ("data_parallel", 4)
    sent = graphs.communication_volume(training.model, 3, rounds, method) * 4
    assert history["comm_bytes"][-1] == sent


def test_an_ensemble_keeps_its_members_best_and_asks_all(graph, whole):
    validation = graphs.FullGraph(graph, "gcn", split="validation")
    ensemble = graphs.SubGCNEnsemble(network(dropout=0.3), 2, 4)
    before = ensemble.model.get_weights()
    _, history = trained(ensemble, whole, 24, validation_data=validation)
    assert_same(ensemble.model.get_weights(), before)
    assert history["val_accuracy"][-1] == ensemble.evaluate(validation, verbose=0)[1] > 0.6
    x, _, _ = validation[0]
    softmax = [np.asarray(keras.ops.softmax(member(x))) for member in ensemble.best]
    np.testing.assert_allclose(np.exp(ensemble.network(x)), np.mean(softmax, 0), atol=1e-6)
    sent = graphs.communication_volume(ensemble.model, 2, 6, "ensemble") * 4
    assert set(history["comm_bytes"]) == {sent}


def test_members_are_trained_as_if_there_were_no_others(whole):
    """One member of an ensemble is the sub-network of its block, trained without a break."""
    ensemble = graphs.SubGCNEnsemble(network(), 2, 3)
    part = graphs.sub_gcns(ensemble.model, 2)[1]
    part.set_weights(ensemble.members[1].get_weights())
    part.compile(keras.optimizers.Adam(0.02), loss())
    part.fit(whole, epochs=4, shuffle=False, verbose=0)
    trained(ensemble, whole, 8)
    assert_same(ensemble.best[1].get_weights(), part.get_weights())


def test_an_ensemble_trains_in_one_process():
    with pytest.raises(ValueError, match="backend must be one of 'sequential'"):
        graphs.SubGCNEnsemble(graphs.gcn(WORDS, CLASSES), 2, backend="process")
