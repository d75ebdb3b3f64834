import csv
import math

import keras
import matplotlib.pyplot
import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.plots import (
    layer_sparsity,
    plot_acdc_schedule,
    read_history,
    training_curve,
    write_history,
)

HISTORY = {
    "loss": [2.0, 1.0, 0.5, 0.25, 0.125],
    "val_accuracy": [0.5, 0.75, 0.7, 0.9, 0.95],
    "sparsity": [0.0, 0.0, 0.9, 0.01, 0.9],
    "acdc_phase": [0.0, 0.0, 1.0, 0.0, 1.0],
    "acdc_mask_change": [math.nan, math.nan, math.nan, math.nan, 1 / 3],
}
PNG = b"\x89PNG\r\n\x1a\n"


def shaded(figure):
    """The middles of the shaded spans."""
    return [patch.get_x() + patch.get_width() / 2 for patch in figure.axes[0].patches]


def lines(figure):
    return {line.get_label(): line for axes in figure.axes for line in axes.get_lines()}


def test_a_history_survives_the_csv_file_bit_for_bit(tmp_path):
    write_history(HISTORY, tmp_path / "history.csv")
    read = read_history(tmp_path / "history.csv")
    assert list(read) == list(HISTORY)
    for name, values in HISTORY.items():
        np.testing.assert_array_equal(read[name], values)


def test_columns_of_different_lengths_leave_the_old_file(tmp_path):
    path = tmp_path / "history.csv"
    write_history(HISTORY, path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="shorter"):
        write_history({"loss": [1.0, 2.0], "sparsity": [1.0]}, path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["history.csv"]


def test_reads_what_keras_writes(tmp_path, images):
    path = tmp_path / "log.csv"
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(4)]
    )
    model.compile(
        "sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    history = model.fit(
        *images, epochs=2, verbose=0, callbacks=[keras.callbacks.CSVLogger(path)]
    ).history
    read = read_history(path)
    np.testing.assert_array_equal(read["accuracy"], history["accuracy"])
    assert math.isnan(read["val_accuracy"][0])


def test_an_empty_history_is_refused(tmp_path):
    (tmp_path / "empty.csv").write_text("epoch,loss\n")
    with pytest.raises(ValueError, match="holds no epoch"):
        read_history(tmp_path / "empty.csv")
    with pytest.raises(FileNotFoundError):
        read_history(tmp_path / "none.csv")


def test_curve_draws_the_history_and_shades_dense_phases(tmp_path):
    figure = training_curve(HISTORY, tmp_path / "curve.png")
    drawn = lines(figure)
    np.testing.assert_array_equal(drawn["validation accuracy"].get_ydata(), HISTORY["val_accuracy"])
    np.testing.assert_array_equal(drawn["sparsity"].get_ydata(), HISTORY["sparsity"])
    np.testing.assert_array_equal(drawn["sparsity"].get_xdata(), [1, 2, 3, 4, 5])
    assert drawn["sparsity"].axes is not drawn["validation accuracy"].axes
    assert shaded(figure) == [1, 2, 4]
    written = (tmp_path / "curve.png").read_bytes()
    assert written.startswith(PNG)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "dense phase",
        "validation accuracy",
        "sparsity",
    ]


def test_curve_from_a_file_and_from_keras_is_the_same(tmp_path):
    write_history(HISTORY, tmp_path / "history.csv")
    history = keras.callbacks.History()
    history.history = HISTORY
    pictures = []
    for i, source in enumerate((HISTORY, tmp_path / "history.csv", history)):
        training_curve(source, tmp_path / f"{i}.png")
        pictures.append((tmp_path / f"{i}.png").read_bytes())
    assert pictures[0] == pictures[1] == pictures[2]


def test_curve_of_a_dense_run_shades_nothing():
    dense = {"val_accuracy": [0.1, 0.9]}
    figure = training_curve(dense)
    assert shaded(figure) == []
    assert list(lines(figure)) == ["validation accuracy"]


def test_phases_can_be_given():
    history = {"val_accuracy": [0.1, 0.2, 0.3]}
    assert shaded(training_curve(history, phases="dcd")) == [1, 3]
    with pytest.raises(ValueError, match="each of the 3 epochs"):
        training_curve(history, phases="DC")
    with pytest.raises(ValueError, match="'D' or 'C'"):
        training_curve(history, phases="DXC")


def test_a_baseline_is_drawn_beside():
    figure = training_curve(HISTORY, baseline={"val_accuracy": [0.6, 0.8, 0.9]})
    drawn = lines(figure)["validation accuracy, dense run"]
    np.testing.assert_array_equal(drawn.get_xydata(), [[1, 0.6], [2, 0.8], [3, 0.9]])


def test_a_missing_metric_is_named():
    with pytest.raises(ValueError, match=r"no 'val_accuracy'; it has loss\. Train with"):
        training_curve({"loss": [1.0]})


def test_a_picture_that_cannot_be_written(tmp_path):
    with pytest.raises(ValueError, match=r"curve\.png"):
        training_curve(HISTORY, tmp_path / "curve.jpg")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        training_curve(HISTORY, tmp_path / "none" / "curve.png")
    assert list(tmp_path.iterdir()) == []


def test_schedule_has_a_box_for_each_epoch(tmp_path):
    figure = plot_acdc_schedule("DDCDC", tmp_path / "phases.png")
    boxes = figure.axes[0].patches
    assert [box.get_x() + 0.5 for box in boxes] == [1, 2, 3, 4, 5]
    colors = [box.get_facecolor() for box in boxes]
    assert colors[0] == colors[1] == colors[3] != colors[2] == colors[4]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["dense (3 epochs)", "sparse (2 epochs)"]
    with pytest.raises(ValueError, match="must end with 'C'"):
        plot_acdc_schedule("CD")


def test_layers_show_the_report(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(16, name="hidden"),
            keras.layers.Dense(4, name="logits"),
        ]
    )
    ks.prune(model, 0.75, allocation={"hidden": 0.75, "logits": 0.25})
    figure = layer_sparsity(ks.report(model), tmp_path / "layers.png")
    bars = figure.axes[0].patches
    assert [bar.get_width() for bar in bars] == [0.75, 0.25]
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["75.0%, 32 of 128 left", "25.0%, 48 of 64 left"]
    assert (tmp_path / "layers.png").read_bytes().startswith(PNG)


def test_pyplot_is_left_alone():
    training_curve(HISTORY)
    plot_acdc_schedule("DC")
    assert matplotlib.pyplot.get_fignums() == []


def test_csv_has_one_header(tmp_path):
    write_history(HISTORY, tmp_path / "history.csv")
    with open(tmp_path / "history.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == list(HISTORY)
    assert len(rows) == 6
