"""Networks put together at random: shrunk and masked models agree, and costs are as predicted."""

import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.structured.coupling.cost import Cost
from keras_sparse.structured.coupling.groups import channel_groups
from keras_sparse.structured.shrink import build
from tests.structured.nets import batch, half, outputs, randomized
from tests.structured.random_nets import random_net


@pytest.mark.parametrize("seed", [*range(6), 53])
def test_random_networks(seed):
    model = randomized(random_net(seed))
    groups = channel_groups(model)
    keep = half(groups, seed)
    smaller, masked = build(groups, keep, False), build(groups, keep, True)
    x = batch(model)
    ours, theirs = outputs(smaller, x)[0], outputs(masked, x)[0]
    scale = max(1.0, float(np.abs(theirs).max()))
    np.testing.assert_allclose(ours / scale, theirs / scale, atol=2e-5)
    kept = groups.kept(keep)
    assert Cost(model, groups).flops(kept) == pytest.approx(ks.report(smaller).dense_flops)
    assert Cost(model, groups).parameters(kept) == smaller.count_params()


def test_random_networks_are_pruned_to_a_target():
    for seed in (1, 4):
        model = randomized(random_net(seed))
        smaller = ks.structured.prune(model, flops=0.7, criterion="random", seed=0)
        assert ks.report(smaller).dense_flops <= 0.7 * ks.report(model).dense_flops
