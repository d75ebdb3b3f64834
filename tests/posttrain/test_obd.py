import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.posttrain.obd import obd_scores
from tests.posttrain.calibrated import check_common, one_layer, outputs_as_loss
from tests.training import kernels


def test_worked_example():
    """H=[[2,1],[1,2]], theta=(1,.6) give OBD scores (1,.36)."""
    np.testing.assert_allclose(obd_scores(np.array([1, 0.6]), np.array([2.0, 2.0])), [1, 0.36])


@pytest.mark.jax
def test_keeps_what_curvature_makes_important():
    x = np.array([[0.1, 1, 0.1, 1], [0.2, 1, 0.1, 0]], "float32")
    model = one_layer([[1.0], [0.5], [2.0], [0.1]])
    ks.obd(model, (x, np.zeros(2)), 0.5, loss=outputs_as_loss)
    # mean squared gradients .025, 1, .01, .5 times theta squared 1, .25, 4, .01
    np.testing.assert_array_equal(kernels(model)[0][:, 0], np.float32([0, 0.5, 2, 0]))


def test_counts_pattern_and_what_stays(images):
    check_common(ks.obd, (images[0][:24], images[1][:24]))


def test_bad_input():
    model = one_layer([[1.0], [0.5]])
    with pytest.raises(ValueError, match="All gradients"):
        ks.obd(model, (np.zeros((4, 2)), np.zeros(4)), 0.5, loss=outputs_as_loss)
    with pytest.raises(ValueError, match="samples_per_gradient must"):
        ks.obd(model, (np.ones((4, 2)), np.zeros(4)), 0.5, samples_per_gradient=0)
    model.layers[0].set_weights([np.zeros((2, 1))])
    with pytest.raises(ValueError, match="All scores are zero"):
        ks.obd(model, (np.ones((4, 2)), np.zeros(4)), 0.5, loss=outputs_as_loss)
