import numpy as np
import pytest
from rich.console import Console

import keras_sparse as ks
from keras_sparse.deploy import litert_costs
from tests.training import compiled, conv_net, fit, kernels, values


@pytest.fixture(scope="module")
def weights(images):
    model = compiled(conv_net())
    fit(model, images, epochs=6)
    return model.get_weights()


@pytest.fixture
def trained(weights):
    model = compiled(conv_net())
    model.set_weights(weights)
    return model


def zeros(model):
    every = np.concatenate([kernel.ravel() for kernel in kernels(model)])
    return np.mean(every == 0)


@pytest.mark.filterwarnings("ignore:adaprune has fewer samples")
@pytest.mark.parametrize("method", ["magnitude", "adaprune"])
def test_as_far_as_the_loss_is_kept(trained, images, method):
    found = ks.prune_to(trained, images, max_loss=0.3, metric="loss", method=method, resolution=20)
    assert found.met
    assert zeros(trained) == pytest.approx(found.sparsity, abs=1e-3)
    by_sparsity = {row.sparsity: row.value for row in found.rows}
    assert by_sparsity[found.sparsity] <= 0.3
    assert found.sparsity == 0.95 or by_sparsity[found.sparsity + 0.05] > 0.3
    # Of three batches of 32 samples the second is held out.
    held_out = [side[32:64] for side in images]
    worth = trained.evaluate(*held_out, verbose=0)[0]
    assert worth - found.dense == pytest.approx(by_sparsity[found.sparsity], abs=1e-4)
    console = Console(record=True, width=100)
    found.print(console)
    assert "max_loss=0.3 is met" in console.export_text()


@pytest.mark.filterwarnings("ignore:adaprune has fewer samples")
def test_a_stricter_target_leaves_more(weights, images):
    found = []
    for most in (0.0, 0.05, 1.0):
        model = compiled(conv_net())
        model.set_weights(weights)
        found.append(ks.prune_to(model, images, max_loss=most, resolution=10).sparsity)
    assert found == sorted(found)
    assert found[2] == 0.9


def test_until_the_file_is_small_enough(trained, images):
    (whole,) = litert_costs([trained], sparse=True)
    goal = 0.75 * whole.bytes
    found = ks.prune_to(trained, images, bytes=goal, method="magnitude", resolution=10)
    assert found.met
    (left,) = litert_costs([trained], sparse=True)
    assert left.bytes <= goal
    assert min(row.sparsity for row in found.rows if row.value <= goal) == found.sparsity


def test_what_cannot_be_met_is_said_and_the_nearest_is_left(trained, images):
    with pytest.warns(ks.SparsityWarning, match="bytes=10 cannot be met: the nearest"):
        found = ks.prune_to(trained, images, bytes=10, method="magnitude", resolution=4)
    assert not found.met
    assert found.sparsity == 0.75
    assert zeros(trained) == pytest.approx(0.75, abs=1e-3)


def test_bad_input(trained, images):
    before = values(trained)
    with pytest.raises(ValueError, match="Give one target"):
        ks.prune_to(trained, images)
    with pytest.raises(ValueError, match="Give one target"):
        ks.prune_to(trained, images, max_loss=0.1, bytes=10)
    with pytest.raises(ValueError, match="latency must be"):
        ks.prune_to(trained, images, latency=0)
    with pytest.raises(ValueError, match="held out in batches"):
        ks.prune_to(trained, (images[0][:20], images[1][:20]), max_loss=0.1)
    with pytest.raises(ValueError, match="needs targets too"):
        ks.prune_to(trained, images[0], max_loss=0.1)
    with pytest.raises(ValueError, match="blocks of one output"):
        ks.prune_to(trained, images, max_loss=0.1, method="obc", granularity="1x4")
    for one, two in zip(before, values(trained), strict=True):
        np.testing.assert_array_equal(one, two)
