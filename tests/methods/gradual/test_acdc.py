"""AC/DC: phases and masks in worked numbers, and what it does with dense phases."""

import itertools
import os

import keras
import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.engine.rule import Clock, Tensors
from keras_sparse.methods.gradual.acdc_schedule import default_schedule, switches
from keras_sparse.sparsity.duration import Run
from tests.training import (
    EPOCHS,
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


def test_6_1_schedule_of_the_source():
    phases = ks.acdc_schedule()
    assert switches(phases) == [10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 75, 85]
    assert phases.count("C") == phases.count("D") == 50
    short = ks.acdc_schedule(48, 5, 3, 3, 7, 9)
    assert switches(short) == [5, 8, 11, 14, 17, 20, 23, 26, 29, 32, 39]
    assert short.count("C") == short.count("D") == 24


def test_6_1_bad_lengths_name_those_that_fit():
    with pytest.raises(ValueError, match="epochs=90 or epochs=100"):
        ks.acdc_schedule(epochs=97)
    with pytest.raises(ValueError, match="epochs=40 or epochs=50"):
        ks.acdc_schedule(epochs=20)
    assert len(ks.acdc_schedule(40)) == 40
    with pytest.raises(ValueError, match="compressed must be an integer"):
        ks.acdc_schedule(compressed=0)


def test_short_runs_by_default():
    assert [default_schedule(epochs) for epochs in (2, 4, 7, 8, 10)] == [
        "DC",
        "DDCC",
        "DDDDCCC",
        "DDCCDDCC",
        "DDCCDDCCCC",
    ]


@pytest.mark.parametrize("epochs", range(2, 130))
def test_the_default_fits_any_run(epochs):
    phases = default_schedule(epochs)
    assert len(phases) == epochs
    assert phases.startswith("D")
    assert phases.endswith("C")
    if epochs >= 4:
        assert min(len(list(phase)) for _, phase in itertools.groupby(phases)) >= 2
    if epochs == 100:
        assert phases == ks.acdc_schedule()


@pytest.mark.parametrize(
    ("allocation", "wanted"),
    [("global", ([0, 2, 3], [0, 2])), ("uniform", ([0, 2], [0, 1, 2]))],
)
def test_6_2_global_against_uniform(allocation, wanted):
    inputs = [keras.Input((1,)), keras.Input((1,))]
    layers = [keras.layers.Dense(units, use_bias=False) for units in (4, 6)]
    model = keras.Model(inputs, [layer(x) for layer, x in zip(layers, inputs, strict=True)])
    layers[0].kernel.assign([[0.9, -0.1, 0.4, 0.35]])
    layers[1].kernel.assign([[0.3, -0.2, 0.25, 0.1, -0.15, 0.02]])
    ks.prune(model, 0.5, allocation=allocation)
    assert tuple(np.flatnonzero(layer.kernel.numpy()).tolist() for layer in layers) == wanted


def rule_of(callback, model, run):
    """The rule that a callback would install, built for a model."""
    callback.set_model(compiled(model))
    selection = callback.recipe.select(model)
    rule = callback.make_rule(run, selection, callback.recipe.final(selection))
    rule.build(selection.targets)
    return rule


def test_6_3_two_of_four():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1, use_bias=False)])
    weights = np.array([0.1, -0.5, 0.3, 0.2, -0.9, 0.05, 0.06, 0.8], "float32").reshape(8, 1)
    wanted = np.array([0, -0.5, 0.3, 0, -0.9, 0, 0, 0.8], "float32").reshape(8, 1)
    for pattern in ("2:4", "4:8"):
        model.layers[0].kernel.assign(weights)
        ks.prune(model, granularity=pattern)
        np.testing.assert_array_equal(kernels(model)[0], wanted)


def test_6_3_every_group_has_two_nonzeros_in_every_compressed_step(images):
    callback = ks.ACDC(granularity="2:4", exclude="conv", schedule="DCDCCC")
    seen = []

    class Groups(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            weights = callback.selection.variables(self.model)
            grouped = [w.numpy().reshape(-1, 4, w.shape[-1]) for w in weights]
            seen.append([np.count_nonzero(g, axis=1) for g in grouped])

    fit(compiled(conv_net()), images, callback, Groups())
    for step, counts in enumerate(seen):
        if "DCDCCC"[step // STEPS] == "C":
            assert all((count == 2).all() for count in counts)
    assert any((count > 2).any() for count in seen[2 * STEPS + 1])


def test_6_4_the_mask_is_fixed_for_a_phase_and_chosen_from_dense_weights(images):
    callback = ks.ACDC(0.8, schedule="DDCCDC")
    probe = Probe(callback)
    masks = []

    class Masks(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            masks.append([m.numpy().copy() for m in callback.optimizer.masks])

    model = compiled(conv_net())
    fit(model, images, callback, probe, Masks())
    size = callback.selection.size
    wanted = size - round(0.8 * size)
    kept = [sum(k) for k in probe.kept]
    assert kept == [size] * 12 + [wanted] * 12 + [size] * 6 + [wanted] * 6
    for one, two in zip(masks[12], masks[23], strict=True):
        np.testing.assert_array_equal(one, two)


def one_weight_model(weight, velocity, optimizer):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(optimizer, "mse")
    optimizer.build(model.trainable_variables)
    model.layers[0].kernel.assign(weight)
    optimizer.momentums[0].assign(velocity)
    return model


def test_6_5_a_returning_weight_starts_at_zero_without_velocity():
    from keras_sparse.engine.sparse_optimizer import SparseOptimizer

    own = keras.optimizers.SGD(0.1, momentum=0.9)
    model = one_weight_model([[0.0], [5.0]], [[3.0], [3.0]], own)
    callback = ks.ACDC(0.5, schedule="CD" + "C")
    rule = rule_of(callback, model, Run(3, 1))
    model.compile(own, "mse")
    optimizer = SparseOptimizer(own, rule, callback.recipe.select(model).targets)
    optimizer.build(model.trainable_variables)
    optimizer.set_masks([np.array([[False], [True]])])
    optimizer.step.assign(1)
    optimizer.counters["updates"].assign(1)
    optimizer.apply([keras.ops.convert_to_tensor([[2.0], [2.0]])])
    np.testing.assert_allclose(kernels(model)[0], [[-0.2], [4.8]], rtol=1e-6)
    np.testing.assert_allclose(own.momentums[0].numpy(), [[-0.2], [-0.2]], rtol=1e-6)


def test_6_6_learning_rate_and_iterations_are_those_of_dense_training(images):
    def rates(*callbacks):
        schedule = keras.optimizers.schedules.CosineDecay(0.1, EPOCHS * STEPS)
        model = compiled(conv_net(), keras.optimizers.SGD(schedule, momentum=0.9))
        seen = []

        class Record(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                optimizer = self.model.optimizer
                seen.append((float(optimizer.learning_rate), int(optimizer.iterations)))

        fit(model, images, *callbacks, Record())
        return seen

    assert rates(ks.ACDC(0.8)) == rates()


def test_6_8_iterative_hard_thresholding():
    target = np.array([3, 0, 0, -2, 0, 0], "float32")
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1, use_bias=False)])
    kernel = model.layers[0].kernel
    x, losses, iterates = np.array([0, 1, 1, 0, 0, 0], "float32"), [], []
    for _ in range(5):
        losses.append(0.5 * float(((x - target) ** 2).sum()))
        kernel.assign((x - 0.5 * (x - target)).reshape(6, 1))
        ks.prune(model, 0.5)
        x = kernel.numpy().ravel()
        iterates.append(x)
    np.testing.assert_allclose(iterates[0], [1.5, 0.5, 0, -1, 0, 0])
    np.testing.assert_allclose(losses[:4], [7.5, 1.75, 0.4375, 0.109375])
    assert losses[4] == pytest.approx(losses[3] / 4)


def test_6_14_a_dead_unit_stays_dead_through_a_dense_phase(images):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(5, activation="relu", name="hidden"),
            keras.layers.Dense(3, name="out"),
        ]
    )
    compiled(model)
    hidden, out = model.layers
    fan_in, fan_out = hidden.kernel.numpy(), out.kernel.numpy()
    fan_in[:, 2], fan_out[2] = 0, 0
    hidden.kernel.assign(fan_in)
    out.kernel.assign(fan_out)
    x = np.random.default_rng(0).normal(size=(96, 4)).astype("float32")
    callback = ks.ACDC(0.2, schedule="DDDC")
    history = fit(model, (x, images[1] % 3), callback, epochs=4)
    assert not hidden.kernel.numpy()[:, 2].any()
    assert not out.kernel.numpy()[2].any()
    assert history.history["acdc_dense_zero_fraction"][2] == pytest.approx(7 / 35)
    assert history.history["inference_flops_ratio"][2] == pytest.approx(28 / 35)


def test_6_15_all_dense_phases_are_plain_training(images):
    plain = compiled(conv_net())
    fit(plain, images, epochs=5)
    model = compiled(conv_net())
    with pytest.raises(KeyboardInterrupt):
        fit(model, images, ks.ACDC(0.9, schedule="DDDDDC"), Interrupt(5))
    assert_same(model, plain)


@pytest.mark.parametrize("reset", ["none", "momentum", "all", "auto"])
def test_2_5_momentum_reset(images, reset):
    """Right after the first decompressed step a reset velocity is -lr * gradient alone."""
    model = compiled(conv_net(), keras.optimizers.SGD(0.05, momentum=0.9))
    velocities = []

    class Velocity(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            own = self.model.optimizer.inner_optimizer
            velocities.append([v.numpy().copy() for v in own.momentums])

    seen = Velocity()
    fit(model, images, ks.ACDC(0.8, schedule="DCDCDC", reset_optimizer_state=reset), seen)
    other = compiled(conv_net(), keras.optimizers.SGD(0.05, momentum=0.9))
    fit(other, images, ks.ACDC(0.8, schedule="DCDCDC", reset_optimizer_state="none"))
    pairs = zip(values(model), values(other), strict=True)
    differs = any(not np.array_equal(one, two) for one, two in pairs)
    assert differs == (reset != "none")


def test_adam_is_not_reset_by_default(images):
    def trained(reset):
        model = compiled(conv_net(), keras.optimizers.Adam(0.01))
        fit(model, images, ks.ACDC(0.8, schedule="DCDCDC", reset_optimizer_state=reset))
        return model

    kept = trained("none")
    assert_same(trained("auto"), kept)
    for reset in ("momentum", "all"):
        assert not np.array_equal(kernels(trained(reset))[0], kernels(kept)[0])


def test_2_8_training_flops_follow_the_closed_form(images):
    """C phases cost 3 F_C, D phases 2 F_D + F, relative to 3 F."""
    model = compiled(conv_net())
    logs = fit(model, images, ks.ACDC(0.8, schedule="DCDCCC")).history
    inference = np.array(logs["inference_flops_ratio"])
    dense = np.array(logs["acdc_phase"]) == 0
    wanted = np.where(dense, (2 * inference + 1) / 3, inference)
    np.testing.assert_allclose(
        logs["train_flops_ratio"], np.cumsum(wanted) / np.arange(1, 7), rtol=1e-5
    )


def test_logs(images):
    model = compiled(conv_net())
    logs = fit(model, images, ks.ACDC(0.8, schedule="DCDCCC"), validation_data=images).history
    assert logs["acdc_phase"] == [0, 1, 0, 1, 1, 1]
    change = logs["acdc_mask_change"]
    assert np.isnan(change[:3]).all()
    assert 0 <= change[3] == change[4] == change[5] <= 1
    for name in ("val_loss", "val_accuracy"):
        sparse = np.array(logs[f"acdc_sparse_{name}"])
        assert (sparse[[0, 2]] == (np.inf if name == "val_loss" else -np.inf)).all()
        np.testing.assert_array_equal(sparse[[1, 3, 4, 5]], np.array(logs[name])[[1, 3, 4, 5]])


def test_a_checkpoint_of_the_best_sparse_epoch_is_sparse(images, tmp_path):
    path = str(tmp_path / "best.weights.h5")
    best = keras.callbacks.ModelCheckpoint(
        path, "acdc_sparse_val_accuracy", save_best_only=True, save_weights_only=True, mode="max"
    )
    callback = ks.ACDC(0.8, schedule="DDDDCD" + "C")
    model = compiled(conv_net())
    fit(model, images, callback, best, epochs=7, validation_data=images)
    other = conv_net(3)
    other.load_weights(path)
    size = sum(kernel.size for kernel in kernels(other))
    assert nonzeros(other) <= size - round(0.8 * size)


def test_6_17_finetune_dense(images, tmp_path):
    schedule = keras.optimizers.schedules.CosineDecay(0.05, EPOCHS * STEPS)
    path = tmp_path / "dense.weights.h5"
    callback = ks.ACDC(0.8, schedule="DCDDCC", dense_checkpoint=path)
    model = compiled(conv_net(), keras.optimizers.SGD(schedule, momentum=0.9))
    fit(model, images, callback)
    sparse = values(model)
    assert os.listdir(tmp_path) == ["dense.weights.h5"]
    x, y = images
    dense, history = ks.finetune_dense(
        model, callback, x, y, batch_size=16, shuffle=False, verbose=0
    )
    assert history.epoch == [4, 5]
    assert int(dense.optimizer.iterations) == EPOCHS * STEPS
    assert nonzeros(dense) > 2 * nonzeros(model)
    for before, after in zip(sparse, values(model), strict=True):
        np.testing.assert_array_equal(before, after)

    by_hand = compiled(conv_net(5), keras.optimizers.SGD(schedule, momentum=0.9))
    by_hand.optimizer.build(by_hand.trainable_variables)
    by_hand.load_weights(path)
    fit(by_hand, images, initial_epoch=4)
    assert_same(dense, by_hand)


def test_finetune_dense_needs_a_checkpoint(images):
    callback = ks.ACDC(0.8)
    model = compiled(conv_net())
    fit(model, images, callback)
    with pytest.raises(ValueError, match="dense_checkpoint="):
        ks.finetune_dense(model, callback, *images)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sparsity": 1.0}, r"in \[0, 1\)"),
        ({"sparsity": -0.1}, r"in \[0, 1\)"),
        ({"sparsity": 90}, "give 0.9"),
        ({"sparsity": "0.9"}, r"in \[0, 1\)"),
        ({}, "sparsity is needed"),
        ({"sparsity": 0.9, "schedule": "DDCCD"}, "must end with 'C'"),
        ({"sparsity": 0.9, "schedule": "DXC"}, "one letter an epoch"),
        ({"sparsity": 0.9, "schedule": ""}, "one letter an epoch"),
        ({"sparsity": 0.9, "reset_optimizer_state": "momentun"}, "mean 'momentum'"),
        ({"sparsity": 0.9, "allocation": "unifrom"}, "mean 'uniform'"),
        ({"sparsity": 0.9, "keep_dense": "frist"}, "mean 'first'"),
        ({"sparsity": 0.9, "granularity": "2:4"}, "fixes the sparsity at 0.5"),
        ({"sparsity": 0.9, "dense_checkpoint": "dense.h5"}, "must end in '.weights.h5'"),
        ({"sparsity": 0.9, "dense_checkpoint": "/no/where/d.weights.h5"}, "cannot be written"),
    ],
)
def test_wrong_arguments_raise_at_construction(arguments, message):
    with pytest.raises(ValueError, match=message):
        ks.ACDC(**arguments)


def test_a_schedule_of_another_length_raises_before_the_first_step(images):
    model = compiled(conv_net())
    before = values(model)
    with pytest.raises(ValueError, match="schedule has 4 epochs and fit"):
        fit(model, images, ks.ACDC(0.9, schedule="DCDC"))
    for one, two in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(one, two)
    with pytest.raises(ValueError, match="at least 2 epochs"):
        fit(model, images, ks.ACDC(0.9), epochs=1)


def test_stopping_in_a_dense_phase_is_said_loudly(images):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 2

    with pytest.warns(ks.SparsityWarning, match="asked for 80.00% zeros and ended with"):
        fit(compiled(conv_net()), images, ks.ACDC(0.8, schedule="DCDCCC"), Stop())


def test_rule_of_a_dense_phase_keeps_everything():
    model = conv_net()
    rule = rule_of(ks.ACDC(0.8, schedule="DCDC"), model, Run(4, 10))
    weights = [v.value for v in model.trainable_variables if len(v.shape) > 1]
    update = rule.update_masks(Clock(25, 0.1), {"updates": 1}, Tensors(weights, [], []))
    assert all(np.array(mask).all() for mask in update.masks)
    assert bool(update.reset)
    assert int(update.counters["updates"]) == 2
