import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.posttrain.mfac import LowRankInverse
from tests.posttrain.calibrated import check_common, small_net
from tests.training import kernels


def test_worked_example():
    """F^-1 (1,2) = (-.97561, 4.146341)."""
    inverse = LowRankInverse(np.array([[1.0, 0.0], [1.0, 1.0]]), 0.1)
    np.testing.assert_allclose(inverse.product(np.array([1.0, 2.0])), [-0.97561, 4.146341], 1e-6)
    np.testing.assert_allclose(inverse.diagonal(), [1.463415, 2.682927], 1e-6)


def test_equals_the_recursion_and_the_dense_inverse():
    gradients = np.random.default_rng(0).normal(size=(6, 13))
    inverse, damping = LowRankInverse(gradients.copy(), 0.2), 0.2
    dense = np.linalg.inv(damping * np.eye(13) + gradients.T @ gradients / 6)
    np.testing.assert_allclose(inverse.diagonal(), np.diag(dense), rtol=1e-10)
    x = np.arange(13.0)
    np.testing.assert_allclose(inverse.product(x), dense @ x, rtol=1e-9)
    products = []
    for g in [*gradients, x]:
        v = g / damping - sum(v * (v @ g) / scale for v, scale in products)
        products.append((v, 6 + g @ v))
    np.testing.assert_allclose(inverse.product(x), products[-1][0], rtol=1e-9)


@pytest.mark.jax
def test_equals_woodfisher_of_a_single_block(images):
    data, only = (images[0][:12], images[1][:12]), {"exclude": ["conv", "hidden"]}
    found = []
    for function, kwargs in ((ks.mfac, {}), (ks.woodfisher, {"block_size": 10**6})):
        model = small_net()
        function(model, data, 0.5, samples_per_gradient=2, damping=1e-3, steps=2, **only, **kwargs)
        found.append(kernels(model)[-1])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-6)


def test_counts_pattern_and_what_stays(images):
    check_common(ks.mfac, (images[0][:24], images[1][:24]), samples_per_gradient=2)


def test_bad_input(images):
    model = small_net()
    with pytest.raises(ValueError, match="lower samples_per_gradient"):
        ks.mfac(model, (images[0][:8], images[1][:8]), 0.5, samples_per_gradient=9)
    with pytest.raises(ValueError, match="damping must be a finite number greater than 0"):
        ks.mfac(model, images, 0.5, damping=0)
    with pytest.raises(ValueError, match="raise it"):
        LowRankInverse(np.ones((3, 4)) * 1e12, 1e-9)
