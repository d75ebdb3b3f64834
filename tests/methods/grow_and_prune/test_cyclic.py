"""Cyclic grow-and-prune: its schedule, masks and partitions, in worked numbers."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_sparse as ks
from keras_sparse.methods.grow_and_prune.schedule import (
    Lengths,
)
from tests.training import (
    STEPS,
    Interrupt,
    Probe,
    assert_same,
    compiled,
    conv_net,
    fit,
    kernels,
    nonzeros,
    values,
)

to_array = keras.ops.convert_to_numpy


def mlp(width=20, depth=4, seed=0):
    """`depth` kernels of equal size."""
    keras.utils.set_random_seed(seed)
    hidden = [layers.Dense(width, activation="tanh", name=f"d{i}") for i in range(depth)]
    return keras.Sequential([keras.Input((width,)), *hidden])


def vectors(width=20, classes=4):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(96, width)).astype("float32")
    return x, generator.integers(0, classes, 96)


class Trace(keras.callbacks.Callback):
    """Which tensors are dense after each batch, and the masks themselves."""

    def __init__(self, method):
        super().__init__()
        self.method = method
        self.masks, self.weights = [], []

    def on_train_batch_end(self, batch, logs=None):
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()
        self.masks.append([to_array(m).copy() for m in self.method.optimizer.masks])
        weights = self.method.selection.variables(self.model)
        self.weights.append([to_array(w).copy() for w in weights])

    @property
    def dense(self):
        return np.array([[mask.all() for mask in masks] for masks in self.masks])


@pytest.mark.jax
def test_6_2_order_and_counts_by_a_trace_of_the_steps():
    """Each step prunes what the step before grew, exactly, and then grows one partition."""
    callback = ks.CyclicGaP(0.8, 4, 8, 1, 2, allocation="uniform", seed=0)
    trace = Trace(callback)
    model = compiled(mlp())
    fit(model, vectors(), callback, trace, epochs=10)
    seen = []
    before = np.zeros(4, bool)
    for step in range(9):
        now = trace.dense[step * STEPS]
        assert (trace.dense[step * STEPS : (step + 1) * STEPS] == now).all()
        pruned = np.flatnonzero(before & ~now).tolist() if step else [3]
        seen.append((step, pruned, np.flatnonzero(now).tolist()))
        before = now
    wanted = [(k, [prune], [grow]) for k, (grow, prune) in enumerate(ks.gap_schedule(8, 4))]
    assert seen == [*wanted, (8, [3], [])]
    kept = np.array([[mask.sum() for mask in masks] for masks in trace.masks])
    sparse = 400 - round(0.8 * 400)
    assert set(kept[~trace.dense]) == {sparse}
    assert (kept[-1] == sparse).all()


@pytest.mark.parametrize(
    ("kappa", "sparsity", "density"),
    [(2, 0.8, 0.6), (4, 0.8, 0.4), (2, 0.9, 0.55), (4, 0.9, 0.325), (1, 0.8, 1.0)],
)
def test_6_2_peak_density(kappa, sparsity, density):
    """Counted on masks and on weights, against the formula for partitions of equal size."""
    assert ks.gap_density(kappa, sparsity) == pytest.approx(density)
    callback = ks.CyclicGaP(sparsity, kappa, kappa, 1, 1, allocation="uniform", seed=0)
    trace = Trace(callback)
    logs = fit(compiled(mlp()), vectors(), callback, trace, epochs=kappa + 1).history
    share = [sum(m.sum() for m in masks) / 1600 for masks in trace.masks]
    assert max(share) == pytest.approx(density)
    weights = [sum(np.count_nonzero(w) for w in ws) / 1600 for ws in trace.weights]
    assert max(weights) <= density + 1e-9
    assert max(weights) > 0.9 * density
    assert logs["gap_peak_density"] == pytest.approx([density] * (kappa + 1))
    assert logs["gap_density"] == pytest.approx([density] * kappa + [1 - sparsity])
    for i in range(kappa):
        mine = [1.0 if epoch == i else 1 - sparsity for epoch in range(kappa + 1)]
        assert logs[f"gap_density_{i}"] == pytest.approx(mine)
    assert logs["gap_step"] == list(range(kappa + 1))
    assert logs["gap_partition"] == [*range(kappa), -1]
    assert logs["gap_round"] == [0] * kappa + [1]


@pytest.mark.parametrize("allocation", ["uniform", "global"])
def test_6_3_a_round_tries_every_weight(images, allocation):
    callback = ks.CyclicGaP(0.8, 3, 3, 1, 1, allocation=allocation, seed=0)
    trace = Trace(callback)
    fit(compiled(conv_net()), images, callback, trace, epochs=4)
    for tensor in zip(*trace.masks[: 3 * STEPS], strict=True):
        assert np.logical_or.reduce(tensor).all()


@pytest.mark.jax
def test_6_4_growing_changes_no_output(images):
    """With a learning rate of zero the first step only grows: bit-identical outputs."""
    callback = ks.CyclicGaP(0.8, 3, 3, 1, 1, seed=0)
    model = compiled(conv_net(), keras.optimizers.SGD(0.0))
    outputs = []

    class Predictions(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.keep()

        def keep(self):
            outputs.append(to_array(self.model(images[0], training=False)))
            outputs.append(sum(int(to_array(m).sum()) for m in callback.optimizer.masks))

        def on_train_batch_end(self, batch, logs=None):
            if batch == 0 and len(outputs) == 2:
                if keras.backend.backend() == "jax":
                    self.model.jax_state_sync()
                norm = self.model.get_layer("norm")  # Its statistics have moved; not its weights.
                norm.moving_mean.assign(self.statistics[0])
                norm.moving_variance.assign(self.statistics[1])
                self.keep()

    seen = Predictions()
    norm = model.get_layer("norm")
    seen.statistics = [to_array(norm.moving_mean), to_array(norm.moving_variance)]
    fit(model, images, callback, seen, epochs=4)
    np.testing.assert_array_equal(outputs[0], outputs[2])
    assert outputs[3] > outputs[1], "a partition did grow"


@pytest.mark.parametrize("allocation", ["uniform", "global"])
def test_6_8_step_0_prunes_nothing(images, allocation):
    callback = ks.CyclicGaP(0.8, 3, 3, 1, 1, allocation=allocation, seed=3)
    before = []

    class Start(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            before.extend(to_array(m).copy() for m in callback.optimizer.masks)

    trace = Trace(callback)
    model = compiled(conv_net())
    fit(model, images, callback, Start(), trace, epochs=4)
    sizes = [kernel.size for kernel in kernels(model)]
    assert [int(m.sum()) for m in before] == [n - round(0.8 * n) for n in sizes]
    assert trace.masks[0][0].all()
    for old, new in zip(before[1:], trace.masks[0][1:], strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_6_9_biases_and_normalization_are_never_pruned(images, optimizer):
    own = keras.optimizers.AdamW(0.01) if optimizer == "adamw" else None
    callback = ks.CyclicGaP(0.9, 3, 3, 1, 1, seed=0)
    probe = Probe(callback)
    model = compiled(conv_net(), own)
    for variable in model.trainable_variables:
        if len(variable.shape) == 1:
            variable.assign(variable + 0.1)
    fit(model, images, callback, probe, epochs=4)
    assert all(probe.exact)
    assert all(value.all() for value in values(model) if value.ndim == 1)


class Boundaries(keras.callbacks.Callback):
    """Iterations, learning rate and momentum after each batch."""

    def __init__(self):
        super().__init__()
        self.iterations, self.rates, self.momentum = [], [], []

    def on_train_batch_end(self, batch, logs=None):
        own = self.model.optimizer.inner_optimizer
        self.iterations.append(int(own.iterations))
        self.rates.append(float(own.learning_rate))
        self.momentum.append([v.numpy().copy() for v in own.momentums])


def test_6_10_every_step_begins_with_a_new_optimizer(images):
    schedule = keras.optimizers.schedules.ExponentialDecay(0.05, 1, 0.9)
    optimizer = keras.optimizers.SGD(schedule, momentum=0.9)
    model = compiled(conv_net(), optimizer)
    seen = Boundaries()
    fit(model, images, ks.CyclicGaP(0.8, 2, 2, 2, 2, seed=0), seen)
    length = 2 * STEPS
    assert seen.iterations == list(range(1, length + 1)) * 3
    np.testing.assert_allclose(seen.rates, np.tile(0.05 * 0.9 ** np.arange(1, length + 1), 3), 1e-5)
    # Right after the first step of a restart the velocity is that of one gradient.
    other = compiled(conv_net(), keras.optimizers.SGD(schedule, momentum=0.9))
    going_on = Boundaries()
    fit(other, images, ks.CyclicGaP(0.8, 2, 2, 2, 2, seed=0, restart=False), going_on)
    assert going_on.iterations == list(range(1, 3 * length + 1))
    norms = [
        [sum(np.linalg.norm(v) for v in step) for step in trace.momentum[: length + 1]]
        for trace in (seen, going_on)
    ]
    np.testing.assert_allclose(norms[0][:length], norms[1][:length], rtol=1e-5)
    assert norms[0][length] < norms[1][length]


def test_6_10_learning_rate_by_the_epoch_of_the_step(images):
    """The convention lr (e + 1) / warmup, with the length of fine-tuning known."""
    rates = []

    def rate(epoch, epochs):
        return 2.048 * (epoch + 1) / 2 if epoch < 2 else 2.048 / epochs

    class Rates(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            rates.append(float(self.model.optimizer.learning_rate))

    small = lambda epoch, epochs: rate(epoch, epochs) / 100  # noqa: E731
    gap = ks.CyclicGaP(0.8, 2, 2, 3, 4, learning_rate=small, seed=0)
    fit(compiled(conv_net()), images, gap, Rates(), epochs=10)
    step = [1.024, 2.048, 2.048 / 3]
    assert rates == pytest.approx(np.array([*step, *step, 1.024, 2.048, 0.512, 0.512]) / 100)


def test_6_11_global_pruning_is_exact_and_warns_of_an_empty_layer():
    """Of two outputs one is not trained, and its weights are small."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((20,))
    outputs = [layers.Dense(20, name=name)(inputs) for name in ("large", "small")]
    model = keras.Model(inputs, outputs)
    small = model.get_layer("small").kernel
    small.assign(small * 1e-6)
    model.compile(keras.optimizers.SGD(0.1), ["mse", "mse"], loss_weights=[1.0, 0.0])
    x = vectors()[0]
    with pytest.warns(ks.SparsityWarning, match="Nothing is left of small/kernel"):
        model.fit(x, [x, x], epochs=2, verbose=0, callbacks=[ks.CyclicGaP(0.8, 1, 1, 1, 1)])
    assert nonzeros(model) == 800 - round(0.8 * 800)


def test_6_11_what_is_excluded_has_no_zeros():
    model = compiled(mlp(depth=5))
    callback = ks.CyclicGaP(0.8, 2, 2, 1, 1, allocation="uniform", exclude="d0", seed=0)
    fit(model, vectors(), callback, epochs=3)
    assert kernels(model)[0].all()
    assert [np.count_nonzero(k) for k in kernels(model)[1:]] == [80] * 4


@pytest.mark.parametrize("granularity", ["2:4", "4x1", "channel"])
@pytest.mark.parametrize("allocation", ["uniform", "global"])
def test_patterns_hold_in_sparse_partitions(granularity, allocation):
    sparsity = None if ":" in granularity else 0.75
    callback = ks.CyclicGaP(
        sparsity, 2, 4, 1, 1, granularity=granularity, allocation=allocation, seed=0
    )
    trace = Trace(callback)
    model = compiled(mlp(width=24))
    fit(model, vectors(24), callback, trace, epochs=5)
    assert not trace.dense[-1].any()
    units = {"2:4": (4, 1), "4x1": (4, 1), "channel": (24, 1)}[granularity]
    for mask in (m for masks in trace.masks for m in masks if not m.all()):
        counts = mask.reshape(24 // units[0], units[0], 24).sum(1)
        assert set(np.unique(counts)) <= ({2} if granularity == "2:4" else {0, units[0]})
    for kernel, mask in zip(kernels(model), trace.masks[-1], strict=True):
        assert not kernel[~mask].any()


@pytest.mark.parametrize("allocation", ["erk", {"d*": 0.8, "d0": 0.5}])
def test_layers_may_have_sparsities_of_their_own(allocation):
    callback = ks.CyclicGaP(0.8, 2, 2, 1, 1, allocation=allocation, seed=0)
    trace = Trace(callback)
    model = compiled(mlp())
    fit(model, vectors(), callback, trace, epochs=3)
    kept = np.array([[mask.sum() for mask in masks] for masks in trace.masks])
    wanted = [80] * 4 if allocation == "erk" else [200, 80, 80, 80]
    assert kept[-1].tolist() == wanted
    assert (np.where(trace.dense, wanted, kept) == wanted).all()


@pytest.mark.thorough
def test_random_order_grows_random_layers():
    callback = ks.CyclicGaP(0.8, 2, 6, 1, 1, allocation="uniform", order="random", seed=1)
    trace = Trace(callback)
    fit(compiled(mlp()), vectors(), callback, trace, epochs=7)
    dense = trace.dense[::STEPS]
    assert (dense[:6].sum(1) == 2).all()
    assert not dense[6].any()
    assert len({tuple(row) for row in dense[:6]}) > 2, "not the two halves in turn"
    again = ks.CyclicGaP(0.8, 2, 6, 1, 1, allocation="uniform", order="random", seed=1)
    repeated = Trace(again)
    fit(compiled(mlp()), vectors(), again, repeated, epochs=7)
    np.testing.assert_array_equal(dense, repeated.dense[::STEPS])


@pytest.mark.thorough
@pytest.mark.jax
def test_6_18_resumes_in_the_middle_of_a_step(images, tmp_path):
    def method():
        schedule = ks.CyclicGaP(0.8, 3, 6, 2, 2, seed=1, order="random")
        return compiled(conv_net(), keras.optimizers.Adam(0.01)), schedule

    model, callback = method()
    history = fit(model, images, callback, epochs=14).history
    broken, callback = method()
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        fit(broken, images, callback, backup, Interrupt(11, 2), epochs=14)
    other, callback = method()
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    resumed = fit(other, images, callback, backup, epochs=14).history
    assert_same(other, model)
    for name in ("gap_step", "gap_density", "gap_density_1", "gap_peak_density"):
        assert resumed[name] == history[name][11:]


@pytest.mark.thorough
def test_6_19_pruning_nothing_is_dense_training_with_restarts(images):
    """A sparsity that rounds to no weight: three trainings, each with a new optimizer."""
    model = compiled(conv_net())
    with pytest.warns(ks.SparsityWarning, match="pruned nothing"):
        fit(model, images, ks.CyclicGaP(1e-6, 2, 2, 2, 2, seed=0))
    dense = compiled(conv_net())
    for _ in range(3):
        fit(compiled(dense), images, epochs=2)
    assert_same(model, dense)


@pytest.mark.parametrize("size", [3, 10])
def test_6_19_tiny_layers_are_never_empty(size):
    model = keras.Sequential([keras.Input((size,)), layers.Dense(1, use_bias=False)])
    model.compile("sgd", "mse")
    callback = ks.CyclicGaP(0.9, 1, 1, 1, 1, allocation="uniform", seed=0)
    x = np.random.default_rng(0).normal(size=(32, size))
    model.fit(x, x.sum(1), epochs=2, verbose=0, callbacks=[callback])
    assert nonzeros(model) == 1


@pytest.mark.thorough
def test_partitions_by_name(images):
    parts = [ks.GrowPrunePartition(["logits", "hidden"]), ["conv"]]
    callback = ks.CyclicGaP(0.8, parts, 2, 1, 1, allocation="uniform", seed=0)
    trace = Trace(callback)
    fit(compiled(conv_net()), images, callback, trace, epochs=3)
    assert trace.dense[0].tolist() == [False, True, True]
    assert trace.dense[STEPS].tolist() == [True, False, False]


def test_the_default_has_four_partitions_or_fewer(images):
    callback = ks.CyclicGaP(0.8, seed=0)
    fit(compiled(conv_net()), images, callback)
    assert callback.partitioning.count == 3
    assert callback.lengths == Lengths(3, 1, 3)


def test_a_run_that_stops_in_a_step_says_so(images):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    with pytest.warns(ks.SparsityWarning, match="ended with"):
        fit(compiled(conv_net()), images, ks.CyclicGaP(0.8, 3, 3, 1, 3, seed=0), Stop())
