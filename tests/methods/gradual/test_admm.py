import keras
import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.methods.gradual.admm import ADMMRule
from tests.training import OneTensor, compiled, conv_net, fit, kernels

pytestmark = pytest.mark.jax


def test_updates_and_cut():
    rule = ADMMRule([1, 3], [[3], [3], [1]], ks.Unstructured(), True, rho=0.5)
    one = OneTensor(rule, [1.0, 0.4, -0.2])
    np.testing.assert_allclose(one.state("z"), [1, 0, 0])
    one.step(np.zeros(3))  # pulled by rho (w - z)
    np.testing.assert_allclose(one.value, [1, 0.38, -0.19], rtol=1e-6)
    one.step(np.zeros(3))  # u = w - z first, then the pull is rho (w - z + u)
    np.testing.assert_allclose(one.state("u"), [0, 0.38, -0.19], rtol=1e-6)
    np.testing.assert_allclose(one.value, [1, 0.342, -0.171], rtol=1e-6)
    one.step(np.zeros(3))
    assert one.mask.all()
    one.step([1.0, 1.0, 1.0])  # the cut: only the largest goes on, without any pull
    np.testing.assert_array_equal(one.mask, [True, False, False])
    np.testing.assert_allclose(one.value, [0.9, 0, 0], rtol=1e-6)


def test_pulls_small_weights_towards_zero(images):
    """What the cut takes away is smaller with the pull than without it."""

    class BeforeTheCut(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 4:
                sizes = np.sort(np.concatenate([np.abs(k).ravel() for k in kernels(self.model)]))
                self.lost = np.sum(sizes[: int(0.8 * len(sizes))] ** 2)

    def lost(rho):
        seen = BeforeTheCut()
        callback = ks.ADMM(0.8, rho=rho, every="3st", cut="31st")
        logs = fit(compiled(conv_net()), images, callback, seen).history
        assert logs["sparsity"][-1] == pytest.approx(0.8, abs=1e-3)
        return seen.lost

    assert lost(0.3) < 0.7 * lost(0.0)


def test_a_cut_that_never_comes(images):
    with pytest.raises(ValueError, match="would never be cut"):
        fit(compiled(conv_net()), images, ks.ADMM(0.9, cut="500st"))


def test_bad_rho():
    with pytest.raises(ValueError, match="rho must be"):
        ks.ADMM(0.9, rho=-1)
