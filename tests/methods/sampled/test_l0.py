import numpy as np
import pytest
from keras import ops

import keras_sparse as ks
from keras_sparse.backend.step_random import uniform
from keras_sparse.methods.sampled.l0 import (
    L0Rule,
    hard_concrete,
    open_probability,
    settled_gate,
)
from tests.training import OneTensor, compiled, conv_net, fit, kernels

pytestmark = pytest.mark.jax
W, G = [1.0, -2.0, 0.5, 0.3], [0.3, -0.2, 1.0, -1.0]


def tensor(values):
    return ops.convert_to_tensor(np.asarray(values, "float32"))


def numbers(values):
    return np.asarray(ops.convert_to_numpy(values))


def test_gates():
    """How likely a gate is open, and where it settles, in worked numbers."""
    assert numbers(open_probability(tensor(0.0))) == pytest.approx(0.831822, abs=1e-6)
    assert numbers(settled_gate(tensor(0.0))) == pytest.approx(0.5)
    assert numbers(settled_gate(tensor(-2.3979))) == 0
    assert numbers(settled_gate(tensor(-2.3978))) > 0
    z, slope = hard_concrete(tensor(0.5), tensor(0.3))
    assert numbers(z) == pytest.approx(0.347157, abs=1e-6)
    assert numbers(slope) == pytest.approx(1.2 * 0.372631 * (1 - 0.372631) * 1.5, abs=1e-5)


def test_slope_of_a_gate():
    u = np.linspace(0, 1, 1001)[:-1]
    at = np.full_like(u, 0.7)
    (low, _), (high, _) = (hard_concrete(tensor(at + h), tensor(u)) for h in (-1e-2, 1e-2))
    z, slope = hard_concrete(tensor(at), tensor(u))
    z, slope = numbers(z), numbers(slope)
    inside = (numbers(low) > 0) & (numbers(high) < 1)
    found = (numbers(high) - numbers(low)) / 2e-2
    np.testing.assert_allclose(found[inside], slope[inside], atol=2e-3)
    assert np.all(slope[(z == 0) | (z == 1)] == 0)
    assert np.any(slope[inside] > 0.3)
    assert np.isfinite(z).all()


def test_drawn_gates_are_open_as_often_as_they_should_be():
    for log_alpha in (-2.0, 0.0, 1.5):
        drawn = uniform((40000,), seed=1, step=3)
        z, _ = hard_concrete(tensor(np.full(40000, log_alpha)), drawn)
        expected = float(numbers(open_probability(tensor(log_alpha))))
        assert np.mean(numbers(z) != 0) == pytest.approx(expected, abs=0.01)


def test_a_step():
    """The gradients through the gates that were drawn for this very step, and Adam's first step."""
    rule = L0Rule(rate=0.01, seed=3, penalty=0.1, closed=0.4)
    one = OneTensor(rule, W)
    one.optimizer.show_sampled()
    log_alpha = np.full(4, np.log(0.6 / 0.4), "float32")
    z, slope = map(numbers, hard_concrete(tensor(log_alpha), uniform((4,), 3, 0, 0)))
    assert np.min(z) > 0
    np.testing.assert_allclose(one.value, W * z, rtol=1e-6)
    one.step(G)
    np.testing.assert_allclose(one.learned, np.subtract(W, 0.1 * np.multiply(G, z)), rtol=1e-5)
    p = numbers(open_probability(tensor(log_alpha)))
    gradient = np.multiply(G, W) * slope + 0.1 * p * (1 - p)
    np.testing.assert_allclose(one.state("first_moment"), 0.1 * gradient, rtol=1e-4)
    moved = log_alpha - 0.01 * np.sign(gradient)
    np.testing.assert_allclose(one.state("parameter"), moved, rtol=1e-4)
    following, _ = hard_concrete(tensor(moved), uniform((4,), 3, 1, 0))
    np.testing.assert_allclose(one.value, one.learned * numbers(following), rtol=1e-3)
    one.optimizer.show_evaluated()
    np.testing.assert_allclose(one.value, one.learned * numbers(settled_gate(tensor(moved))), 1e-4)


def test_the_penalty_closes_gates(images):
    shares = []
    for penalty in (0.0, 0.001):
        model = compiled(conv_net())
        callback = ks.L0(penalty=penalty, gate_learning_rate=0.3, initial_dropout=0.5)
        logs = fit(model, images, callback, validation_data=images).history
        zeros = sum(int((kernel == 0).sum()) for kernel in kernels(model))
        share = zeros / sum(kernel.size for kernel in kernels(model))
        assert share == pytest.approx(logs["sparsity"][-1])
        shares.append(share)
        # Validation saw the model that is left in the end.
        x, y = images
        assert model.evaluate(x, y, verbose=0)[0] == pytest.approx(logs["val_loss"][-1], rel=1e-4)
    assert 0.3 < shares[1] < 0.99
    assert shares[0] < 0.5 * shares[1]
    assert logs["l0_open"][-1] < logs["l0_open"][0]
    assert logs["train_flops_ratio"][-1] > logs["inference_flops_ratio"][-1]


@pytest.mark.parametrize(
    "bad", [{"penalty": -1}, {"gate_learning_rate": 0}, {"initial_dropout": 1}]
)
def test_bad_arguments(bad):
    with pytest.raises(ValueError, match=r"must be a .*number"):
        ks.L0(**bad)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"sparsity": 0.9}, "no sparsity to set: it follows from penalty"),
        ({"allocation": "erk"}, "no allocation to set"),
        ({"granularity": "2:4"}, "L0 prunes single weights"),
    ],
)
def test_a_sparsity_cannot_be_asked_for(asked, message):
    with pytest.raises(ValueError, match=message):
        ks.L0(**asked)
