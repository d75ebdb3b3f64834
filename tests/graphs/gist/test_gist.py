"""GIST as a whole: what it equals, what it covers, what it sends, and what it refuses."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops

import keras_sparse as ks
from keras_sparse import graphs
from keras_sparse.graphs.gist.budget import budget
from keras_sparse.graphs.gist.partition import cut_weight, grid
from keras_sparse.messages.warning import SparsityWarning
from tests.graphs.gist.small import assert_same, loss, network, small_graph, trained
from tests.graphs.paths import BIAS_1, KERNEL_0, KERNEL_1, path_graph


@pytest.fixture(scope="module")
def graph():
    return small_graph()


@pytest.fixture(scope="module")
def whole(graph):
    return graphs.FullGraph(graph, "gcn", steps=2)


def clusters(graph):
    return graphs.ClusterLoader(
        graph, "gcn", num_parts=6, parts_per_batch=2, partitioner="random", seed=3
    )


def path_network():
    model = graphs.gcn(2, 2, (4,), sparse_features=False)
    model.set_weights([KERNEL_0, np.zeros(4), KERNEL_1, BIAS_1])
    return model


def test_a_round_of_one_step_on_a_path(monkeypatch):
    blocks = {2: [np.arange(2)] * 2, 4: [np.array([0, 3]), np.array([1, 2])]}
    monkeypatch.setattr(
        "keras_sparse.graphs.gist.cutting.partition_features", lambda width, *_: blocks[width]
    )
    with pytest.warns(SparsityWarning, match="layer_norm=True"):
        gist = graphs.GIST(path_network(), 2, 1)
    loader = graphs.FullGraph(path_graph(), "gcn")
    weights, history = trained(gist, loader, 2, keras.optimizers.SGD(0.1))
    assert history["loss"] == [pytest.approx((0.723012 + 0.796476) / 2, abs=1e-6)]
    expected = [[1.014696, -0.014696], [-0.003757, 1.003757], [0.987346, -0.987346]]
    np.testing.assert_allclose(weights[2][:3], expected, atol=1e-6)
    np.testing.assert_allclose(weights[3], [0.503134, -0.503134], atol=1e-6)


@pytest.mark.parametrize(
    ("iterations", "options"), [(8, {}), (3, {"optimizer_state": "partition"})]
)
def test_one_sub_network_is_ordinary_training(whole, iterations, options):
    ordinary = network()
    ordinary.compile(keras.optimizers.Adam(0.02), loss())
    ordinary.fit(whole, epochs=4, shuffle=False, verbose=0)
    weights, _ = trained(graphs.GIST(network(), 1, iterations, **options), whole, 4)
    assert_same(weights, ordinary.get_weights())


def test_a_sub_network_learns_as_the_whole_with_a_mask_does(graph):
    """Off the block the whole has zeros, and gradients that are exactly zero."""
    with pytest.warns(SparsityWarning, match="layer_norm=True"):
        gist = graphs.GIST(network(layer_norm=False, hidden=(8,)), 2, 1)
    values = [np.array(each) for each in gist.model.get_weights()]
    values[1] = np.linspace(-0.1, 0.1, 8, dtype="float32")
    places = gist.cutting.places(0)[0]
    masks = [np.zeros_like(value) for value in values]
    for mask, place in zip(masks, places, strict=True):
        mask[grid(mask, place)] = 1
    masked = network(layer_norm=False, hidden=(8,))
    masked.set_weights([value * mask for value, mask in zip(values, masks, strict=True)])
    part = graphs.sub_gcns(gist.model, 2)[0]
    part.set_weights([cut_weight(v, p) for v, p in zip(values, places, strict=True)])
    losses = []
    for model in (masked, part):
        model.compile(keras.optimizers.SGD(0.5), loss())
        x, y, weight = graphs.FullGraph(graph, "gcn")[0]
        losses.append(float(model.train_on_batch(x, y, weight)))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    after = masked.get_weights()
    for value, mask, place, own in zip(after, masks, places, part.get_weights(), strict=True):
        np.testing.assert_allclose(cut_weight(value, place), own, atol=1e-6)
        np.testing.assert_array_equal(value[mask == 0], 0)


def test_what_no_worker_has_stays_bit_for_bit(whole):
    gist = graphs.GIST(network(), 4, 3)
    before = gist.model.get_weights()
    with pytest.warns(SparsityWarning, match="1 rounds, fewer than the 4"):
        weights, history = trained(gist, whole, 4)
    mine = np.zeros((8, 12), bool)
    for place in gist.cutting.places(0):
        mine[grid(mine, place[2])] = True
    changed = weights[2] != before[2]
    assert changed[mine].any()
    assert not changed[~mine].any()
    assert mine.mean() == 1 / 4 == history["coverage"][0]


@pytest.mark.parametrize("sparse", [True, False])
def test_input_features_are_cut_with_the_rows_of_the_first_kernel(graph, sparse):
    """Where only they are cut, and nothing is hidden, a worker's logits are those of its block."""
    dense = dataclasses.replace(graph, features=graph.features.toarray())
    loader = graphs.FullGraph(graph if sparse else dense, "gcn")
    model = network((), sparse_features=sparse)
    kernel, bias = model.get_weights()
    gist = graphs.GIST(model, 2, 1, partition_input=True)
    weights, history = trained(gist, loader, 2, keras.optimizers.SGD(0.1))
    losses, expected = [], kernel.copy()
    for block in gist.cutting.blocks(0):
        narrow = graphs.gcn(len(block[0]), 3, (), sparse_features=False)
        narrow.set_weights([kernel[block[0]], bias])
        narrow.compile(keras.optimizers.SGD(0.1), loss())
        cut = dataclasses.replace(graph, features=dense.features[:, block[0]])
        losses += narrow.fit(graphs.FullGraph(cut, "gcn"), verbose=0).history["loss"]
        expected[block[0]] = narrow.get_weights()[0]
    assert history["loss"][0] == pytest.approx(np.mean(losses), rel=1e-5)
    np.testing.assert_allclose(weights[0], expected, atol=1e-6)


def test_coverage_grows_as_chance_has_it(graph):
    model = graphs.gcn(4, 2, (240, 240), layer_norm=True, sparse_features=False)
    coverage = graphs.GIST(model, 4, 1).coverage
    found = coverage.after(5)
    assert list(found) == ["hidden2/kernel"]
    assert found["hidden2/kernel"] == pytest.approx(1 - 0.75**5, abs=0.01)
    assert coverage.after(5) == found


@pytest.mark.parametrize(("workers", "steps"), [(2, [20] * 10), (4, [20] * 5), (8, [20, 20, 10])])
def test_steps_are_shared_out_and_the_last_round_may_be_short(workers, steps):
    plan = budget(400, 1, workers, 20, split=True)
    assert [len(plan.steps(round)) for round in range(plan.rounds)] == steps
    assert budget(400, 1, workers, 20, split=False).rounds == 20


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("gist", [8_038_680, 3_855_640, 2_264_400]),
        ("local_sgd", [17_387_800, 17_387_800, 20_865_360]),
    ],
)
def test_values_sent_in_a_training_on_cora(method, expected):
    model = graphs.gcn(1433, 7, (256, 256), layer_norm=True)
    plans = ((2, 10), (4, 5), (8, 3))
    assert [graphs.communication_volume(model, *plan, method) for plan in plans] == expected
    found = graphs.communication_volume(model, 2, 10, method, count_local=False)
    assert found == expected[0] // 2
    assert graphs.communication_volume(model, 2, 10, "ensemble") == 8_038_680 // 20


def test_multiplications_of_a_forward_pass_on_cora():
    model = graphs.gcn(1433, 7, (256, 256))
    parts = [graphs.sub_gcns(model, blocks)[0] for blocks in (2, 4, 8)]
    found = [graphs.forward_macs(each, 2708, 13264) for each in (model, *parts)]
    assert found == [1_182_632_624, 546_994_864, 262_451_888, 128_499_376]
    assert [part.count_params() for part in parts] == [200_967, 96_391, 47_175]


def test_multiplications_of_other_layers():
    sage = graphs.sage(4, 3, ())
    assert graphs.forward_macs(sage, 10, 20) == 20 * 4 + 10 * 8 * 3
    gat = graphs.gat(4, 3, ())
    assert graphs.forward_macs(gat, 10, 20) == 10 * 4 * 3 + 2 * 10 * 3 + 20 * 3


@pytest.mark.parametrize("state", ["reset", "partition"])
def test_the_optimizer_starts_anew_or_goes_with_the_weights(whole, state):
    gist = graphs.GIST(network(), 4, 2, optimizer_state=state)
    with pytest.warns(SparsityWarning, match="1 rounds, fewer than the 4"):
        _, history = trained(gist, whole, 4)
    slots = [np.asarray(v) for v in gist.model.optimizer.variables if "hidden2_kernel" in v.path]
    steps = int(gist.model.optimizer.iterations)
    sent = graphs.communication_volume(gist.model, 4, 1) * 4
    if state == "reset":
        assert steps == 0
        assert not any(slot.any() for slot in slots)
        assert history["comm_bytes"] == [sent]
    else:
        assert steps == 2
        mine = np.zeros((8, 12), bool)
        for place in gist.cutting.places(0):
            mine[grid(mine, place[2])] = True
        assert len(slots) == 2
        for slot in slots:
            assert slot[mine].any()
            assert not slot[~mine].any()
        # Two slots as large as the weights, and the step, to and from each of four workers.
        assert sent * 3 < history["comm_bytes"][0] < sent * 3 + 200


@pytest.mark.thorough
def test_a_fresh_optimizer_in_each_round(whole):
    """Two rounds are two trainings of a round each."""
    one = graphs.GIST(network(), 1, 4)
    weights, _ = trained(one, whole, 4)
    model = network()
    for _ in range(2):
        model.compile(keras.optimizers.Adam(0.02), loss())
        model.fit(whole, epochs=2, shuffle=False, verbose=0)
    assert_same(weights, model.get_weights(), atol=1e-5)


def test_a_schedule_goes_on_over_rounds(whole):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([3], [0.05, 0.0])
    gist = graphs.GIST(network(), 1, 2)
    longer, _ = trained(gist, whole, 4, keras.optimizers.SGD(schedule))
    ordinary = network()
    ordinary.compile(keras.optimizers.SGD(0.05), loss())
    ordinary.fit(whole, epochs=2, shuffle=False, verbose=0)
    assert_same(longer, ordinary.get_weights())


@pytest.mark.jax
@pytest.mark.parametrize("state", ["reset", "partition"])
def test_workers_that_gather_agree_with_one_process(graph, state):
    def train(workers=None):
        options = {} if workers is None else {"backend": "tf.distribute", "workers": workers}
        gist = graphs.GIST(network(dropout=0.3), 2, 3, optimizer_state=state, **options)
        return (*trained(gist, clusters(graph), 4), gist.model)

    weights, history, model = train()
    for other, its_history, _ in ks.distribute.in_threads(train, 2):
        assert_same(other, weights)
        assert its_history["loss"] == pytest.approx(history["loss"], rel=1e-5)
        if state == "reset":
            # Each worker says the loss, the seconds, and which round it is, too.
            told = 2 * (16 + ks.distribute.rounds.RECORD_BYTES)
            gathered = graphs.communication_volume(model, 2, 1, gathered=True) * 4 + told
            assert its_history["comm_bytes"] == [gathered, 2 * gathered]


@pytest.mark.jax
def test_an_interrupted_training_goes_on(graph, tmp_path):
    class Interrupted(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    def train(**kwargs):
        gist = graphs.GIST(network(dropout=0.3), 2, 2, backup=tmp_path / "backup")
        return trained(gist, clusters(graph), 4, **kwargs)

    weights, history = train()
    assert not (tmp_path / "backup").exists()
    with pytest.raises(KeyboardInterrupt):
        train(callbacks=[Interrupted()])
    again, rest = train()
    assert_same(again, weights, rtol=0, atol=0)
    assert rest["loss"] == history["loss"][2:]


def test_a_backup_of_another_training_is_refused(graph, whole, tmp_path):
    class Stopped(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(graphs.GIST(network(), 2, 2, backup=tmp_path), whole, 4, callbacks=[Stopped()])
    with pytest.raises(ks.distribute.WorkersDifferError, match="seed is 0 there and 5 here"):
        trained(graphs.GIST(network(), 2, 2, backup=tmp_path, seed=5), whole, 4)


def test_batches_are_the_workers_own_or_the_same(graph):
    loader = clusters(graph)
    own = [loader.batch_at(4, stream)[1] for stream in (0, 1)]
    assert not np.array_equal(*own)
    np.testing.assert_array_equal(loader.batch_at(4, 1)[1], own[1])
    seen = []
    loader.batch_at = lambda step, stream: (
        seen.append((step, stream)) or graphs.FullGraph(graph, "gcn").batch(0, 0)
    )
    trained(graphs.GIST(network(), 2, 2, same_batches=True), loader, 2)
    assert seen == [(step, 0) for steps in ((0, 1), (2,)) for _ in range(2) for step in steps]


@pytest.mark.jax
def test_the_whole_model_learns_and_callbacks_see_it(graph, whole):
    class Scores(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.last = self.model.evaluate(validation, verbose=0, return_dict=True)

    validation = graphs.FullGraph(graph, "gcn", split="validation")
    gist = graphs.GIST(network((16, 16)), 2, 10)
    scores = Scores()
    _, history = trained(
        gist, whole, 60, validation_data=validation, validation_freq=4, callbacks=[scores]
    )
    assert len(history["loss"]) == 6
    assert len(history["val_accuracy"]) == 2, "after the fourth and the last round"
    assert scores.last["accuracy"] == pytest.approx(history["val_accuracy"][-1])
    assert gist.evaluate(validation, verbose=0)[1] > 0.6  # chance is a third
    assert (np.diff(history["comm_bytes"]) > 0).all()


def test_training_ends_early_if_a_callback_says_so(whole):
    class Enough(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    _, history = trained(graphs.GIST(network(), 2, 2), whole, 8, callbacks=[Enough()])
    assert len(history["loss"]) == 2


def test_a_training_that_diverges_is_ended(whole):
    with pytest.raises(FloatingPointError, match="worker 0 in round 1"):
        trained(graphs.GIST(network(), 2, 4), whole, 8, keras.optimizers.SGD(float("inf")))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_subgcns": 9}, r"num_subgcns must be an integer from 1 to 8.*'hidden1' has 8"),
        ({"local_iterations": 0}, "local_iterations must be an integer of at least 1"),
        ({"backend": "proces"}, "Did you mean 'process'"),
        ({"optimizer_state": "kept"}, "optimizer_state must be one of 'reset', 'partition'"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        graphs.GIST(network(), **arguments)


def test_workers_of_another_number(whole):
    alone = ks.distribute.alone()
    gist = graphs.GIST(network(), 2, 2, backend="tf.distribute", workers=alone)
    with pytest.raises(ValueError, match="There are 1 workers and num_subgcns=2"):
        trained(gist, whole, 4)


def test_fit_without_compile(whole):
    with pytest.raises(ValueError, match=r"Call compile\(optimizer, loss\)"):
        graphs.GIST(network(), 2).fit(whole)


def test_widths_that_are_not_divided_evenly(whole):
    gist = graphs.GIST(network((7, 9)), 2, 2)
    weights, _ = trained(gist, whole, 8)
    assert [sizes[1:3] for sizes in gist.cutting.sizes()] == [(4, 5), (3, 4)]
    assert all(np.isfinite(ops.convert_to_numpy(each)).all() for each in weights)
