import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.methods.straight_through.str import STRRule, decayed, s_gradient
from tests.training import OneTensor, Probe, compiled, conv_net, fit, kernels

S = float(np.log(1 / 9))
W, G = [0.5, -0.02, 0.3, -0.7, 0.1], [1, 2, -1, 0.5, 3]


@pytest.mark.jax
def test_example():
    """With s = ln(1/9) and so t = 0.1."""
    rule = STRRule(initial=S, weight_decay=0.0, momentum=0.0)
    one = OneTensor(rule, W, [1, 0, 1, 1, 0])
    np.testing.assert_allclose(one.value, [0.4, 0, 0.2, -0.6, 0], atol=1e-6)
    one.step(G)
    np.testing.assert_allclose(one.learned, np.subtract(W, [0.1, 0, -0.1, 0.05, 0]), rtol=1e-5)
    assert one.state("s") == pytest.approx(S - 0.1 * 0.045, rel=1e-5)


def test_s_gradient_is_that_of_the_threshold():
    g, w = (np.array(values, "float32") for values in (G, W))
    mask = np.array([1, 0, 1, 1, 0], bool)
    assert float(s_gradient(g, w, mask, S)) == pytest.approx(0.045, rel=1e-5)

    def loss(s):
        t = 1 / (1 + np.exp(-s))
        return np.sum(g * np.sign(w) * np.maximum(np.abs(w) - t, 0))

    middle = S + 0.01  # beyond the kink at |w| = t
    slope = (loss(middle + 1e-4) - loss(middle - 1e-4)) / 2e-4
    found = float(s_gradient(g, w, mask, middle))
    assert found == pytest.approx(slope, rel=1e-3)


def test_weight_decay_raises_the_threshold(images):
    callback = ks.STR(threshold=0.05, weight_decay=0.02)
    model = compiled(conv_net())
    probe = Probe(callback)
    logs = fit(model, images, callback, probe).history
    assert all(probe.exact)
    assert logs["str_threshold_mean"][-1] == pytest.approx(0.05, rel=0.05)
    assert logs["sparsity"][-1] > logs["sparsity"][0]
    shares = [np.mean(kernel == 0) for kernel in kernels(model)]
    assert np.ptp(shares) > 0.01, "layers differ"


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_thresholds_arrive_where_weight_decay_is_meant_to_take_them(momentum):
    rates = np.linspace(0.1, 0.0, 200)
    start = float(np.log(0.3 / 0.7)) / decayed(rates, 0.01, momentum)
    one = OneTensor(STRRule(start, 0.01, momentum), W, [1] * 5)
    for rate in rates:
        one.optimizer.learning_rate = rate
        one.step([0.0] * 5)
    assert one.state("s") == pytest.approx(np.log(0.3 / 0.7), rel=1e-3)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"weight_decay": 0.2}, "swing"),
        ({"weight_decay": 0.2, "initial": -5.0}, "swing"),
        ({"weight_decay": 19.9, "momentum": 0.0}, "float32"),
    ],
)
def test_too_strong_a_weight_decay(images, options, says):
    with pytest.raises(ValueError, match=says):
        fit(compiled(conv_net()), images, ks.STR(**options))


def test_nothing_is_pruned_far_below(images):
    with pytest.warns(ks.SparsityWarning, match="no weight fell below its threshold"):
        fit(compiled(conv_net()), images, ks.STR(initial=-40.0, weight_decay=0.0), epochs=1)


@pytest.mark.parametrize("bad", [{"threshold": 0}, {"weight_decay": -1}, {"momentum": 1}])
def test_bad_arguments(bad):
    with pytest.raises(ValueError, match=r"must be a .*number"):
        ks.STR(**bad)


def test_a_sparsity_cannot_be_asked_for():
    with pytest.raises(ValueError, match="no sparsity to set"):
        ks.STR(sparsity=0.9)
