"""SET, RigL, SNFS, DSR: drop and grow."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

import keras_sparse as ks
from keras_sparse.engine.rule import Clock, Tensors
from keras_sparse.methods.exploration.base import cosine_fractions
from keras_sparse.methods.exploration.redistribution import share_out
from keras_sparse.methods.exploration.rigl import RigLRule
from keras_sparse.methods.exploration.set import SETRule
from keras_sparse.methods.exploration.snfs import SNFSRule
from tests.training import EPOCHS, STEPS, OneTensor, Probe, compiled, conv_net, fit


def test_rigl_fractions():
    """The fraction moved falls by a cosine to zero at the end."""
    found = cosine_fractions(0.3, np.array([0, 25, 37.5, 50, 75]), 75)
    np.testing.assert_allclose(found, [0.3, 0.225, 0.15, 0.075, 0], atol=1e-7)


@pytest.mark.jax
@pytest.mark.parametrize(("fraction", "kept"), [(0.34, [0, 2, 5]), (0.67, [0, 1, 5])])
def test_rigl_example(fraction, kept):
    """One and two of 3 weights move; a dropped weight may come back."""
    rule = RigLRule([0], [fraction], ks.Unstructured())
    weights, mask = [0.9, -0.1, 0.4, 0, 0, 0], [1, 1, 1, 0, 0, 0]
    momentum = keras.optimizers.SGD(0.0, momentum=0.9)
    one = OneTensor(rule, weights, mask, momentum)
    slot = momentum.momentums[0]
    slot.assign(np.full(6, 7.0))
    one.step([0.1, 0.8, 0.2, -0.5, 0.3, 0.9])
    np.testing.assert_array_equal(np.flatnonzero(one.mask), kept)
    moments = ops.convert_to_numpy(slot)
    assert moments[5] == 0, "a weight that grows starts without momentum"
    assert moments[0] == pytest.approx(6.3)
    if 1 in kept:
        assert moments[1] == pytest.approx(6.3), "a weight that comes back goes on as it was"


def test_new_weights_start_from_zero():
    rule = RigLRule([0], [0.34], ks.Unstructured())
    one = OneTensor(rule, [0.9, -0.1, 0.4, 5.0], [1, 1, 1, 0]).step([0, 0, 0, 1.0])
    assert one.mask.tolist() == [True, False, True, True]
    assert one.value[3] == pytest.approx(-0.1), "zero, and then one step"


def test_set_grows_at_random_and_repeatably():
    def masks(seed, steps=1):
        rule = SETRule(list(range(steps)), [0.5] * steps, ks.Unstructured(), seed)
        one = OneTensor(rule, np.linspace(1, 2, 100), np.arange(100) < 20)
        for _ in range(steps):
            one.step(np.zeros(100))
        return one.mask

    first = masks(1)
    assert first.sum() == 20
    assert first[10:20].all(), "the larger half stays"
    np.testing.assert_array_equal(first, masks(1))
    assert (first != masks(2)).any()
    assert (masks(1, 2)[20:] != first[20:]).any()


@pytest.mark.jax
def test_snfs_shares():
    """Weights are given to layers in proportion to their momentum."""
    found = share_out(20, [0.2, 0.1, 0.1], np.array([100, 100, 100]))
    np.testing.assert_array_equal(ops.convert_to_numpy(found), [10, 5, 5])
    overflow = share_out(20, [0.2, 0.1, 0.1], np.array([4, 100, 7]))
    np.testing.assert_array_equal(ops.convert_to_numpy(overflow), [4, 9, 7])
    tiny = share_out(4, [1e-35, 3e-35, 0.0], np.array([100, 100, 100]))
    np.testing.assert_array_equal(ops.convert_to_numpy(tiny), [1, 3, 0])


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_share_out_is_exact(data):
    numbers = st.integers(0, 1000)
    capacity = np.array(data.draw(st.lists(numbers, min_size=4, max_size=4)))
    shares = data.draw(st.lists(st.floats(0, 10, width=32), min_size=4, max_size=4))
    total = data.draw(st.integers(0, int(capacity.sum())))
    found = ops.convert_to_numpy(share_out(total, shares, capacity))
    assert found.sum() == total
    assert (found >= 0).all()
    assert (found <= capacity).all()


def test_snfs_mean_gradient():
    one = OneTensor(SNFSRule([99], [0.5], ks.Unstructured()), [1.0, 2.0], [1, 0])
    one.step([1.0, -2.0]).step([0.0, 1.0])
    np.testing.assert_allclose(one.state("mean_gradient"), [0.09, -0.08], rtol=1e-6)


def layer_counts(callback, images):
    probe = Probe(callback)
    fit(compiled(conv_net()), images, callback, probe)
    return np.array(probe.kept)


@pytest.mark.parametrize("method", [ks.SET, ks.RigL])
def test_layers_keep_their_counts(method, images):
    counts = layer_counts(method(0.8, every="4st", seed=0), images)
    assert (counts == counts[0]).all()


@pytest.mark.parametrize("method", [ks.SNFS, ks.DSR])
def test_weights_move_between_layers(method, images):
    counts = layer_counts(method(0.8, every="4st", drop_fraction=0.5, seed=0), images)
    assert (counts.sum(axis=1) == counts[0].sum()).all()
    assert (counts != counts[0]).any()


def test_masks_move_only_at_updates(images):
    callback = ks.RigL(0.8, every="10st", end="60%", seed=0)
    probe = Masks(callback)
    fit(compiled(conv_net()), images, callback, probe)
    changes = [
        step
        for step in range(1, EPOCHS * STEPS)
        if any((a != b).any() for a, b in zip(probe.seen[step - 1], probe.seen[step], strict=True))
    ]
    assert changes == [10, 20]


class Masks(keras.callbacks.Callback):
    def __init__(self, method):
        super().__init__()
        self.method, self.seen = method, []

    def on_train_batch_end(self, batch, logs=None):
        masks = self.method.optimizer.masks
        self.seen.append([ops.convert_to_numpy(mask) for mask in masks])


def test_rigl_costs_dense_gradients_at_updates_only():
    rule = RigLRule([0], [0.3], ks.Unstructured(), dense_share=0.25)
    (trained,) = rule.trained_weights([np.arange(10) < 2], {})
    assert trained == 0.25 * 10 + 0.75 * 2


def test_channels_move_as_one(images):
    common = {"granularity": "channel", "allocation": "uniform", "exclude": "logits"}
    callback = ks.RigL(0.5, every="4st", seed=0, **common)
    probe = Masks(callback)
    fit(compiled(conv_net()), images, callback, probe)
    for after in probe.seen[-1]:
        channels = after.reshape(-1, after.shape[-1])
        assert (channels == channels[0]).all()
        assert channels[0].sum() == after.shape[-1] // 2
    pairs = zip(probe.seen[0], probe.seen[-1], strict=True)
    assert any((before != after).any() for before, after in pairs)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ks.RigL(0.9, drop_fraction=1.5), "drop_fraction must be a number"),
        (lambda: ks.SET(0.9, drop_fraction=0), "drop_fraction must be a number"),
        (lambda: ks.RigL(granularity="2:4"), "cannot keep NM"),
        (lambda: ks.RigL(1.2), "sparsity must be a number"),
        (lambda: ks.RigL(0.9, every="often"), "every must be a number of epochs"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_run_too_short_for_an_update(images):
    model = compiled(conv_net())
    with pytest.raises(ValueError, match=r"RigL would never change its masks.*at step 100"):
        fit(model, images, ks.RigL(0.9, every="100st"))


def test_random_growth_needs_no_gradient():
    rule = SETRule([0], [0.5], ks.Unstructured())
    rule.layouts = [type("L", (), {"shape": (3,)})()]
    (scores,) = rule.grow_scores(Clock(0, 0.1), Tensors([np.zeros(3, "float32")], []))
    assert scores.shape == (3,)
