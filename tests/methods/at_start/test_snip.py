import keras
import numpy as np
import pytest
from keras import ops

import keras_sparse as ks
from keras_sparse import models
from keras_sparse.messages.warning import SparsityWarning
from tests.training import Interrupt, compiled, conv_net, fit, kernels

pytestmark = pytest.mark.jax


def kept(masks):
    return sum(int(mask.sum()) for mask in masks.values())


def assert_same_masks(one, two):
    assert one.keys() == two.keys()
    for path in one:
        np.testing.assert_array_equal(one[path], two[path])


def lenet():
    model = models.lenet_300_100(seed=0)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    generator = np.random.default_rng(0)
    x = generator.normal(size=(20, *model.input_shape[1:])).astype("float32")
    return model, (x, generator.integers(0, 10, 20))


@pytest.mark.parametrize(("keep", "which"), [(3, [3, 4, 7]), (4, None)])
def test_worked_example(keep, which):
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((2,)),
            layers.Dense(2, "relu", use_bias=False),
            layers.Dense(2, use_bias=False),
        ]
    )
    model.set_weights([np.array([[1, -1], [0.5, 2]]), np.array([[1, 0], [-0.5, 1]])])
    data = (np.array([[1.0, 2.0]]), np.array([0]))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    masks = ks.connection_sensitivity_masks(model, data, 1 - keep / 8, loss=loss)
    flat = np.concatenate([mask.ravel() for mask in masks.values()])
    assert flat.sum() == keep
    if which:
        np.testing.assert_array_equal(np.flatnonzero(flat), which)
    else:  # two weights share a score: one of them goes
        assert flat[[3, 4, 7]].all()
        assert flat[[1, 6]].sum() == 1


@pytest.mark.parametrize(("sparsity", "count"), [(0.9, 26620), (0.98, 5324)])
def test_counts(sparsity, count):
    model, data = lenet()
    assert kept(ks.connection_sensitivity_masks(model, data, sparsity)) == count


def test_min_per_layer():
    model, data = lenet()
    last = model.layers[-1]
    last.kernel.assign(last.kernel * 1e6)  # all gradients before it are huge
    with pytest.warns(SparsityWarning, match=r"Nothing is left of .*/kernel"):
        without = ks.connection_sensitivity_masks(model, data, 0.9999)
    masks = ks.connection_sensitivity_masks(model, data, 0.9999, min_per_layer=1)
    assert min(mask.sum() for mask in without.values()) == 0
    assert min(mask.sum() for mask in masks.values()) >= 1
    assert kept(masks) == kept(without) == 27
    with pytest.raises(ValueError, match=r"reserves .* and the sparsity leaves"):
        ks.connection_sensitivity_masks(model, data, 0.9999, min_per_layer=0.5)


def test_callback_and_function_agree_and_a_static_mask_takes_them(images):
    expected = ks.connection_sensitivity_masks(compiled(conv_net()), images, 0.8)
    callback = ks.SNIP(0.8, images)
    fit(compiled(conv_net()), images, callback, epochs=1)
    assert_same_masks(callback.masks, expected)
    other = compiled(conv_net(seed=5))
    fit(other, images, ks.StaticMask(mask=callback.masks), epochs=1)
    for kernel, mask in zip(kernels(other), expected.values(), strict=True):
        np.testing.assert_array_equal(kernel != 0, mask)


def test_gradient_differs(images):
    snip, gradient = (
        ks.connection_sensitivity_masks(compiled(conv_net()), images, 0.8, criterion=c)
        for c in ("snip", "gradient")
    )
    assert ks.mask_change(list(snip.values()), list(gradient.values()))["swapped"] > 0.2


def test_function_changes_nothing(images):
    model = compiled(conv_net())
    before = [np.array(ops.convert_to_numpy(v)) for v in model.variables]
    first = ks.connection_sensitivity_masks(model, images, 0.8)
    assert_same_masks(ks.connection_sensitivity_masks(model, images, 0.8), first)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)


class Weights(keras.callbacks.Callback):
    """Keeps the kernels that training begins with."""

    def on_train_batch_begin(self, batch, logs=None):
        if not hasattr(self, "first"):
            self.first = kernels(self.model)


def test_initializer_is_for_scoring_only(images):
    own, drawn = ks.SNIP(0.8, images), ks.SNIP(0.8, images, initializer="he_normal", seed=3)
    seen = Weights()
    fit(compiled(conv_net()), images, own, epochs=1)
    fit(compiled(conv_net()), images, drawn, seen, epochs=1)
    for kernel, first, mask in zip(
        kernels(conv_net()), seen.first, drawn.masks.values(), strict=True
    ):
        np.testing.assert_array_equal(first, np.where(mask, kernel, 0))
    pair = [list(callback.masks.values()) for callback in (own, drawn)]
    assert ks.mask_change(*pair)["swapped"] > 0.1
    again = ks.SNIP(0.8, images, initializer="he_normal", seed=3)
    fit(compiled(conv_net()), images, again, epochs=1)
    assert_same_masks(again.masks, drawn.masks)


def test_reinitialize_draws_anew_after_scoring(images):
    callback = ks.SNIP(0.8, images, reinitialize=keras.initializers.HeNormal(), seed=3)
    seen = Weights()
    fit(compiled(conv_net()), images, callback, seen, epochs=1)
    expected = ks.connection_sensitivity_masks(compiled(conv_net()), images, 0.8)
    assert_same_masks(callback.masks, expected)
    for kernel, first, mask in zip(kernels(conv_net()), seen.first, expected.values(), strict=True):
        np.testing.assert_array_equal(first != 0, mask)
        assert (first[mask] != kernel[mask]).all()


def test_resumed_runs_do_not_score_again(images, monkeypatch):
    model, callback = compiled(conv_net()), ks.SNIP(0.8, images)
    with pytest.raises(KeyboardInterrupt):
        fit(model, images, callback, Interrupt(2))
    masks = callback.masks

    def scored(*args, **kwargs):
        raise AssertionError("scored again")

    monkeypatch.setattr("keras_sparse.methods.at_start.snip.connection_sensitivity", scored)
    again = ks.SNIP(0.8, images)
    fit(model, images, again, initial_epoch=2, epochs=3)
    assert_same_masks(again.masks, masks)
    assert_same_masks(masks, {p: k != 0 for p, k in zip(masks, kernels(model), strict=True)})


def test_masks_before_training(images):
    with pytest.raises(AttributeError, match="before its training"):
        _ = ks.SNIP(0.8, images).masks


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({}, r"needs some: data=\(x, y\)"),
        ({"data": (1, 2), "criterion": "snap"}, "Did you mean 'snip'"),
        ({"data": (1, 2), "min_per_layer": 1.5}, "min_per_layer must be"),
        ({"data": (1, 2), "initializer": "he_norm"}, "initializer must be a Keras initializer"),
        ({"data": (1, 2), "reinitialize": 3}, "reinitialize must be a Keras initializer"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        ks.SNIP(0.8, **arguments)
