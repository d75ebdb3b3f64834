import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.methods.at_start.sensitivity import connection_sensitivity
from tests.training import compiled, conv_net, fit

pytestmark = pytest.mark.jax


def test_keeps_the_highest_scores(images):
    callback = ks.GraSP(0.8, images)
    fit(compiled(conv_net()), images, callback, epochs=1)
    model = compiled(conv_net())
    weights = [v for v in model.trainable_variables if len(v.shape) > 1]
    scores = connection_sensitivity(model, weights, images, criterion="grasp")
    score = np.concatenate([s.ravel() for s in scores])
    mask = np.concatenate([m.ravel() for m in callback.masks.values()])
    assert mask.sum() == mask.size - round(0.8 * mask.size)
    assert score[mask].min() >= score[~mask].max()
    assert score[~mask].min() < 0 < score[mask].max()


def test_data_is_gone_through_twice(images):
    x, y = images
    with pytest.raises(ValueError, match="used up after one pass"):
        fit(compiled(conv_net()), images, ks.GraSP(0.8, iter([(x, y)])), epochs=1)
    with pytest.raises(ValueError, match="GraSP scores weights on data"):
        ks.GraSP(0.8)
