"""The picture of pre-training."""

import pytest

from keras_sparse.plots import pretraining_curve


def test_curves_and_marks(tmp_path):
    curves = {"1,000 samples": ([0, 50, 100], [1.0, 0.4, 0.2]), "dense": ([0, 100], [1, 0.1])}
    figure = pretraining_curve(
        curves, tmp_path / "curve.png", marks={"enough": 50}, logarithmic=True, label="loss"
    )
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.lines] == [*curves, "enough"]
    assert axes.get_yscale() == "log"
    assert (tmp_path / "curve.png").stat().st_size > 1000
    with pytest.raises(ValueError, match="as many values as steps in 'one'"):
        pretraining_curve({"one": ([0, 1], [1])})
    with pytest.raises(ValueError, match="one curve at least"):
        pretraining_curve({})
