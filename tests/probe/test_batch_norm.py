"""Statistics of batch normalization that are taken anew, where a model is better for it."""

import numpy as np
import pytest

from keras_sparse.probe.batch_norm import StatisticsTuner, batch_normalizations
from tests.training import conv_net


def statistics(model):
    (norm,) = batch_normalizations(model)
    return [np.array(norm.moving_mean), np.array(norm.moving_variance)]


@pytest.mark.parametrize(("after", "better"), [(0.6, True), (0.5, True), (0.4, False)])
def test_tuned_statistics_stay_where_they_are_no_worse(images, after, better):
    tuned, model = conv_net(), conv_net()
    StatisticsTuner(tuned, momentum=None).tune([images[0]])
    before, worths = statistics(model), iter([0.5, after])
    assert StatisticsTuner(model, None).tune_if_better([images[0]], lambda: next(worths)) is better
    for found, wanted in zip(
        statistics(model), statistics(tuned) if better else before, strict=True
    ):
        np.testing.assert_array_equal(found, wanted)
    assert next(worths, None) is None
    assert not np.array_equal(statistics(tuned)[0], before[0])
