import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.methods.gradual.movement import MovementRule, SoftMovementRule
from keras_sparse.sparsity.duration import Run
from tests.training import OneTensor, Probe, compiled, conv_net, fit

pytestmark = pytest.mark.jax


def test_scores():
    """A score falls with weight times gradient, and the largest scores are kept."""
    rule = MovementRule([99], [[3], [1]], ks.Unstructured(), True, score_learning_rate=0.5)
    one = OneTensor(rule, [1, -2, 0.5]).step([0.1, 0.1, -0.4])
    np.testing.assert_allclose(one.state("scores"), [-0.05, 0.1, 0.1], rtol=1e-6)


def test_keeps_what_moves_away_from_zero():
    rule = MovementRule([0], [[3], [1]], ks.Unstructured(), True)
    one = OneTensor(rule, [5.0, -0.1, 0.5]).step([1.0, 1.0, 1.0])
    np.testing.assert_array_equal(one.mask, [False, True, False])
    np.testing.assert_allclose(one.value, [0, -0.2, 0], rtol=1e-6)
    assert one.learned[0] == pytest.approx(4.9), "what is pruned is kept apart"


def test_schedule():
    """T=100, cubic from 10 to 80, density 1 to 0.15 at t=45."""
    steps, sparsities = ks.Polynomial("10st", "80st", "1st").sparsities(
        Run(epochs=1, steps_per_epoch=100), np.array(0.85)
    )
    assert 1 - sparsities[list(steps).index(45)] == pytest.approx(0.25625)


def test_soft_threshold_and_penalty():
    rule = SoftMovementRule(threshold=-0.02, penalty=0.1, score_learning_rate=1.0)
    one = OneTensor(rule, [1.0, 1.0]).step([0.0, -1.0])
    np.testing.assert_allclose(one.state("scores"), [-0.025, 0.975], rtol=1e-6)
    np.testing.assert_array_equal(one.mask, [False, True])


def test_soft_in_training(images):
    callback = ks.MovementPruning(soft=True, threshold=0.0, penalty=0.001)
    probe = Probe(callback)
    logs = fit(compiled(conv_net()), images, callback, probe).history
    assert all(probe.exact)
    assert 0.1 < logs["sparsity"][-1] < 0.99


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ks.MovementPruning(0.9, penalty=0.1), "penalty must be 0 without soft=True"),
        (lambda: ks.MovementPruning(0.9, soft=True), "neither sparsity nor schedule"),
        (lambda: ks.MovementPruning(0.9, score_learning_rate=0), "score_learning_rate must"),
        (lambda: ks.MovementPruning(), "sparsity is needed"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
