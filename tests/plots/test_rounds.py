"""The picture of trainings in rounds shows what was logged."""

import numpy as np
import pytest

import keras_sparse as ks

LOGS = {
    "val_accuracy": [0.5, 0.7, 0.8],
    "comm_bytes": [1e6, 2e6, 3e6],
    "compute_seconds": [1.0, 2.0, 2.0],
    "sync_seconds": [0.5, 0.5, 0.5],
    "coverage": [0.5, 0.75, 0.875],
}


def test_a_metric_by_time_and_by_traffic_and_the_coverage(tmp_path):
    whole = {name: values for name, values in LOGS.items() if name != "coverage"}
    histories = {"m=2": LOGS, "whole": whole}
    figure = ks.plots.training_by_cost(histories, tmp_path / "rounds.png", title="rounds")
    assert (tmp_path / "rounds.png").stat().st_size > 10_000
    by_time, by_traffic, coverage = (axes.get_lines() for axes in figure.axes)
    np.testing.assert_allclose(by_time[0].get_xdata(), [1.5, 4.0, 6.5])
    np.testing.assert_allclose(by_traffic[0].get_xdata(), [1, 2, 3])
    np.testing.assert_allclose(by_traffic[0].get_ydata(), LOGS["val_accuracy"])
    np.testing.assert_allclose(coverage[0].get_ydata(), LOGS["coverage"])
    np.testing.assert_allclose(coverage[1].get_ydata(), 1)


@pytest.mark.parametrize(
    ("histories", "message"),
    [
        ({}, "one history at least"),
        ({"a": {**LOGS, "val_accuracy": [0.5]}}, r"histories\['a'\] must be one with 'val_acc"),
    ],
)
def test_what_cannot_be_drawn(histories, message):
    with pytest.raises(ValueError, match=message):
        ks.plots.training_by_cost(histories)
