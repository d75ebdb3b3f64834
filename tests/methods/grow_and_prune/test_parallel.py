"""Parallel grow-and-prune: its properties, with workers that are threads of this process."""

import threading

import keras
import numpy as np
import pytest
from keras import layers

import keras_sparse as ks
from keras_sparse.distribute.rounds import RECORD_BYTES
from keras_sparse.methods.grow_and_prune.schedule import fit_lengths
from tests.training import Interrupt, assert_same, compiled, conv_net, fit, kernels, nonzeros

pytestmark = [
    pytest.mark.xdist_group("parallel_gap"),
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow", reason="workers are connected by tf.distribute"
    ),
]
ONE_AT_A_TIME = threading.Lock()
to_array = keras.ops.convert_to_numpy


class Kept(keras.callbacks.Callback):
    """All variables before and after each round and the masks after its first batch."""

    def __init__(self, method):
        super().__init__()
        self.method = method
        self.masks, self.logs = [], []

    def on_train_batch_end(self, batch, logs=None):
        if batch == 0:
            self.masks.append([to_array(m).copy() for m in self.method.optimizer.masks])

    def on_epoch_end(self, epoch, logs=None):
        self.logs.append(dict(logs))


class Before(keras.callbacks.Callback):
    """All variables at the end of each epoch, before the method puts them together."""

    def __init__(self):
        super().__init__()
        self.values = []

    def on_epoch_end(self, epoch, logs=None):
        self.values.append([to_array(v).copy() for v in self.model.variables])


class After(Before):
    """The same after it."""


def trained(images, workers, *callbacks, epochs=4, seed=0, **arguments):
    """A worker's training: model, method and what was seen."""
    given = {"steps": 2, "epochs_per_step": 1, "seed": 0, "allocation": "uniform", **arguments}
    gap = ks.ParallelGaP(0.8, workers, **given)
    with ONE_AT_A_TIME:  # Random seeds are those of the process.
        model = compiled(conv_net(seed))
    before, kept, after = Before(), Kept(gap), After()
    history = fit(model, images, before, gap, kept, after, *callbacks, epochs=epochs).history
    return model, gap, before, kept, after, history


def rotated(images, rank):
    """Other batches for each worker."""
    x, y = images
    return np.roll(x, 10 * rank, 0), np.roll(y, 10 * rank)


@pytest.fixture(scope="module")
def three(images):
    """Three workers, other data and other initial weights each; two rounds, two fine-tuned."""
    return ks.distribute.in_threads(
        lambda w: trained(rotated(images, w.rank), w, seed=w.rank, partitions=3), 3
    )


def test_6_2_one_partition_is_dense_with_each_worker(three):
    sizes = [kernel.size for kernel in kernels(three[0][0])]
    sparse = [n - round(0.8 * n) for n in sizes]
    for rank, (_, gap, _, kept, _, _) in enumerate(three):
        owner = np.array(gap.partitioning.of_target)
        for masks in kept.masks[:2]:
            wanted = np.where(owner == rank, sizes, sparse)
            assert [int(mask.sum()) for mask in masks] == wanted.tolist()
    assert [int(mask.sum()) for mask in three[0][3].masks[2]] == sparse, "fine-tuning"
    assert len(three[1][3].masks) == 2, "the others do not fine-tune"


def test_6_3_a_step_tries_every_weight(three):
    first = [kept.masks[0] for _, _, _, kept, _, _ in three]
    for tensor in zip(*first, strict=True):
        assert np.logical_or.reduce(tensor).all()


def test_6_6_combined_bit_by_bit_from_the_owners(three):
    """Of every variable the values of the worker with which it was dense; nothing is averaged."""
    owner = three[0][1].partitioning.owner
    for step in range(2):
        before = [each[2].values[step] for each in three]
        for rank in range(3):
            after = three[rank][4].values[step]
            for i, number in enumerate(owner):
                np.testing.assert_array_equal(after[i], before[number][i])
    different = [np.any(before[0][i] != before[1][i]) for i in range(len(owner))]
    assert np.mean(different) > 0.9, "else it could have come from anyone"


def test_6_6_worked_numbers():
    """Two workers and two layers of four weights, pruned by half after they are combined."""
    start = {"a": [0.5, -0.2, 0.35, 0.05], "b": [-0.4, 0.7, 0.3, -0.1]}

    class Trained(keras.callbacks.Callback):
        """What training makes of the weights, given by hand."""

        def __init__(self, rank):
            super().__init__()
            self.rank = rank

        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0:
                own, other = (("a", "b"), ("b", "a"))[self.rank]
                self.set(own, start[own])
                self.set(other, [0.45, 0, 0.25, 0])

        def set(self, name, values):
            self.model.get_layer(name).kernel.assign(np.array(values, "float32")[:, None])

    def work(workers):
        inputs = [keras.Input((4,)) for _ in range(2)]
        outputs = [
            layers.Dense(1, use_bias=False, name=name)(x)
            for name, x in zip(("a", "b"), inputs, strict=True)
        ]
        model = keras.Model(inputs, outputs)
        model.compile(keras.optimizers.SGD(0.0), ["mse", "mse"])
        gap = ks.ParallelGaP(0.5, workers, steps=1, epochs_per_step=1, allocation="uniform", seed=0)
        after = After()
        x, y = np.zeros((8, 4), "float32"), np.zeros((8, 1), "float32")
        given = {"epochs": 2, "verbose": 0, "callbacks": [Trained(workers.rank), gap, after]}
        model.fit([x, x], [y, y], **given)
        return after.values, [v.ravel() for v in model.get_weights()]

    for values, final in ks.distribute.in_threads(work, 2):
        np.testing.assert_array_equal(values[0][0].ravel(), np.array(start["a"], "float32"))
        np.testing.assert_array_equal(values[0][1].ravel(), np.array(start["b"], "float32"))
        np.testing.assert_array_equal(final[0], np.array([0.5, 0, 0.35, 0], "float32"))
        np.testing.assert_array_equal(final[1], np.array([-0.4, 0.7, 0, 0], "float32"))


def test_all_start_from_and_end_with_the_model_of_worker_0(three):
    sparse = nonzeros(three[0][0])
    assert sparse == sum(n.size - round(0.8 * n.size) for n in kernels(three[0][0]))
    for model, *_ in three[1:]:
        assert_same(model, three[0][0])


def test_the_traffic_is_the_closed_form(three):
    """Each round brings each partition to the two that do not have it, and nothing else."""
    model = three[0][0]
    size = sum(to_array(v).nbytes for v in model.variables)
    per_round = 2 * (size + 3 * (RECORD_BYTES + 8))
    for _, _, _, _, _, history in three:
        assert history["gap_traffic"][:2] == [per_round, 2 * per_round]
    assert three[0][5]["gap_traffic"][2:] == [2 * per_round] * 2


def test_logs_of_each_worker(three):
    for rank, (_, gap, _, _, _, history) in enumerate(three):
        assert history["gap_partition"][:2] == [rank, rank]
        assert history["gap_round"][:2] == [0, 1]
        assert history[f"gap_density_{rank}"][:2] == [1.0, 1.0]
        peak = history["gap_density"][0]
        assert history["gap_peak_density"][:2] == [peak, peak]
        assert peak < 1 or gap.partitioning.count == 1
    assert three[0][5]["gap_partition"][2:] == [-1, -1]


@pytest.mark.parametrize("allocation", ["uniform", "global"])
def test_6_7_one_partition_is_what_cyclic_grow_and_prune_does(images, allocation):
    cyclic = compiled(conv_net())
    arguments = {"steps": 3, "epochs_per_step": 1, "seed": 0, "allocation": allocation}
    one = ks.CyclicGaP(0.8, 1, **arguments)
    expected = fit(cyclic, images, one, epochs=5).history
    workers = ks.distribute.alone()
    model, *_, history = trained(images, workers, epochs=5, steps=3, allocation=allocation)
    assert_same(model, cyclic)
    assert history.pop("gap_traffic") == [0] * 5
    for name in set(history) - {"mask_change"}:
        np.testing.assert_array_equal(history[name], expected[name], name)


def test_a_global_ranking_is_of_the_whole_model(images):
    (model, *_), _ = ks.distribute.in_threads(
        lambda w: trained(rotated(images, w.rank), w, allocation="global"), 2
    )
    size = sum(kernel.size for kernel in kernels(model))
    assert nonzeros(model) == size - round(0.8 * size)
    shares = [np.count_nonzero(kernel) / kernel.size for kernel in kernels(model)]
    assert max(shares) > 1.5 * min(shares)


def test_worker_0_scores_what_each_round_ends_with(images, tmp_path):
    path = str(tmp_path / "best.weights.h5")
    results = ks.distribute.in_threads(
        lambda w: trained(rotated(images, w.rank), w, validation_data=images, best_checkpoint=path),
        2,
    )
    losses = results[0][5]["gap_candidate_loss"]
    assert np.isfinite(losses).all()
    assert "gap_candidate_loss" not in results[1][5]
    best = compiled(conv_net(seed=9))
    best.load_weights(path)
    loss = best.evaluate(*images, verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(min(losses), rel=1e-5)


@pytest.fixture(scope="module")
def whole(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "backup"
    results = TestResume.run(images, folder)
    assert not folder.exists(), "a finished training leaves no backup to go on from"
    return results


class TestResume:
    """From the last combined round, to the same result as without an interruption."""

    @staticmethod
    def run(images, folder, *interrupts, epochs=5, **arguments):
        def work(workers):
            mine = [i for rank, i in interrupts if rank == workers.rank]
            return trained(
                rotated(images, workers.rank),
                workers,
                *mine,
                epochs=epochs,
                steps=3,
                backup=folder,
                **arguments,
            )

        return ks.distribute.in_threads(work, 2)

    @pytest.mark.parametrize(("rank", "epoch"), [(1, 1), (0, 4)])
    def test_equals_the_whole(self, images, tmp_path, whole, rank, epoch):
        with pytest.raises(KeyboardInterrupt):
            self.run(images, tmp_path, (rank, Interrupt(epoch, 2)))
        assert len(list(tmp_path.iterdir())) == min(epoch, 2)
        resumed = self.run(images, tmp_path)
        for (model, *_, after, history), (expected, *_, old) in zip(resumed, whole, strict=True):
            assert_same(model, expected)
            assert len(after.values) == max(0, len(old["loss"]) - min(epoch, 3))
            for name in ("loss", "gap_step", "gap_density", "gap_peak_density"):
                if name in history:
                    assert history[name] == old[name][min(epoch, 3) :]
            if "train_flops_ratio" in history:
                ratios = old["train_flops_ratio"][min(epoch, 3) :]
                assert history["train_flops_ratio"] == pytest.approx(ratios)


class TestFaults:
    def test_the_others_notice_a_worker_that_ends(self, images):
        noticed = {}

        def work(workers):
            interrupt = [Interrupt(1, 3)] if workers.rank else []
            try:
                trained(images, workers, *interrupt)
            except ks.distribute.WorkerLostError as error:
                noticed[workers.rank] = error
                raise

        with pytest.raises(KeyboardInterrupt):
            ks.distribute.in_threads(work, 2)
        assert noticed[0].workers == (1,)
        assert "Lost worker 1 (thread 1)" in str(noticed[0])

    def test_a_worker_that_stops_early_is_named(self, images):
        class Stop(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                self.model.stop_training = True

        def work(workers):
            if workers.rank == 0:
                trained(images, workers)
                return None
            with pytest.warns(ks.SparsityWarning, match="ended with"):
                trained(images, workers, Stop())
            return None

        with pytest.raises(RuntimeError, match=r"Worker 1 .* stopped training after 1 rounds"):
            ks.distribute.in_threads(work, 2)

    @pytest.mark.parametrize(
        ("other", "message"),
        [
            ({"partitions": [["conv", "hidden"], ["logits"]]}, "partition of hidden/kernel is 0"),
            ({"sparsity": 0.7}, r"sparsity is 0\.7 there and 0\.8 on worker 0"),
            ({"epochs": 5}, "schedule finetune_epochs is 3 there and 2 on worker 0"),
            ({"norm": False}, r"variable 2 is 'hidden/kernel .* and 'norm/gamma float32 \(6,\)'"),
        ],
    )
    def test_workers_of_other_trainings_are_refused_by_name(self, images, other, message):
        def work(workers):
            given = {"sparsity": 0.8, "epochs": 4, "partitions": [["conv"], ["hidden", "logits"]]}
            given |= other if workers.rank else {}
            model = conv_net()
            if given.pop("norm", None) is False:
                kept = [layer for layer in model.layers if layer.name != "norm"]
                model = keras.Sequential([keras.Input((8, 8, 1)), *kept], name=model.name)
            epochs = given.pop("epochs")
            gap = ks.ParallelGaP(workers=workers, steps=2, epochs_per_step=1, **given)
            fit(compiled(model), images, gap, epochs=epochs)

        with pytest.raises(ks.distribute.WorkersDifferError, match=f"Worker 1 .*{message}"):
            ks.distribute.in_threads(work, 2)

    def test_unequal_data_is_spoken_of(self, images):
        x, y = images

        def work(workers):
            mine = (x, y) if workers.rank else (x[:80], y[:80])
            trained(mine, workers)

        with pytest.raises(ks.SparsityWarning, match=r"unequal data: 5, 6 batches in an epoch"):
            ks.distribute.in_threads(work, 2)


class Fixed(ks.distribute.Communicator):
    """Workers of which only this one is there: nothing is said before the checks are over."""

    def __init__(self, count):
        super().__init__(0, [f"w{i}" for i in range(count)])

    def _exchange(self, payload):
        raise AssertionError("an exchange")


@pytest.mark.parametrize(
    ("count", "arguments", "message"),
    [
        (4, {}, r"has 3 layers to prune\. .*launch --workers 3"),
        (2, {"partitions": 3}, r"3 partitions and 2 workers\. .*launch --workers 3.*partitions=2"),
        (2, {"partitions": [["conv"], ["hidden"]]}, "leave out logits/kernel"),
        (2, {"partitions": [["conv", "hidden"], ["hidden", "logits"]]}, "0 and 1 overlap"),
        (2, {"steps": 4}, r"too short.*take 5 epochs"),
        (2, {"steps": 2, "epochs_per_step": 1, "finetune_epochs": 1}, r"finetune_epochs=2"),
    ],
)
def test_runs_models_and_workers_that_do_not_fit(images, count, arguments, message):
    with pytest.raises(ValueError, match=message):
        fit(compiled(conv_net()), images, ks.ParallelGaP(0.8, Fixed(count), **arguments), epochs=4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"keras_sparse\.distribute\.connect\(\).*workers=None"),
        ({"workers": 4}, "workers=4"),
        ({"finetune_epochs": 0}, "its partition would end dense"),
        ({"steps": 0}, "steps must be an integer of at least 1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ks.ParallelGaP(0.8, **arguments)


def test_default_lengths_have_more_rounds_than_those_of_cyclic():
    assert fit_lengths(48, 1, rounds=8) == (8, 4, 16)
    assert fit_lengths(4, 1, rounds=8) == (2, 1, 2)
