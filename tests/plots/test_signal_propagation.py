import types

import pytest

from keras_sparse.plots import signal_propagation


def report(*means):
    """A stand-in with what the picture reads."""
    rows = [
        types.SimpleNamespace(
            path=f"dense_{i}/kernel",
            sparsity=0.5,
            sensitivity=None if mean is None else 0.5,
            jacobian=None if mean is None else types.SimpleNamespace(mean=mean),
        )
        for i, mean in enumerate(means)
    ]
    return types.SimpleNamespace(rows=rows)


def test_layers_are_drawn_side_by_side(tmp_path):
    reports = {"before": report(0.1, 0.0), "after": report(1.0, None)}
    figure = signal_propagation(reports, tmp_path / "signals.png", title="signals")
    assert (tmp_path / "signals.png").stat().st_size > 10_000
    assert [axes.get_ylabel() for axes in figure.axes][:2] == ["mean singular value", "sparsity"]
    drawn = figure.axes[0].lines
    assert [line.get_label() for line in drawn[1:]] == ["before", "after"]
    assert drawn[1].get_ydata()[0] == 0.1


def test_networks_of_different_layers_are_refused():
    with pytest.raises(ValueError, match=r"reports must be .* of the same layers"):
        signal_propagation({"one": report(1.0), "two": report(1.0, 1.0)})
    with pytest.raises(ValueError, match="reports must be a mapping from names"):
        signal_propagation({})
