"""Comparisons of methods: what is run, what is kept, what is shown."""

import json
import math
import threading

import keras
import numpy as np
import pytest
from rich.console import Console

from keras_sparse.cli import main
from keras_sparse.experiments import pool
from keras_sparse.experiments.accuracy_pictures import (
    accuracy_by_flops,
    accuracy_by_sparsity,
    accuracy_ticks,
)
from keras_sparse.experiments.catalog import METHODS
from keras_sparse.experiments.command import compare_and_show, method_table
from keras_sparse.experiments.comparison import Comparison, compare, longer_runs, name_of
from keras_sparse.experiments.config import RunConfig, read_result
from keras_sparse.experiments.pool import RunsFailedError
from keras_sparse.experiments.summary import Row, rows
from keras_sparse.experiments.table import table
from keras_sparse.plots import read_history

pytestmark = [
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow", reason="runs end with a LiteRT file"
    ),
    pytest.mark.xdist_group("compare"),
]
COMMON = {"data": "digits", "model": "lenet300", "epochs": 2, "limit": 128, "batch_size": 32}
FILES = ["accuracy_by_flops.png", "accuracy_by_sparsity.png", "layers.png", "mask_change.png"]


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Dense training and two methods, one seed: three real processes."""
    out = tmp_path_factory.mktemp("compared") / "out"
    results = compare_and_show(
        out,
        methods=("acdc", "rigl", "magnitude"),
        sparsities=(0.5,),
        seeds=1,
        common=COMMON | {"epochs": 6},
    )
    return out, results


@pytest.mark.slow
def test_leaves_table_and_pictures(compared):
    out, results = compared
    assert [result["method"] for result in results] == [
        "dense",
        "acdc",
        "rigl",
        "magnitude",
    ]
    assert all((out / name).stat().st_size > 5000 for name in FILES)
    text = (out / "table.md").read_text()
    assert "--methods acdc,rigl,magnitude --sparsity 0.5 --seeds 1 --data digits" in text
    assert [r["accuracy"] for r in json.loads((out / "results.json").read_text())] == [
        r["accuracy"] for r in results
    ]


@pytest.mark.slow
def test_what_prunes_after_training_begins_with_the_dense_run(compared):
    out, _ = compared
    magnitude, dense = (
        read_history(out / "runs" / f"{name}-seed0-6ep" / "history.csv")
        for name in ("magnitude-0.5", "dense-0")
    )
    assert magnitude == dense  # Seconds of the epochs included, which no two trainings share.


def test_runs_wait_for_the_dense_one(tmp_path, monkeypatch):
    begun, other = [], threading.Event()

    def start(job, runs, *rest):
        if job.config["method"] == "dense":
            assert other.wait(60)  # Does not end before the run that needs it not has begun.
        else:
            dense = runs / "dense-0-seed0-2ep"
            begun.append((job.config["method"], read_result(dense) is not None))
            other.set()
        fake_start(job, runs, *rest)

    monkeypatch.setattr(pool, "start", start)
    compare(Comparison(("magnitude", "acdc"), (0.9,), 1, COMMON), tmp_path, processes=3)
    assert begun == [("acdc", False), ("magnitude", True)]


@pytest.mark.slow
def test_makes_no_finished_run_again(compared, monkeypatch):
    out, results = compared

    def never(*_):
        raise AssertionError("a finished run was made again")

    monkeypatch.setattr(pool, "start", never)
    again = Comparison(("acdc", "rigl", "magnitude"), (0.5,), 1, COMMON | {"epochs": 6})
    assert compare(again, out) == results


@pytest.mark.slow
def test_refuses_another_comparison(compared):
    out, _ = compared
    other = Comparison(("acdc",), (0.5,), 1, COMMON | {"epochs": 6, "batch_size": 16})
    with pytest.raises(ValueError, match=r"other settings: batch_size"):
        compare(other, out)


def fake_start(job, runs, threads, running):
    """Leaves what a run leaves; the run of RigL from seed 1 dies."""
    folder = runs / job.name
    config = RunConfig(**{key: value for key, value in job.config.items() if key != "after"})
    if config.method == "rigl" and config.seed == 1 and not (folder / "died").exists():
        folder.mkdir(parents=True)
        (folder / "died").touch()
        return
    folder.mkdir(parents=True, exist_ok=True)
    cost = {"rigl": 0.25, "acdc": 0.5}.get(config.method, 1.0)
    result = {
        "method": config.method,
        "epochs": config.epochs,
        "accuracy": 0.9 + 0.01 * config.seed,
        "sparsity": config.sparsity or 0.0,
        "training_flops": cost,
        "dense_training_flops": 1.0,
        "inference_flops": 1.0,
        "dense_inference_flops": 2.0,
        "seconds": 1.0,
        "tflite_bytes": 1000,
        "layers": {"a": 0.5},
        "seed": config.seed,
    }
    (folder / "result.json").write_text(json.dumps(result))


def test_a_failed_run_loses_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "start", fake_start)
    comparison = Comparison(("rigl",), (0.9,), 3, COMMON)
    with pytest.raises(RunsFailedError, match=r"1 runs failed: rigl-0.9-seed1-2ep"):
        compare(comparison, tmp_path)
    made = []
    results = compare(comparison, tmp_path, report=lambda job, *_: made.append(job.name))
    assert made == ["rigl-0.9-seed1-2ep"]
    assert len(results) == 6


def test_equal_flops(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "start", fake_start)
    common = COMMON | {"epochs": 10}
    comparison = Comparison(("acdc", "rigl"), (0.9,), 1, common, equal="flops", longest=3)
    results = compare(comparison, tmp_path)
    assert [result["epochs"] for result in results] == [10, 20, 30]
    assert read_result(tmp_path / "runs" / "acdc-0.9-seed0-10ep")


def test_longer_runs_take_the_mean_of_the_seeds():
    comparison = Comparison(("acdc",), (0.9,), 2, COMMON | {"epochs": 10}, "flops")
    results = [
        {
            "method": config.method,
            "asked_sparsity": config.sparsity,
            "training_flops": 1.0 if config.method == "dense" else (0.4, 0.6)[config.seed],
            "dense_training_flops": 1.0,
        }
        for config in comparison.runs()
    ]
    assert [config.epochs for config in longer_runs(comparison, results)] == [10, 10, 20, 20]


def test_rows_sum_up_seeds(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "start", fake_start)
    dense, rigl = rows(compare(Comparison(("acdc",), (0.9,), 3, COMMON), tmp_path))
    assert dense.method == "dense"
    assert rigl.accuracy == pytest.approx(0.91)
    assert rigl.spread == pytest.approx(0.01)
    assert rigl.training_flops == 0.5
    assert (rigl.seeds, rigl.bytes) == (3, 1000)
    single = rows(compare(Comparison(("acdc",), (0.8,), 1, COMMON), tmp_path))[1]
    assert math.isnan(single.spread)
    console = Console(width=80, record=True)
    console.print(table([dense, rigl, single], "a title"))
    shown = console.export_text()
    assert "91.00%" in shown
    assert "…" not in shown, "fits eighty columns"


@pytest.mark.parametrize(
    ("low", "high"), [(0.05, 0.97), (0.6, 0.75), (0.985, 0.9935), (0.0, 0.9999)]
)
def test_ticks_of_accuracies_are_round_and_apart(low, high):
    ticks = accuracy_ticks(low, high)
    assert 3 <= len(ticks) <= 10
    assert low <= ticks[0] < ticks[-1] <= high
    logarithms = np.log10(1 - np.array(ticks))
    assert np.all(-np.diff(logarithms) > np.log10((1 - low) / (1 - high)) / 10)
    assert all(len(f"{100 * tick:.4g}") <= 5 for tick in ticks)


@pytest.mark.parametrize("draw", [accuracy_by_sparsity, accuracy_by_flops])
def test_many_methods_are_drawn_by_families(draw):
    def labels(methods):
        made = [
            Row(name, s, 2, 1, 0.9 - s / 4, math.nan, s, 1 - s / 2, 1 - s, 1.0, 1.0, math.nan, {})
            for name in methods
            for s in (0.5, 0.9)
        ]
        plots = draw(made).axes
        return {p.get_title(): p.get_legend_handles_labels()[1] for p in plots}

    few = ["acdc", "rigl", "static"]
    assert {title: set(names) for title, names in labels(few).items()} == {"": set(few)}
    many = labels(METHODS.keys() - {"dense"})
    assert {"at start", "exploration", "gradual", "after training", "others"} <= many.keys()
    assert {"gmp", "oneshot"} <= set(many["gradual"])
    assert sorted(name for of in many.values() for name in of) == sorted(METHODS.keys() - {"dense"})


def test_methods_without_a_sparsity_run_once():
    comparison = Comparison(("str", "sr_ste", "gmp"), (0.8, 0.9), 1, COMMON)
    names = [name_of(config) for config in comparison.runs()]
    assert names == [
        "dense-0-seed0-2ep",
        "str-seed0-2ep",
        "sr_ste-seed0-2ep",
        "gmp-0.8-seed0-2ep",
        "gmp-0.9-seed0-2ep",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((("rigle",), (0.9,)), r"Unknown method: 'rigle'.*Did you mean 'rigl'"),
        ((("rigl",), (1.5,)), "sparsity must be a number"),
        (((), (0.9,)), "needs methods"),
        ((("rigl",), (0.9,), 0), "at least one seed"),
        ((("rigl",), (0.9,), 1, {}, "time"), "equal must be one of"),
    ],
)
def test_bad_comparisons(arguments, message):
    with pytest.raises(ValueError, match=message):
        Comparison(*arguments)


def test_the_command_line_explains(tmp_path, capsys):
    assert main(["compare", "--methods", "acdc,rigle", "--out", str(tmp_path)]) == 2
    assert "Did you mean 'rigl'" in capsys.readouterr().err


def test_list_methods():
    console = Console(width=200, record=True)
    console.print(method_table())
    shown = console.export_text()
    assert all(name in shown for name in METHODS)
    assert "Evci et al. (2020)" in shown
    assert all(10 < len(method.line) < 120 for method in METHODS.values())


def test_mask_change_is_logged(compared):
    out, _ = compared
    history = read_history(out / "runs" / "rigl-0.5-seed0-6ep" / "history.csv")
    assert np.isnan(history["mask_change"][0])
    assert all(0 <= change < 0.5 for change in history["mask_change"][1:])
