import keras
import numpy as np
import pytest
from keras import ops

import keras_sparse as ks
from keras_sparse.posttrain.fisher import BlockFisher, GradientRows, obs_scores, obs_update
from keras_sparse.probe.gradients import LossGradients
from tests.posttrain.calibrated import check_common, one_layer, outputs_as_loss, small_net
from tests.training import conv_net, kernels


def test_worked_example_of_the_inverse():
    """G=[[1,0],[1,1]], damping .1, n=2."""
    fisher = BlockFisher(2, 50)
    fisher.add(np.array([[1.0, 0.0]]))
    fisher.add(np.array([[1.0, 1.0]]))
    inverse = fisher.inverted(0.1)
    wanted = [[1.463415, -1.219512], [-1.219512, 2.682927]]
    np.testing.assert_allclose(inverse.blocks[0], wanted, rtol=1e-6)
    np.testing.assert_allclose(inverse.product(np.array([1.0, 2.0])), [-0.97561, 4.146341], 1e-6)


def test_worked_example_of_scores_and_update():
    """H=[[2,1],[1,2]], theta=(1,.6) give scores (.75,.27)."""
    inverse, weights = np.array([[2.0, -1.0], [-1.0, 2.0]]) / 3, np.array([1.0, 0.6])
    scores = obs_scores(weights, np.diag(inverse))
    np.testing.assert_allclose(scores, [0.75, 0.27])
    step = inverse @ obs_update(weights, np.diag(inverse), np.array([False, True]))
    np.testing.assert_allclose(step, [0.3, -0.6])


def test_blocks_are_inverses_of_the_dense_blocks():
    rows = np.random.default_rng(0).normal(size=(9, 11))
    found = BlockFisher(11, 4)
    for piece in (rows[:4], rows[4:]):
        found.add(piece)
    np.testing.assert_allclose(found.diagonal(), np.mean(rows**2, axis=0))
    inverse = found.inverted(0.05)
    fisher = 0.05 * np.eye(11) + rows.T @ rows / 9
    for i, part in enumerate((slice(0, 4), slice(4, 8), slice(8, 11))):
        width = part.stop - part.start
        wanted = np.linalg.inv(fisher[part, part])
        np.testing.assert_allclose(inverse.blocks[i][:width, :width], wanted, rtol=1e-9)


def test_prunes_by_the_inverse_of_the_samples_own_matrix():
    x = np.array([[1, 0], [1, 1]], "float32")
    model = one_layer([[1.0], [0.8]])
    ks.woodfisher(model, (x, np.zeros(2)), 0.5, damping=0.1, steps=1, loss=outputs_as_loss)
    fisher = x.T @ x / 2
    inverse = np.linalg.inv(0.1 * np.trace(fisher) / 2 * np.eye(2) + fisher)
    scores = np.array([1.0, 0.8]) ** 2 / (2 * np.diag(inverse))
    gone = int(np.argmin(scores))
    theta = np.array([1.0, 0.8])
    wanted = theta - theta[gone] * inverse[:, gone] / inverse[gone, gone]
    wanted[gone] = 0
    np.testing.assert_allclose(kernels(model)[0][:, 0], wanted, rtol=1e-5)


def test_blocks_tie_the_inputs_of_an_output():
    """What another output loses moves nothing, whether or not it is in the same column's row."""
    x = np.array([[1, 0.9], [1, 1.1], [0.9, 1]], "float32")
    model = one_layer([[1.0, 1.1], [0.1, 0.9]])

    def loss(y, outputs):
        return ops.sum(outputs**2, axis=-1)

    ks.woodfisher(model, (x, np.zeros(3)), 0.25, block_size=2, steps=1, loss=loss)
    kernel = kernels(model)[0]
    assert kernel[1, 0] == 0
    assert kernel[0, 0] > 1.05
    np.testing.assert_array_equal(kernel[:, 1], np.float32([1.1, 0.9]))


@pytest.mark.parametrize("function", [ks.woodfisher, ks.mfac, ks.obs])
def test_the_scale_of_the_loss_plays_no_part(images, function):
    found = []
    for scale in (1.0, 1e-3):
        model = small_net()

        def loss(y, outputs, scale=scale):
            return scale * keras.losses.sparse_categorical_crossentropy(y, outputs, True)

        function(model, (images[0][:16], images[1][:16]), 0.5, loss=loss, exclude="hidden")
        found.append(kernels(model))
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-5)


def test_counts_pattern_and_what_stays(images):
    check_common(ks.woodfisher, (images[0][:24], images[1][:24]))


def test_steps_reach_the_same_count_and_do_not_revive(images):
    model = small_net()
    ks.woodfisher(model, (images[0][:16], images[1][:16]), 0.8, steps=3, allocation="uniform")
    for kernel in kernels(model):
        assert np.count_nonzero(kernel) == kernel.size - round(0.8 * kernel.size)


def test_gradient_rows_are_means_of_samples(images):
    model = small_net()
    variables = [v for v in model.trainable_variables if "kernel" in v.path]
    data = (images[0][:11], images[1][:11])
    rows = GradientRows(model, variables, data, samples_per_gradient=4)
    assert len(rows) == 2
    (piece,) = rows.pieces(8)
    wanted = LossGradients(model, variables)(data[0][4:8], data[1][4:8])
    for part, gradient in zip(piece, wanted, strict=True):
        np.testing.assert_allclose(part[1], ops.convert_to_numpy(gradient), rtol=1e-4, atol=1e-7)
    batches = [(data[0][:5], data[1][:5]), (data[0][5:9], data[1][5:9])]
    assert len(GradientRows(model, variables, batches, samples_per_gradient=4)) == 2


def test_bad_input(images):
    model = small_net()
    x, y = images[0][:8], images[1][:8]
    with pytest.raises(ValueError, match="takes inputs of shape"):
        ks.woodfisher(model, (x[:, :4], y), 0.5)
    with pytest.raises(ValueError, match="Give more samples, or lower"):
        ks.woodfisher(model, (x, y), 0.5, samples_per_gradient=9)
    with pytest.raises(ValueError, match="damping must be a finite number greater than 0"):
        ks.woodfisher(model, (x, y), 0.5, damping=0)
    with pytest.raises(ValueError, match="block_size must be"):
        ks.woodfisher(model, (x, y), 0.5, block_size=0)
    with pytest.raises(ValueError, match="steps must be"):
        ks.woodfisher(model, (x, y), 0.5, steps=0)
    with pytest.raises(ValueError, match="not finite"):
        ks.woodfisher(model, (np.full_like(x, np.nan), y), 0.5)
    with pytest.raises(ValueError, match="is not compiled"):
        ks.woodfisher(conv_net(), (x, y), 0.5)
    flat = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="All gradients"):
        ks.woodfisher(flat, (np.zeros((4, 2)), np.zeros(4)), 0.5, loss=outputs_as_loss)


def test_as_few_samples_per_gradient_as_make_no_more_than(images):
    model = small_net()
    variables = [v for v in model.trainable_variables if "kernel" in v.path]
    data = (images[0][:11], images[1][:11])
    for at_most, wanted in ((100, 11), (11, 11), (10, 5), (3, 2), (1, 1)):
        assert len(GradientRows(model, variables, data, None, at_most=at_most)) == wanted
