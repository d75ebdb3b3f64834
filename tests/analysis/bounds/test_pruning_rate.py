"""How fast a greedily selected subnetwork's loss falls: worked numbers, and the lemmas."""

import numpy as np
import pytest

from keras_sparse.analysis.bounds.pruning_rate import (
    harmonic_number,
    interior_loss_bound,
    max_subnetwork_size,
    recursion_bound,
    selection_floats,
    subnetwork_loss_bound,
)


def test_run_a():
    given = (10, 0.125, 2**0.5, 0.0361111111)
    assert subnetwork_loss_bound(*given, form="printed") == pytest.approx(0.145, abs=1e-6)
    assert subnetwork_loss_bound(*given) == pytest.approx(0.2379, abs=5e-5)
    assert harmonic_number(4) == pytest.approx(25 / 12)


def test_the_largest_subnetwork():
    assert max_subnetwork_size(0.1, 2**0.5, 0.005) == pytest.approx(221)
    sizes = [max_subnetwork_size(0.1, 2**0.5, loss) for loss in (0.1, 0.01, 0.001, 0)]
    assert sizes == sorted(sizes)
    assert sizes[-1] == np.inf


def test_lemma_7():
    generator = np.random.default_rng(0)
    beta, c = 10 ** generator.uniform(-2, 1, (2, 2000))
    bound = [recursion_bound(b, each) for b, each in zip(beta.tolist(), c.tolist(), strict=True)]
    z = np.zeros(2000)
    for _ in range(200):
        z = np.sqrt(np.maximum(z**2 - 2 * beta * z + c, 0))
        assert (z <= np.array(bound) + 1e-12).all()


def test_the_fast_rate():
    assert 2 * interior_loss_bound(1, 2.0, 0.49497) == pytest.approx(16.33, abs=0.005)


def test_what_workers_tell_each_other():
    assert selection_floats(200, 4, 785) == 157_800
