"""Error increases, mean per-class accuracy, difficulty: worked numbers and the source's tables."""

import csv
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_sparse import transfer
from keras_sparse.transfer import Outcome, TransferComparison

TABLES = Path(__file__).parent / "resnet50.csv"
# Mean relative error increase in percent and its standard error over the twelve tasks.
LINEAR = {
    "acdc": [(-3.1, 1.6), (-2.1, 1.7), (1.7, 3.1), (14.1, 5.0)],
    "str": [(-0.8, 2.3), (3.5, 2.9), (13.7, 3.7), (38.2, 8.3)],
    "rigl_erk": [(2.8, 2.5), (7.3, 2.7), (14.4, 3.9)],
    "rigl_erk_5x": [(0.8, 2.4), (0.1, 2.5), (3.6, 2.9)],
    "gmp": [(7.6, 1.2), (7.5, 1.6)],
    "woodfisher": [(15.3, 3.3), (14.1, 2.1), (17.0, 1.8), (30.7, 4.3)],
    "lth_t": [(79.7, 17), (221, 57), (402, 97)],
}
FULL = {
    "acdc": [(7.8, 1.7), (12.2, 2.3), (21.7, 3.1), (44.3, 6.6)],
    "str": [(20.4, 3.1), (26.7, 3.4), (41.8, 5.0), (81.7, 10)],
    "rigl_erk": [(8.6, 2.7), (16.8, 3.7), (25.9, 4.7)],
    "rigl_erk_5x": [(6.7, 3.3), (6.8, 3.3), (12.5, 3.9)],
    "gmp": [(0.0, 2.0), (7.6, 2.0)],
    "woodfisher": [(0.5, 1.6), (3.8, 2.3), (13.6, 2.6), (33.9, 4.7)],
    "lth_t": [(9.5, 2.6), (36.7, 12), (110.6, 42)],
}
SPARSITIES = (0.8, 0.9, 0.95, 0.98)


@pytest.fixture(scope="module")
def compared():
    outcomes = {}
    for row in csv.DictReader(TABLES.open(encoding="utf-8")):
        mode, sparsity, task = row.pop("mode"), float(row.pop("sparsity")), row.pop("task")
        for method, accuracy in row.items():
            at = 0.0 if method == "dense" else sparsity
            if accuracy:
                outcome = Outcome(method, at, task, mode, [float(accuracy) / 100])
                outcomes[outcome[:4]] = outcome
    return TransferComparison(list(outcomes.values()))


@pytest.mark.parametrize(("mode", "table"), [("linear", LINEAR), ("full", FULL)])
def test_the_sources_table_of_error_increases(compared, mode, table):
    found = {(row.method, row.sparsity): row.over_tasks for row in compared.increases(mode)}
    assert len(found) == sum(len(values) for values in table.values())
    for method, values in table.items():
        for sparsity, (mean, error) in zip(SPARSITIES, values, strict=False):
            given = found[method, sparsity]
            # As many digits as the table has.
            pairs = (given.mean, mean), (given.standard_error, error)
            for one, told in pairs:
                exact = told != round(told) or told == 0
                assert 100 * one == pytest.approx(told, abs=0.051 if exact else 0.6)


def test_difficulty_and_its_correlation_with_the_error_increase(compared):
    hard = compared.difficulty()
    assert hard["Cars"] == pytest.approx(36.9)
    assert hard["Pets"] == pytest.approx(0.8)
    found = compared.correlation("linear")
    wanted = {"acdc": (-0.46, -0.53), "rigl_erk": (-0.67, -0.76), "gmp": (0.14, -0.23)}
    for method, values in wanted.items():
        for sparsity, value in zip((0.8, 0.9), values, strict=True):
            assert found[method, sparsity] == pytest.approx(value, abs=0.0051)


def test_pictures_and_table(compared, tmp_path, capsys):
    compared.plot("linear", tmp_path / "sparsity.png")
    compared.plot_difficulty("linear", 0.9, tmp_path / "difficulty.png")
    for name in ("sparsity", "difficulty"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    compared.print("full")
    assert "woodfisher" in capsys.readouterr().out
    with pytest.raises(ValueError, match="sparsity must be one that was measured"):
        compared.plot_difficulty("linear", 0.5)


def test_relative_error_increase():
    increases = transfer.relative_error_increase([0.85, 0.94], [0.80, 0.95])
    np.testing.assert_allclose(increases, [-0.25, 0.20])
    mean, error = transfer.mean_over_tasks(increases)
    assert (mean, error) == (pytest.approx(-0.025), pytest.approx(0.225))
    assert transfer.relative_error_increase(0.551, 0.492) == pytest.approx(-0.1161, abs=1e-4)
    assert transfer.relative_error_increase(0.400, 0.492) == pytest.approx(0.1811, abs=1e-4)
    assert transfer.relative_error_increase(0.7, 0.7) == 0
    assert np.isnan(transfer.mean_over_tasks([0.1]).standard_error)
    assert transfer.task_difficulty(0.9, 0.85) == pytest.approx(5)


def test_bad_input():
    with pytest.raises(ValueError, match=r"undefined where the dense model makes no error"):
        transfer.relative_error_increase([0.9, 0.8], [0.95, 1.0])
    with pytest.raises(ValueError, match="Divide percentages by 100"):
        transfer.relative_error_increase(85, 80)
    with pytest.raises(ValueError, match="same tasks"):
        transfer.relative_error_increase([0.9, 0.8], [0.95])
    one = Outcome("acdc", 0.9, "mnist", "linear", [0.9])
    with pytest.raises(ValueError, match=r"Missing.*\('mnist', 'linear'\).*Add Outcome"):
        TransferComparison([one])
    with pytest.raises(ValueError, match="one of each method"):
        TransferComparison([one, one])
    with pytest.raises(ValueError, match="three tasks"):
        TransferComparison([one._replace(method="dense", sparsity=0.0), one]).correlation("linear")


@pytest.mark.jax
def test_mean_per_class_accuracy():
    """8 of class 0 all right, 2 of class 1 with one right: 0.9 of all, 0.75 by class."""
    labels = np.array([0] * 8 + [1] * 2)
    guesses = np.eye(3)[[0] * 8 + [1, 0]]
    metric = transfer.MeanPerClassAccuracy(3)
    metric.update_state(labels[:4, None], guesses[:4])
    metric.update_state(labels[4:, None], guesses[4:])
    assert float(metric.result()) == pytest.approx(0.75)
    assert (labels == guesses.argmax(-1)).mean() == 0.9
    metric.reset_state()
    assert float(metric.result()) == 0
    metric.update_state([0, 0], guesses[[0, 9]], sample_weight=[3, 1])
    assert float(metric.result()) == pytest.approx(1.0)
    metric.update_state([1, 1], guesses[[0, 8]], sample_weight=[3, 1])
    assert float(metric.result()) == pytest.approx((1 + 0.25) / 2)
    again = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert again.classes == 3


def test_recommend(capsys):
    found = transfer.recommend(transfer="linear", task="specialized", sparsity=0.9)
    assert found.family == "regularization-based"
    assert found.methods[0] == "ACDC"
    assert any("specialized" in reason for reason in found.reasons)
    full = transfer.recommend(transfer="full", sparsity=0.95)
    assert full.family == "progressive sparsification"
    assert full.methods[0] == "woodfisher"
    assert any("90 %" in caution for caution in full.cautions)
    assert transfer.recommend(budget="head").transfer == "linear"
    small = transfer.recommend(budget="full", small_backbone=True)
    assert small.sparsity == 0.75
    assert any("98 %" in c for c in transfer.recommend("linear", sparsity=0.98).cautions)
    found.print()
    assert "linear transfer: regularization-based (ACDC" in capsys.readouterr().out
    for wrong in ({}, {"transfer": "full", "budget": "head"}, {"transfer": "half"}):
        with pytest.raises(ValueError, match="transfer"):
            transfer.recommend(**wrong)


def test_methods_that_are_recommended_exist():
    import keras_sparse as ks

    for mode in ("linear", "full"):
        assert all(hasattr(ks, name) for name in transfer.recommend(mode).methods)
