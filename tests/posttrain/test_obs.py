import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.posttrain.exact_obs import inverse_of, refit, removal_ranks, removal_trace
from tests.posttrain.calibrated import one_layer, outputs_as_loss
from tests.training import compiled, conv_net, kernels

H = np.array([[2.0, 1.0], [1.0, 2.0]])


def test_worked_example():
    """theta=(1,.6) loses its second weight, at a cost of .27."""
    theta = np.array([[1.0, 0.6]])
    np.testing.assert_allclose(inverse_of(H, "h"), np.array([[2, -1], [-1, 2]]) / 3)
    order, cost = removal_trace(theta, inverse_of(H, "h"))
    assert order.tolist() == [[1, 0]]
    np.testing.assert_allclose(cost[0, 0] / 2, 0.27)
    pruned = refit(H, theta @ H, np.array([[True, False]]))
    np.testing.assert_allclose(pruned, [[1.3, 0]])
    step = (pruned - theta)[0]
    np.testing.assert_allclose(step @ H @ step / 2, 0.27)


@pytest.mark.jax
def test_a_layer_of_two_weights():
    x = np.array([[np.sqrt(3), 0], [1 / np.sqrt(3), np.sqrt(11 / 3)], [2, 1]], "float32")
    model = one_layer([[1.0], [0.6]])
    ks.obs(model, (x, np.zeros(3)), 0.5, damping=1e-9, loss=outputs_as_loss)
    h = x.T @ x / 3
    scores = np.array([1.0, 0.6]) ** 2 / (2 * np.diag(np.linalg.inv(h)))
    gone = int(np.argmin(scores))
    kept = 1 - gone
    theta = np.array([1.0, 0.6])
    wanted = np.zeros(2)
    wanted[kept] = theta[kept] + theta[gone] * h[0, 1] / h[kept, kept]
    np.testing.assert_allclose(kernels(model)[0][:, 0], wanted, rtol=1e-5)


def test_the_cheapest_next_removal_of_any_row_goes_first():
    traces = [(np.array([[2, 0, 1]]), np.array([[5.0, 1.0, 7.0]]))]
    traces.append((np.array([[0, 1], [1, 0]]), np.array([[2.0, 9.0], [6.0, 3.0]])))
    one, two = removal_ranks(traces, [3, 3])
    np.testing.assert_array_equal(one, [[3, 6, 2]])
    np.testing.assert_array_equal(two, [[1, 7, 8], [5, 4, 8]])


def test_counts_pattern_and_what_stays(images):
    model = compiled(conv_net())
    data = (images[0][:24], images[1][:24])
    ks.obs(model, data, 0.5, exclude="hidden")
    conv, _, logits = kernels(model)
    total = conv.size + logits.size
    assert np.count_nonzero(conv) + np.count_nonzero(logits) == total - round(0.5 * total)
    model = compiled(conv_net())
    ks.obs(model, data, granularity="2:4", exclude=["conv", "hidden"])
    groups = kernels(model)[-1].reshape(6, 4, 4)
    assert (np.count_nonzero(groups, axis=1) == 2).all()
    model = compiled(conv_net())
    ks.obs(model, data, 0.5, granularity="4x1", exclude=["conv", "hidden"])
    blocks = np.count_nonzero(kernels(model)[-1].reshape(6, 4, 4), axis=1)
    assert sorted(blocks.ravel()) == [0] * 12 + [4] * 12


def test_bad_input(images):
    model = compiled(conv_net())
    with pytest.raises(ValueError, match=r"hidden/kernel \(5,184 weights\).*woodfisher or mfac"):
        ks.obs(model, images, 0.5)
    with pytest.raises(ValueError, match="single weights, n:m"):
        ks.obs(model, images, 0.5, granularity="channel", exclude="hidden")
    with pytest.raises(ValueError, match="is singular"):
        inverse_of(np.zeros((3, 3)), "h")
