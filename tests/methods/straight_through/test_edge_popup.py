import keras
import numpy as np
import pytest
from keras import ops

import keras_sparse as ks
from keras_sparse.methods.straight_through.edge_popup import (
    EdgePopupRule,
    initial_scores,
    signed_constants,
)
from keras_sparse.probe.layout import Layout
from tests.training import OneTensor, Probe, compiled, conv_net, fit, kernels, values

pytestmark = pytest.mark.jax
SINGLE = ks.Unstructured()
DENSE = Layout((64, 10), (), (0,), (1,))
CONV = Layout((3, 3, 4, 8), (0, 1), (2,), (3,))


def test_a_step_moves_scores_and_no_weight():
    """`s <- s - eta (g w sign(s) + decay s)` twice, with momentum; AdamW would decay weights."""
    rule = EdgePopupRule([2], SINGLE, True, rate=0.5, momentum=0.9, weight_decay=0.01)
    one = OneTensor(rule, [1, -2, 0.5], optimizer=keras.optimizers.AdamW(0.1, weight_decay=0.1))
    scores = np.array([0.3, -0.2, 0.25])
    one.optimizer.state["scores"][0].assign(scores)
    gradient, velocity = np.array([0.1, 0.1, -0.4]), 0
    for _ in range(2):
        slope = gradient * [1, -2, 0.5] * np.sign(scores) + 0.01 * scores
        velocity = 0.9 * velocity + slope
        scores = scores - 0.5 * velocity
        one.step(gradient)
        np.testing.assert_allclose(one.state("scores"), scores, rtol=1e-5)
    np.testing.assert_array_equal(one.mask, [False, True, True])
    np.testing.assert_array_equal(one.value, [0, -2, 0.5])
    np.testing.assert_array_equal(one.learned, [1, -2, 0.5])


def test_the_slope_is_that_of_a_factor():
    """By |s|, the gradient is that of the loss by a factor of the weight, pruned ones included."""
    rule = EdgePopupRule([1], SINGLE, True, rate=1.0, momentum=0.0)
    one = OneTensor(rule, [2.0, -3.0], [1, 0])
    one.optimizer.state["scores"][0].assign([0.9, -0.2])
    gradient = one.value - np.array([1.0, 1.0])  # of |w - 1|^2 / 2
    one.step(gradient)
    by_factor = gradient * [2.0, -3.0]
    np.testing.assert_allclose(np.abs([0.9, -0.2]) - by_factor, [-1.1, -2.8], rtol=1e-6)
    np.testing.assert_allclose(one.state("scores"), [-1.1, 2.8], rtol=1e-6)


def test_first_scores_and_constants():
    dense, conv = initial_scores([DENSE, CONV], seed=3)
    assert np.abs(dense).max() == pytest.approx(1 / 8, rel=0.05)
    assert np.abs(conv).max() == pytest.approx(1 / 6, rel=0.05)
    assert abs(dense.mean()) < 0.01
    np.testing.assert_array_equal(initial_scores([DENSE, CONV], seed=3)[1], conv)
    np.testing.assert_allclose(
        signed_constants([DENSE, CONV], 0.5), [np.sqrt(2 / 32), np.sqrt(2 / 18)]
    )


@pytest.mark.parametrize("constant", [pytest.param(False, marks=pytest.mark.thorough), True])
def test_trains_only_the_choice(images, constant):
    model = compiled(conv_net(), keras.optimizers.SGD(0.1, weight_decay=0.1))
    before = values(model)
    accuracy = model.evaluate(*images, verbose=0)[1]
    callback = ks.EdgePopup(0.5, score_learning_rate=1.0, signed_constant=constant)
    probe = Probe(callback)
    logs = fit(model, images, callback, probe, epochs=12).history
    assert all(probe.exact)
    assert probe.kept[0] == [w.size - round(w.size / 2) for w in kernels(model)]
    assert logs["mask_change"][-1] > 0
    for old, new in zip(before, values(model), strict=True):
        if new.ndim == 1:
            assert not np.array_equal(new, old), "biases and norms learn"
        elif constant:
            (size,) = np.unique(np.abs(new[new != 0]))
            np.testing.assert_array_equal(
                new, np.where(new != 0, np.where(old < 0, -size, size), 0)
            )
        else:
            np.testing.assert_array_equal(new, np.where(new != 0, old, 0))
    assert logs["accuracy"][-1] > max(accuracy, 0.25) + 0.3


def test_nothing_pruned_leaves_the_weights(images):
    model = compiled(conv_net())
    before = kernels(model)
    with pytest.warns(ks.SparsityWarning, match="pruned nothing"):
        fit(model, images, ks.EdgePopup(0.0), epochs=1)
    for old, new in zip(before, kernels(model), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_saved_rule_is_the_same():
    rule = EdgePopupRule([2], SINGLE, False, 1, 0.1, 0.5, 0.01, 7, [0.25])
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(rule))
    assert again.get_config() == rule.get_config()
    assert ops.shape(again.budget) == (1,)


@pytest.mark.parametrize(
    "bad", [{"score_learning_rate": 0}, {"score_momentum": 1}, {"score_weight_decay": -1}]
)
def test_bad_arguments(bad):
    with pytest.raises(ValueError, match=r"must be a .*number"):
        ks.EdgePopup(0.5, **bad)
