import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.methods.exploration.deep_r import DeepRRule
from tests.training import OneTensor


@pytest.mark.jax
def test_a_weight_that_changes_sign_dies_and_another_wakes():
    one = OneTensor(DeepRRule(), [0.5, -0.05, 0.3, -0.2], [1, 1, 0, 0])
    one.step([1.0, -1.0, 9.0, 9.0])  # SGD at 0.1: 0.4 and +0.05, which is the wrong sign
    assert one.value[0] == pytest.approx(0.4)
    assert one.value[1] == 0
    assert one.mask[0]
    assert one.mask.sum() == 2
    assert (one.value[~one.mask] == 0).all()
    assert (one.value[one.mask] != 0).sum() == 1, "the one that wakes starts from zero"


def test_l1_pull():
    one = OneTensor(DeepRRule(l1=0.5), [0.5, -0.5], [1, 1]).step([0.0, 0.0])
    np.testing.assert_allclose(one.value, [0.45, -0.45], rtol=1e-6)


def test_noise():
    """Its variance is 2 eta T, and pruned weights stay zero."""
    weights = np.full(20000, 5.0)
    mask = np.arange(20000) < 10000
    one = OneTensor(DeepRRule(temperature=0.2), weights, mask).step(np.zeros(20000))
    moved = one.value[mask] - 5
    assert moved.mean() == pytest.approx(0, abs=0.01)
    assert moved.var() == pytest.approx(2 * 0.1 * 0.2, rel=0.05)
    assert (one.value[~mask] == 0).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ks.DeepR(0.9, l1=-1), "l1 must be"),
        (lambda: ks.DeepR(0.9, temperature=-1), "temperature must be"),
        (lambda: ks.DeepR(0.9, granularity="channel"), "rewires single weights"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
