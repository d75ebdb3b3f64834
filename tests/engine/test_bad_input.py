"""Wrong arguments, wrong models and broken runs: clear errors, nothing lost."""

import keras
import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.engine.sparse_optimizer import SparseOptimizer
from tests.training import Interrupt, Probe, assert_same, compiled, conv_net, fit, kernels, values


def assert_untouched(model, before):
    for one, two in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not isinstance(model.optimizer, SparseOptimizer)


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (lambda: ks.GMP(0.9, ks.OneShot(10)), "only 36 steps"),
        (lambda: ks.GMP(0.9, ks.Polynomial(1, "500st")), "only 36 steps"),
        (lambda: ks.ACDC(0.9, schedule="DC"), "schedule has 2 epochs"),
        (lambda: ks.ACDC(0.9, exclude="hiden"), "Did you mean 'hidden'"),
        (lambda: ks.ACDC(0.9, include=["dense9"]), "Unknown layer in include"),
        (lambda: ks.ACDC(0.9, exclude="*"), "Nothing in this model can be pruned"),
        (lambda: ks.ACDC(0.9, exclude=[3]), "exclude must be .*exclude=\\[3\\]"),
        (lambda: ks.ACDC(granularity="2:4"), "exclude=\\['conv'\\]"),
        (lambda: ks.StaticMask(allocation={"hidde": 0.9}), "mean 'hidden'"),
        (lambda: ks.StaticMask(mask=[np.ones(3)]), "shapes of the weights"),
        (lambda: ks.StaticMask(mask={"hiden": np.ones(3)}), "Unknown layer in mask"),
    ],
)
def test_wrong_for_this_model_or_run(images, callback, message):
    model = compiled(conv_net())
    before = values(model)
    with pytest.raises(ValueError, match=message):
        fit(model, images, callback())
    assert_untouched(model, before)
    fit(model, images, epochs=1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ks.GMP(0.9, "cubic"), "schedule must be"),
        (lambda: ks.GMP(), "sparsity is needed"),
        (lambda: ks.StaticMask(0.9, mask="magnitud"), "mean 'magnitude'"),
        (lambda: ks.StaticMask(0.9, mask="current"), "Leave one of the two out"),
        (lambda: ks.StaticMask(), "sparsity is needed"),
    ],
)
def test_wrong_at_construction(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_model_with_nothing_prunable_says_why():
    model = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization(name="norm")])
    with pytest.raises(ValueError, match=r"norm/gamma .*normalization parameter"):
        ks.prune(model, 0.5)


def test_an_unbuilt_model(images):
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(4)])
    for act in (ks.report, lambda m: ks.prune(m, 0.5), lambda m: ks.batch_norm_tuning(m, None)):
        with pytest.raises(ValueError, match="not built"):
            act(model)
    with pytest.raises(ValueError, match=r"model must be a built keras\.Model"):
        ks.report("model.keras")


def test_frozen_layers_are_left_alone_and_named(images):
    model = conv_net()
    model.get_layer("hidden").trainable = False
    reasons = {row.path: row.reason for row in ks.report(model).rows}
    assert reasons["hidden/kernel"] == "frozen (trainable=False)"
    callback = ks.StaticMask(0.5)
    before = model.get_layer("hidden").kernel.numpy()
    fit(compiled(model), images, callback, epochs=1)
    assert [target.layer for target in callback.selection.targets] == ["conv", "logits"]
    np.testing.assert_array_equal(before, model.get_layer("hidden").kernel.numpy())


def test_data_of_unknown_length(images):
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices(images).batch(16).filter(lambda x, y: True)
    model = compiled(conv_net())
    with pytest.raises(ValueError, match="steps_per_epoch"):
        model.fit(dataset, epochs=4, verbose=0, callbacks=[ks.ACDC(0.5)])
    model.fit(dataset.repeat(), epochs=4, steps_per_epoch=6, verbose=0, callbacks=[ks.ACDC(0.5)])
    assert ks.report(model).sparsity == pytest.approx(0.5, abs=0.01)


def test_divergence_stops_before_anything_is_overwritten(images, tmp_path):
    path = tmp_path / "model.weights.h5"
    checkpoint = keras.callbacks.ModelCheckpoint(path, save_weights_only=True)

    class Explode(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 3:
                self.model.optimizer.learning_rate = 1e30

    model = compiled(conv_net(), keras.optimizers.SGD(0.05))
    with pytest.raises(FloatingPointError, match=r"diverged: the loss is (nan|inf)"):
        fit(model, images, checkpoint, ks.ACDC(0.8, schedule="DCDCDC"), Explode())
    saved = conv_net(1)
    saved.load_weights(path)
    assert all(np.isfinite(value).all() for value in values(saved))


def test_a_step_that_loss_scaling_skips_is_not_divergence(images):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = conv_net()
    finally:
        keras.config.set_dtype_policy("float32")
    own = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(0.05), initial_scale=2.0**40, dynamic_growth_steps=2
    )
    callback = ks.ACDC(0.8, schedule="DCDCDC")
    probe = Probe(callback)
    fit(compiled(model, own), images, callback, probe)
    size = callback.selection.size
    assert int(own.iterations) < 36
    assert all(probe.exact)
    assert sum(probe.kept[-1]) == size - round(0.8 * size)


def test_one_callback_on_two_models_at_once(images):
    callback = ks.ACDC(0.8)
    with pytest.raises(KeyboardInterrupt):
        fit(compiled(conv_net()), images, callback, Interrupt(2))
    other = compiled(conv_net())
    before = values(other)
    with pytest.raises(ValueError, match="Make one callback for each model"):
        fit(other, images, callback)
    assert_untouched(other, before)


def test_one_callback_on_two_models_in_turn(images):
    callback = ks.ACDC(0.8)
    one, two = compiled(conv_net()), compiled(conv_net())
    fit(one, images, callback)
    fit(two, images, callback)
    assert_same(one, two)


def test_an_unfinished_training_by_another_method(images):
    model = compiled(conv_net())
    with pytest.raises(KeyboardInterrupt):
        fit(model, images, ks.ACDC(0.8), Interrupt(2))
    with pytest.raises(ValueError, match="ScheduledMasks before, Rule now"):
        fit(model, images, ks.StaticMask(0.8))
    with pytest.raises(ValueError, match="differ in: hidden/kernel"):
        fit(model, images, ks.ACDC(0.8, exclude="hidden"))
    fit(compiled(model), images, ks.StaticMask(0.8))


def test_a_checkpoint_of_another_training(images, tmp_path):
    path = tmp_path / "model.weights.h5"
    checkpoint = keras.callbacks.ModelCheckpoint(path, save_weights_only=True)
    fit(compiled(conv_net()), images, ks.ACDC(0.8), checkpoint)

    class Load(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.model.load_weights(path)

    with pytest.raises(ValueError, match="written by another sparse training"):
        fit(compiled(conv_net()), images, ks.ACDC(0.8, exclude="hidden"), Load())


def test_a_half_written_checkpoint(images, tmp_path):
    backup = tmp_path / "backup"
    with pytest.raises(KeyboardInterrupt):
        fit(
            compiled(conv_net()),
            images,
            ks.ACDC(0.8),
            keras.callbacks.BackupAndRestore(backup),
            Interrupt(3),
        )
    file = backup / "latest.weights.h5"
    file.write_bytes(file.read_bytes()[:1000])
    model = compiled(conv_net())
    before = values(model)
    with pytest.raises(OSError, match="truncated"):
        fit(model, images, ks.ACDC(0.8), keras.callbacks.BackupAndRestore(backup))
    for one, two in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(one, two)


def test_averaged_weights_are_masked(images):
    own = keras.optimizers.SGD(0.05, use_ema=True, ema_overwrite_frequency=5)
    callback = ks.ACDC(0.8)
    probe = Probe(callback)
    model = compiled(conv_net(), own)
    fit(model, images, callback, probe)
    size = callback.selection.size
    assert all(probe.exact)
    assert sum(np.count_nonzero(kernel) for kernel in kernels(model)) <= size - round(0.8 * size)


def test_evaluating_with_a_training_callback_changes_nothing(images):
    model = compiled(conv_net())
    own, before = model.optimizer, values(model)
    callback = ks.StaticMask(mask="current")
    model.evaluate(*images, verbose=0, callbacks=[callback])
    assert model.optimizer is own
    assert_untouched(model, before)


def test_gradient_accumulation_and_clipping(images):
    own = keras.optimizers.SGD(0.05, momentum=0.9, gradient_accumulation_steps=2, clipnorm=1.0)
    callback = ks.ACDC(0.8)
    probe = Probe(callback)
    model = compiled(conv_net(), own)
    fit(model, images, callback, probe)
    size = callback.selection.size
    assert all(probe.exact)
    assert sum(probe.kept[-1]) == size - round(0.8 * size)


def test_an_emptied_layer_is_named(images):
    model = conv_net()
    model.get_layer("conv").kernel.assign(model.get_layer("conv").kernel * 1e-6)
    with pytest.warns(ks.SparsityWarning, match="Nothing is left of conv/kernel"):
        fit(compiled(model), images, ks.StaticMask(0.9, mask="magnitude"), epochs=1)


def test_an_emptied_layer_is_an_error_under_strict(images):
    model = conv_net()
    model.get_layer("conv").kernel.assign(model.get_layer("conv").kernel * 1e-6)
    before = values(model)
    own = compiled(model).optimizer
    with pytest.raises(ValueError, match="Nothing is left of conv/kernel"):
        fit(model, images, ks.StaticMask(0.9, mask="magnitude", strict=True), epochs=1)
    assert model.optimizer is own
    with pytest.raises(ValueError, match="Nothing is left of conv/kernel"):
        ks.prune(model, 0.9, strict=True)
    assert_same(model, before)


def test_a_layer_that_empties_in_training_stops_it_under_strict(images):
    model = conv_net()
    model.get_layer("conv").kernel.assign(model.get_layer("conv").kernel * 1e-6)
    frozen = compiled(model, keras.optimizers.SGD(1e-6))
    with pytest.raises(ValueError, match="Nothing is left of conv/kernel"):
        fit(frozen, images, ks.GMP(0.9, ks.OneShot("50%"), strict=True))
