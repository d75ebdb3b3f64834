"""What trainings in low precision cost and reach, in pictures."""

import pytest

from keras_sparse.plots.precision import precision_scatter


def point(cost, metric, name, **more):
    return {"cost": cost, "metric": metric, "name": name, **more}


def names_of(axes):
    return {text.get_text(): text for text in axes.texts}


def test_names_of_points_at_one_place_do_not_cover_each_other():
    figure = precision_scatter([point(0.6, 0.9, "LR"), point(0.6, 0.9, "CT"), point(1, 0.9, "8")])
    (axes,) = figure.axes
    low, high = sorted(names_of(axes)[name].xyann[1] for name in ("LR", "CT"))
    assert high - low >= 7
    assert names_of(axes)["8"].get_ha() == "right"


def test_a_plot_for_each_panel_with_error_bars():
    figure = precision_scatter(
        [
            point(0.6, 0.9, "LR", panel="Cora", spread=0.1, profile="linear", form="repeated"),
            point(1.0, 0.8, "static", panel="Cora"),
            point(0.6, 0.7, "LR", panel="CiteSeer", spread=0.2),
        ],
        title="Graphs",
    )
    assert [axes.get_title() for axes in figure.axes] == ["Cora", "CiteSeer"]
    assert [len(axes.collections) for axes in figure.axes] == [1, 1]
    assert set(names_of(figure.axes[1])) == {"LR"}


def test_no_points():
    with pytest.raises(ValueError, match="points must be a list of mappings with cost"):
        precision_scatter([])
