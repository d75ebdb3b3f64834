import numpy as np
import pytest
from keras import ops

import keras_sparse as ks
from keras_sparse.backend.step_random import normal
from keras_sparse.methods.sampled.sparse_variational_dropout import (
    SparseVariationalDropoutRule,
    kl_divergence,
    kl_slope,
    log_alpha_of,
)
from tests.training import BATCH, OneTensor, compiled, conv_net, fit, kernels

pytestmark = pytest.mark.jax
W, G = [1.0, -0.5, 0.01, 1e-6], [0.3, -0.2, 0.01, 0.5]


def tensor(values):
    return ops.convert_to_tensor(np.asarray(values, "float32"))


def numbers(values):
    return np.asarray(ops.convert_to_numpy(values))


def test_kl_divergence():
    """The divergence from the prior at four noise levels."""
    found = numbers(kl_divergence(tensor([-5, 0, 3, 8])))
    np.testing.assert_allclose(found, [3.136684, 0.431239, 0.025420, 0.000168], atol=1e-6)
    at = np.linspace(-8, 8, 101)
    low, high = (numbers(kl_divergence(tensor(at + h))) for h in (-1e-2, 1e-2))
    np.testing.assert_allclose(numbers(kl_slope(tensor(at))), (high - low) / 2e-2, atol=1e-3)
    assert np.all(np.diff(numbers(kl_divergence(tensor(at)))) < 0)


def test_a_step():
    """The noise that was drawn for this very step, the penalty's pulls, and Adam's first step."""
    rule = SparseVariationalDropoutRule(
        rate=0.01, seed=3, kl_weight=0.2, anneal_steps=4, initial_log_variance=-4.0
    )
    one = OneTensor(rule, W)
    one.optimizer.show_sampled()
    noise = np.exp(-2) * numbers(normal((4,), 3, 0, 0))
    np.testing.assert_allclose(one.value, W + noise, rtol=1e-5)
    one.step(G)
    w = np.array(W)
    log_alpha = -4 - np.log(w**2)
    assert log_alpha[3] > 8, "the last weight's penalty is clipped"
    slope = np.where(log_alpha < 8, 0.2 / 4 * numbers(kl_slope(tensor(log_alpha))), 0)
    learned = w - 0.1 * (np.array(G) - 2 / w * slope)
    np.testing.assert_allclose(one.learned, learned, rtol=1e-5)
    gradient = 0.5 * np.array(G) * noise + slope
    np.testing.assert_allclose(one.state("first_moment"), 0.1 * gradient, rtol=1e-4)
    variance = -4 - 0.01 * np.sign(gradient)
    np.testing.assert_allclose(one.state("parameter"), variance, rtol=1e-5)
    kept = variance - np.log(learned**2) <= 3
    np.testing.assert_array_equal(one.mask, kept)
    assert set(kept) == {True, False}
    following = np.exp(variance / 2) * numbers(normal((4,), 3, 1, 0))
    np.testing.assert_allclose(one.value, learned + following, rtol=1e-4)
    one.optimizer.show_evaluated()
    np.testing.assert_allclose(one.value, np.where(kept, learned, 0), rtol=1e-5)


def test_the_pull_on_the_means_is_the_slope_of_the_penalty():
    rule = SparseVariationalDropoutRule(0.01, kl_weight=1.0, initial_log_variance=-2.0)
    one = OneTensor(rule, [0.7, -0.2, 0.05, 2.0]).step(np.zeros(4))

    def penalty(w):
        return numbers(kl_divergence(log_alpha_of(tensor(w), tensor(np.full(4, -2.0)))))

    w = np.array([0.7, -0.2, 0.05, 2.0])
    slope = (penalty(w * 1.01) - penalty(w * 0.99)) / (0.02 * w)
    np.testing.assert_allclose((w - one.learned) / 0.1, slope, rtol=1e-2)


def test_the_penalty_prunes(images):
    shares = []
    for weight in (0.0, 0.01):
        model = compiled(conv_net())
        callback = ks.SparseVariationalDropout(kl_weight=weight, noise_learning_rate=0.3)
        logs = fit(model, images, callback, validation_data=images).history
        zeros = sum(int((kernel == 0).sum()) for kernel in kernels(model))
        share = zeros / sum(kernel.size for kernel in kernels(model))
        assert share == pytest.approx(logs["sparsity"][-1])
        shares.append(share)
        # Validation saw the model that is left in the end, not a drawn one.
        x, y = images
        again = model.evaluate(x, y, batch_size=BATCH, verbose=0)[0]
        assert again == pytest.approx(logs["val_loss"][-1], rel=1e-4)
    assert 0.1 < shares[1] < 0.99
    assert shares[0] < 0.5 * shares[1]
    assert logs["svd_log_variance_mean"][-1] > -10
    assert logs["train_flops_ratio"][-1] == pytest.approx(1.0)


@pytest.mark.parametrize("bad", [{"kl_weight": -1}, {"noise_learning_rate": 0}, {"threshold": 9}])
def test_bad_arguments(bad):
    with pytest.raises(ValueError, match=r"must be a .*number"):
        ks.SparseVariationalDropout(**bad)


def test_a_sparsity_cannot_be_asked_for():
    with pytest.raises(ValueError, match="has no sparsity to set"):
        ks.SparseVariationalDropout(sparsity=0.9)
