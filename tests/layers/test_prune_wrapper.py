"""The wrapper with the masks in the layer: exact, equal to the engine, saved, stripped."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_sparse as ks
from tests.engine.test_any_model import CLASSES, Subclassed, attention, nested, recurrent, separable
from tests.training import BATCH, EPOCHS, assert_same, compiled, conv_net, fit, kernels, values

tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="tf.GradientTape"
)
STEPS = 6


def wrapped(model=None):
    return ks.prune_wrap(model or conv_net())


def masks_of(model):
    wrappers = ks.prune_wrappers(model)
    return [ops.convert_to_numpy(mask) for wrapper in wrappers for mask in wrapper.masks]


def assert_masked(model):
    for wrapper in ks.prune_wrappers(model):
        for kernel, mask in zip(wrapper.kernels, wrapper.masks, strict=True):
            pruned = ~ops.convert_to_numpy(mask)
            assert (ops.convert_to_numpy(kernel)[pruned] == 0).all()


def random_masks(model, density, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.random(kernel.shape) < density for kernel in kernels(model)]


def set_masks(model, masks, optimizer=None):
    for wrapper, mask in zip(ks.prune_wrappers(model), masks, strict=True):
        wrapper.set_mask(mask, optimizer=optimizer)


class EachStep(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()
        assert_masked(self.model)


OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.05, momentum=0.9, weight_decay=1e-3),
    "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.01),
}


@pytest.mark.jax
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_equals_static_masks(images, optimizer):
    """Masks A, then B within A, in the middle of training with momentum: bit by bit."""
    plain, model = conv_net(), wrapped()
    first = random_masks(plain, 0.5)
    second = [a & b for a, b in zip(first, random_masks(plain, 0.5, seed=1), strict=True)]
    plain, model = (compiled(m, OPTIMIZERS[optimizer]()) for m in (plain, model))
    for masks in (first, second):
        fit(plain, images, ks.StaticMask(mask=masks), epochs=2)
        set_masks(model, masks, model.optimizer)
        assert_masked(model)
        fit(model, images, EachStep(), epochs=2)
    assert_same(model, plain)
    for mask, wanted in zip(masks_of(model), second, strict=True):
        np.testing.assert_array_equal(mask, wanted)


class PruneAt(keras.callbacks.Callback):
    """Prunes a wrapped model during `fit`, at the beginning of given steps."""

    def __init__(self, sparsities):
        super().__init__()
        self.sparsities, self.step = sparsities, 0

    def on_train_batch_begin(self, batch, logs=None):
        if self.step in self.sparsities:
            if keras.backend.backend() == "jax":
                self.model.jax_state_sync()
            for wrapper in ks.prune_wrappers(self.model):
                wrapper.prune(self.sparsities[self.step], optimizer=self.model.optimizer)
        self.step += 1


@pytest.mark.jax
def test_masks_that_change_within_fit(images):
    model = compiled(wrapped())
    fit(model, images, PruneAt({7: 0.5, 20: 0.8}), EachStep(), epochs=6)
    kept = [mask.sum() for mask in masks_of(model)]
    assert kept == [kernel.size - round(0.8 * kernel.size) for kernel in kernels(model)]
    assert [np.count_nonzero(kernel) for kernel in kernels(model)] == kept


@tensorflow_only
@pytest.mark.parametrize(("optimizer", "graph"), [("sgd", False), ("adamw", True)])
def test_a_loop_of_ones_own_equals_gmp(images, optimizer, graph):
    """The engine's gradient is that of the weights before the change: prune before `apply`."""
    import tensorflow as tf

    schedule = ks.Polynomial(1, 4, every="2st")
    plain = compiled(conv_net(), OPTIMIZERS[optimizer](), run_eagerly=not graph)
    callback = ks.GMP(0.8, schedule, allocation="uniform")
    fit(plain, images, callback)
    planned = dict(zip(*schedule.sparsities(callback.run, np.array(0.8)), strict=True))

    model, own = wrapped(), OPTIMIZERS[optimizer]()
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def gradients(x, y):
        with tf.GradientTape() as tape:
            loss = loss_of(y, model(x, training=True))
        return tape.gradient(loss, model.trainable_variables)

    def apply(found):
        own.apply(found, model.trainable_variables)

    own.build(model.trainable_variables)
    if graph:
        gradients, apply = tf.function(gradients), tf.function(apply)
    x, y = images
    for step in range(EPOCHS * STEPS):
        start = step % STEPS * BATCH
        found = gradients(*(tf.constant(v[start : start + BATCH]) for v in (x, y)))
        if step in planned:
            for wrapper in ks.prune_wrappers(model):
                wrapper.prune(planned[step])
        apply(found)
        assert_masked(model)
    assert len(planned) > 3
    assert_same(model, plain)


@pytest.mark.jax
def test_neutral_until_pruned(images):
    plain, model = compiled(conv_net()), compiled(wrapped())
    fit(plain, images)
    fit(model, images)
    assert_same(model, plain)


@pytest.mark.jax
def test_pruned_weights_have_no_part(images):
    """Whatever stands where the mask is False, the outputs and the gradients do not see it."""
    model = compiled(wrapped())
    wrapper = ks.prune_wrappers(model)[1]
    wrapper.prune(0.9)
    outputs = model.predict(images[0][:8], verbose=0)
    kernel, mask = wrapper.kernels[0], ops.convert_to_numpy(wrapper.masks[0])
    kernel.assign(np.where(mask, ops.convert_to_numpy(kernel), 5.0))
    np.testing.assert_array_equal(model.predict(images[0][:8], verbose=0), outputs)
    wrapper.apply_masks()
    assert_masked(model)


@pytest.mark.jax
def test_saved_with_the_model(images, tmp_path):
    model = compiled(wrapped())
    for wrapper in ks.prune_wrappers(model):
        wrapper.prune(0.7)
    fit(model, images, epochs=1)
    path = str(tmp_path / "model.keras")
    model.save(path)
    again = keras.saving.load_model(path)
    for one, two in zip(masks_of(model), masks_of(again), strict=True):
        assert one.dtype == two.dtype == bool
        np.testing.assert_array_equal(one, two)
    assert_same(again, model)
    fit(model, images, epochs=1)
    fit(again, images, EachStep(), epochs=1)
    assert_same(again, model)
    report = ks.report(again)
    assert report.sparsity == pytest.approx(0.7, abs=0.01)
    assert len(report.prunable) == 3
    assert report.flops < report.dense_flops


def in_one_model():
    return keras.Sequential([keras.Input((8, 8, 1)), conv_net(), layers.Dense(CLASSES)])


MODELS = {
    "sequential": (conv_net, (8, 8, 1)),
    "nested": (nested, (8,)),
    "nested sequential": (in_one_model, (8, 8, 1)),
    "attention": (attention, (6, 8)),
    "lstm": (lambda: recurrent(layers.LSTM(8, dropout=0.1)), (6, 8)),
    "gru": (lambda: recurrent(layers.Bidirectional(layers.GRU(4))), (6, 8)),
    "convolutions": (separable, (8, 8, 3)),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.jax] if name in ("nested", "attention") else [])
        for name in MODELS
    ],
)
def test_any_model(name, tmp_path):
    make, shape = MODELS[name]
    plain = make()
    generator = np.random.default_rng(0)
    x = generator.normal(size=(32, *shape)).astype("float32")
    y = generator.integers(0, CLASSES, 32)
    model = compiled(ks.prune_wrap(plain))
    np.testing.assert_array_equal(model.predict(x, verbose=0), plain.predict(x, verbose=0))
    assert len(ks.report(model).prunable) == len(ks.report(plain).prunable) == len(masks_of(model))
    for wrapper in ks.prune_wrappers(model):
        wrapper.prune(0.5, optimizer=model.optimizer)
    model.fit(x, y, batch_size=16, epochs=2, verbose=0, callbacks=[EachStep()])
    path = str(tmp_path / "model.keras")
    model.save(path)
    model = keras.saving.load_model(path)
    stripped = ks.strip_pruning(model)
    assert not ks.prune_wrappers(stripped)
    assert [type(layer) for layer in stripped.layers] == [type(layer) for layer in plain.layers]
    assert_same(stripped, model)
    assert ks.report(stripped).sparsity == pytest.approx(0.5, abs=0.01)
    np.testing.assert_array_equal(stripped.predict(x, verbose=0), model.predict(x, verbose=0))
    stripped.save(path)
    assert_same(keras.saving.load_model(path), stripped)


@pytest.mark.jax
def test_mixed_precision_and_losses(images):
    def make():
        keras.utils.set_random_seed(0)
        hidden = layers.Dense(8, kernel_regularizer="l2", activity_regularizer="l2")
        return keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), hidden])

    plain, model = compiled(make()), compiled(wrapped(make()))
    losses = [fit(m, images, epochs=1).history["loss"] for m in (plain, model)]
    assert losses[0] == losses[1]
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = compiled(wrapped())
    finally:
        keras.config.set_dtype_policy("float32")
    for wrapper in ks.prune_wrappers(model):
        wrapper.prune(0.8)
    fit(model, images, EachStep(), epochs=1)
    assert {str(v.dtype) for v in model.trainable_variables} == {"float32"}


def test_keeps_a_constraint_of_ones_own(images):
    hidden = layers.Dense(4, kernel_constraint=keras.constraints.MaxNorm(0.5))
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), ks.PruneWrapper(hidden)])
    compiled(model)
    model.layers[1].prune(0.5)
    fit(model, images, EachStep(), epochs=2)
    norms = np.linalg.norm(ops.convert_to_numpy(hidden.kernel), axis=0)
    assert norms.max() <= 0.5 + 1e-5


def test_options(images):
    model = ks.prune_wrap(conv_net(), exclude="hidden", keep_dense="last")
    assert [wrapper.name for wrapper in ks.prune_wrappers(model)] == ["prune_conv"]
    model = ks.prune_wrap(conv_net(), exclude="conv")
    hidden, logits = ks.prune_wrappers(model)
    hidden.prune(granularity="2:4")
    kernel = ops.convert_to_numpy(hidden.kernels[0])
    assert (np.count_nonzero(kernel.reshape(-1, 4, 24), axis=1) == 2).all()
    logits.prune(0.25, granularity=ks.Channel())
    assert ops.convert_to_numpy(logits.masks[0]).all(axis=0).sum() == 3
    ks.prune(model, 0.9)
    logits.set_mask("current")
    kept = np.count_nonzero(ops.convert_to_numpy(logits.kernels[0]))
    assert ops.convert_to_numpy(logits.masks[0]).sum() == kept


def test_a_weight_kept_again_starts_from_zero():
    wrapper = ks.PruneWrapper(layers.Dense(2))
    wrapper.build((None, 3))
    wrapper.set_mask(np.zeros((3, 2), bool))
    wrapper.set_mask(np.ones((3, 2), bool))
    assert not np.any(ops.convert_to_numpy(wrapper.kernels[0]))


def built(layer):
    wrapper = ks.PruneWrapper(layer)
    wrapper.build((None, 8))
    return wrapper


def another_optimizer():
    own = keras.optimizers.SGD(momentum=0.9)
    own.build([keras.Variable(np.zeros((8, 4)))])
    return own


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ks.PruneWrapper(layers.Dense(4)).prune(0.5), "not built"),
        (lambda: ks.PruneWrapper(layers.Dense(4)).set_mask([True]), "not built"),
        (lambda: built(layers.BatchNormalization()), "nothing to prune"),
        (lambda: built(layers.Dense(4)).prune(1.0), "sparsity must be a number"),
        (lambda: built(layers.Dense(4)).prune(), "sparsity is needed"),
        (lambda: built(layers.Dense(4)).prune(granularity="2:3"), "does not fit"),
        (lambda: built(layers.Dense(4)).prune(0.5, saliency="magnitud"), "magnitude"),
        (lambda: built(layers.Dense(4)).set_mask(np.ones((4, 8), bool)), "have the shapes"),
        (lambda: built(layers.Dense(4)).set_mask("now"), "'current' or boolean arrays"),
        (
            lambda: built(layers.Dense(4)).prune(0.5, optimizer=another_optimizer()),
            "does not train",
        ),
        (lambda: ks.prune_wrap(ks.prune_wrap(conv_net())), "already"),
        (lambda: ks.prune_wrap(conv_net(), exclude="nothing"), "nothing"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_subclassed_models_wrap_their_own_layers(images):
    model = Subclassed()
    model(np.zeros((1, 8), "float32"))
    with pytest.raises(ValueError, match="where they are made"):
        ks.prune_wrap(model)


def test_values_of_the_original_stay():
    plain = conv_net()
    before = values(plain)
    model = wrapped(plain)
    for wrapper in ks.prune_wrappers(model):
        wrapper.prune(0.9)
    assert_same(plain, before)
