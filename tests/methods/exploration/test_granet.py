"""GraNet: pruning along a schedule, and growth where gradients are largest."""

import itertools

import keras
import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.methods.exploration.granet import GraNetRule
from keras_sparse.sparsity.duration import Run
from keras_sparse.sparsity.granularity import Unstructured
from tests.training import STEPS, OneTensor, Probe, compiled, conv_net, dense_net, fit


@pytest.mark.jax
def test_an_update_in_numbers():
    """Six weights: the budget leaves four, of these one is replaced by the largest gradient."""
    rule = GraNetRule([0], [0.25], Unstructured(), [[4]], joint=True)
    one = OneTensor(rule, [6.0, -5.0, 4.0, 3.0, -2.0, 1.0])
    one.step([0.0, 0.0, 0.0, 0.0, -0.5, 0.75])
    assert one.mask.tolist() == [True, True, True, False, False, True]
    # What grew starts from zero, and takes this step like all that is kept.
    np.testing.assert_allclose(one.value, [6, -5, 4, 0, 0, -0.075], rtol=1e-6)


def test_moments_of_what_was_pruned_and_grew_start_anew():
    rule = GraNetRule([1], [0.25], Unstructured(), [[4]], joint=True)
    own = keras.optimizers.SGD(0.1, momentum=0.9)
    one = OneTensor(rule, [6.0, -5.0, 4.0, 3.0, -2.0, 1.0], optimizer=own)
    one.step([0.0, 0.0, 0.0, 0.0, 0.0, 7.0])
    one.step([0.0, 0.0, 0.0, 0.0, -0.5, 0.75])
    np.testing.assert_allclose(one.value[5], -0.075, rtol=1e-6)


def test_what_is_dropped_may_grow_back_as_it_was():
    rule = GraNetRule([0], [0.25], Unstructured(), [[4]], joint=True)
    one = OneTensor(rule, [6.0, -5.0, 4.0, 3.0, -2.0, 1.0])
    one.step([0.0, 0.0, 0.0, 1.0, -0.5, 0.75])
    assert one.mask.tolist() == [True, True, True, True, False, False]
    np.testing.assert_allclose(one.value, [6, -5, 4, 2.9, 0, 0], rtol=1e-6)


@pytest.mark.parametrize("initial", [0.0, 0.5])
@pytest.mark.parametrize("allocation", ["global", "erk"])
def test_sparsity_follows_the_cubic_schedule(images, initial, allocation):
    method = ks.GraNet(0.8, initial, every="4st", end="75%", allocation=allocation, seed=1)
    probe = Probe(method)
    model = compiled(conv_net())
    fit(model, images, method, probe)
    size, run = method.selection.size, Run(6, STEPS)
    last = round(0.75 * run.steps)
    for step, kept in enumerate(probe.kept):
        update = min(step - step % 4 if step < last else last, last)
        asked = 0.8 + (initial - 0.8) * (1 - update / last) ** 3
        assert sum(kept) == pytest.approx(size - round(asked * size), abs=len(kept))
    assert sum(probe.kept[-1]) == size - round(0.8 * size)
    assert all(probe.exact)


@pytest.mark.jax
def test_weights_come_back_between_cuts(images):
    method = ks.GraNet(0.8, every="4st", seed=1)
    masks = []

    class Look(Probe):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            masks.append([np.array(mask) for mask in method.optimizer.masks])

    fit(compiled(dense_net()), images, method, Look(method))
    grown = sum(
        int((after & ~before).sum())
        for one, two in itertools.pairwise(masks)
        for before, after in zip(one, two, strict=True)
    )
    assert grown > 0


def test_it_cannot_begin_sparser_than_it_ends(images):
    with pytest.raises(ValueError, match=r"initial_sparsity=0\.9"):
        fit(compiled(dense_net()), images, ks.GraNet(0.8, 0.9))
    with pytest.raises(ValueError, match="cannot keep"):
        ks.GraNet(granularity="2:4")
