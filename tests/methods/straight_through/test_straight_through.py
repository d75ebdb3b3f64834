"""STE, SR-STE, DPF, Top-KAST and IHT: worked steps."""

import keras
import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.methods.gradual.dpf import DPFRule
from keras_sparse.methods.straight_through.iht import IHTRule
from keras_sparse.methods.straight_through.sr_ste import SRSTERule
from keras_sparse.methods.straight_through.ste import STERule
from keras_sparse.methods.straight_through.top_kast import TopKASTRule
from tests.training import Interrupt, OneTensor, compiled, conv_net, fit, kernels

pytestmark = pytest.mark.jax
SINGLE = ks.Unstructured()


def test_dpf_moves_pruned_weights():
    """A pruned weight goes on learning and comes back where it is larger."""
    rule = DPFRule([99], [[3], [1]], SINGLE, joint=True)
    one = OneTensor(rule, [1, -0.2, 0.05], [1, 0, 0]).step([0.5, 2, -4])
    np.testing.assert_allclose(one.learned, [0.95, -0.4, 0.45], rtol=1e-6)
    np.testing.assert_allclose(one.value, [0.95, 0, 0], rtol=1e-6)
    masked = OneTensor(ks.Rule(), [1, -0.2, 0.05], [1, 0, 0]).step([0.5, 2, -4])
    np.testing.assert_allclose(masked.value, [0.95, 0, 0], rtol=1e-6)


def test_sr_ste_example():
    """Pruned weights decay on top of the straight-through gradient."""
    rule = SRSTERule([2], ks.NM(2, 4), joint=False, every=1000, decay=2e-4)
    one = OneTensor(rule, [0.1, -0.5, 0.3, 0.2], [0, 1, 1, 0]).step([1, 0, -1, 2])
    np.testing.assert_allclose(one.learned, [-2e-6, -0.5, 0.4, -4e-6], atol=1e-8)


def test_ste_computes_with_the_mask_of_its_own_weights():
    one = OneTensor(STERule([1], SINGLE, joint=True), [1.0, 0.9], [1, 0])
    one.step([2, -1])  # learned: 0.8 and 1.0, so the second is now the larger
    np.testing.assert_allclose(one.learned, [0.8, 1.0], rtol=1e-6)
    np.testing.assert_allclose(one.value, [0, 1.0], rtol=1e-6)


def test_iht_example():
    """With f = 1/2 ||x - t||^2, eta = 0.5, k = 3."""
    target = np.array([3, 0, 0, -2, 0, 0], "float32")
    rule = IHTRule([3], SINGLE, joint=True)
    one = OneTensor(rule, [0, 1, 1, 0, 0, 0], optimizer=keras.optimizers.SGD(0.5))
    losses = []
    for _ in range(4):
        losses.append(0.5 * np.sum((one.value - target) ** 2))
        one.step(one.value - target)
        if len(losses) == 1:
            np.testing.assert_allclose(one.value, [1.5, 0.5, 0, -1, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(losses, [7.5, 1.75, 0.4375, 0.109375], rtol=1e-6)


def top_kast(**kwargs):
    kwargs = {"density": 0.4, "penalty": 1.0, **kwargs}
    rule = TopKASTRule([2], SINGLE, joint=True, every=1000, backward_budget=[3], **kwargs)
    return OneTensor(
        rule,
        [0.9, -0.6, 0.3, 0.1, 0.02],
        [1, 1, 0, 0, 0],
        keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.01),
    )


def test_top_kast_penalty():
    """Weight decay is the optimizer's, and only on B."""
    one = top_kast()
    np.testing.assert_array_equal(one.state("backward"), [1, 1, 1, 0, 0])
    before = one.learned
    one.step(np.zeros(5))
    decayed = before * (1 - 0.1 * 0.01)
    penalty = np.array([0.9, -0.6, 0.75])
    np.testing.assert_allclose(one.learned[:3], (decayed[:3] - 0.1 * penalty), rtol=1e-5)
    np.testing.assert_array_equal(one.learned[3:], before[3:])
    np.testing.assert_array_equal(one.value[2:], 0)


def test_top_kast_leaves_what_is_outside_b_alone():
    one = top_kast()
    before = one.learned
    for gradient in np.random.default_rng(0).normal(size=(5, 5)):
        one.step(gradient)
    np.testing.assert_array_equal(one.learned[3:], before[3:])
    assert (one.learned[:3] != before[:3]).all()


def test_top_kast_b_contains_a(images):
    callback = ks.TopKAST(0.9, backward_sparsity=0.7, every="3st", allocation="uniform")

    class Check(keras.callbacks.Callback):
        seen = 0

        def on_epoch_end(self, epoch, logs=None):
            arrays = keras.ops.convert_to_numpy
            groups = zip(
                callback.optimizer.masks, callback.optimizer.state["backward"], strict=True
            )
            for a, b in groups:
                a, b = arrays(a), arrays(b)
                assert (b | ~a).all()
                assert b.sum() == b.size - round(0.7 * b.size)
                self.seen += 1

    check = Check()
    fit(compiled(conv_net()), images, callback, check)
    assert check.seen


def test_sr_ste_ends_with_the_pattern(images):
    model = compiled(conv_net())
    fit(model, images, ks.SRSTE(exclude="conv"))
    for kernel in kernels(model)[1:]:
        groups = (kernel.T.reshape(kernel.shape[1], -1, 4) != 0).sum(axis=-1)
        assert (groups == 2).all()


def test_dpf_rises_and_stays(images):
    logs = fit(compiled(conv_net()), images, ks.DPF(0.9, every="2st")).history["sparsity"]
    assert logs == sorted(logs)
    assert 0 < logs[0] < logs[-1]
    assert logs[3] == pytest.approx(logs[-1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ks.TopKAST(0.9, backward_sparsity=0.95), "B contains A"),
        (lambda: ks.TopKAST(0.9, penalty=-1), "penalty must be"),
        (lambda: ks.TopKAST(0.5, granularity="2:4"), "cannot keep NM"),
        (lambda: ks.TopKAST(0.9, allocation={"conv": 0.5}), "cannot be a mapping"),
        (lambda: ks.SRSTE(decay=-1), "decay must be"),
        (lambda: ks.STE(), "sparsity is needed"),
        (lambda: ks.DPF(0.9, end="110%"), "fraction"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("method", [ks.STE, ks.IHT, ks.TopKAST])
def test_wide_layers_begin_with_their_share(images, method):
    """Weights of a wide layer begin smaller than those of all others."""
    model = compiled(conv_net())
    wide = model.get_layer("hidden").kernel
    wide.assign(1e-3 * wide)
    callback = method(0.9)
    with pytest.raises(KeyboardInterrupt):
        fit(model, images, callback, Interrupt(0))
    kept = [int(keras.ops.sum(mask)) for mask in callback.optimizer.masks]
    assert kept == [kernel.size - round(0.9 * kernel.size) for kernel in kernels(model)]
