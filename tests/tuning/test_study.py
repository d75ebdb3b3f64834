"""Studies of batch sizes: the fewest steps of each cell, reproduced, resumed and refused."""

import csv
import dataclasses
import json

import keras
import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.tuning import LogUniform, ReverseLogUniform
from keras_sparse.tuning.steps.cell import Cell, CellTuner
from keras_sparse.tuning.steps.table import row_of
from keras_sparse.tuning.steps.workload import Record, Trainer, Workload
from tests.tuning.networks import network, samples

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="studies read their data by TensorFlow"
)
DATA = (*samples(96), *samples(64))


def study(folder, **settings):
    settings = {
        "optimizer": "momentum",
        "sparsities": (0.0, 0.5),
        "batch_sizes": (4, 16),
        "goal_error": 0.05,
        "check_every": 4,
        "max_steps": 120,
        "n_trials": 3,
        "search_space": {
            "learning_rate": LogUniform(1e-3, 1),
            "momentum": ReverseLogUniform(0.5, 0.99),
        },
        **settings,
    }
    return ks.tuning.BatchSizeStudy(network, DATA, directory=folder, **settings)


def plain(records):
    return [record._replace(seconds=0) for record in records]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    own = study(folder)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("warnings.warn", lambda *_, **__: None)
        return own, own.run(), folder


def test_the_fewest_steps_are_those_of_the_best_complete_trial(made):
    _, table, _ = made
    assert len(table.rows) == 4
    for row in table.rows:
        of = [t for t in table.trials if (t.sparsity, t.batch_size) == row[:2]]
        complete = [t.steps for t in of if t.status == "complete"]
        assert row.steps == min(complete)
        assert row.complete == len(complete)
        assert (row.complete, row.incomplete + row.infeasible) == (len(complete), 3 - len(complete))
        (best,) = [t for t in of if t.values == row.values]
        assert (best.steps, best.status) == (row.steps, "complete")
        assert all(t.steps % 4 == 0 for t in of if t.status != "infeasible")
        assert best.error <= 0.05


def test_masks_hold_to_the_end(made):
    for trial in made[1].trials:
        assert trial.measured_sparsity == pytest.approx(trial.sparsity, abs=0.005)


def test_all_cells_try_the_same_points(made):
    values = {(t.sparsity, t.batch_size): [] for t in made[1].trials}
    for trial in made[1].trials:
        values[trial.sparsity, trial.batch_size].append(tuple(trial.values.values()))
    assert len(set(map(tuple, values.values()))) == 1
    first = next(iter(values.values()))[0]
    assert first == pytest.approx((LogUniform(1e-3, 1).value(0.5), 1 - np.sqrt(0.5 * 0.01)))


def test_it_is_reproduced_to_the_last_bit(made, tmp_path):
    own = study(tmp_path, sparsities=(0.5,), batch_sizes=(16,))
    trainer = Trainer(own.workload, own.data)
    CellTuner(trainer, own.cells[0], own.search, tmp_path).search()
    known = [t for t in made[1].trials if (t.sparsity, t.batch_size) == (0.5, 16)]
    assert plain(own.table().trials) == plain(known)


def test_a_study_goes_on(made, monkeypatch):
    own, table, folder = made
    ran = []
    run = Trainer.run
    monkeypatch.setattr(Trainer, "run", lambda *args: ran.append(args[1:4]) or run(*args))
    again = study(folder)
    file = folder / own.cells[0].name / "trials.json"
    kept = file.read_text("utf-8")
    file.write_text(json.dumps(json.loads(kept)[:2]), "utf-8")
    (folder / own.cells[0].name / "oracle.json").unlink()
    (folder / own.cells[0].name / "tuner0.json").unlink()
    monkeypatch.setattr("warnings.warn", lambda *_, **__: None)
    assert plain(again.run().trials) == plain(table.trials)
    assert ran == [(0.0, 4, 2)]


def test_curves_fits_and_pictures(made, tmp_path):
    own, table, _ = made
    sizes, steps = table.curve(0.5)
    assert sizes.tolist() == [4, 16]
    ratio = table.ratio(0.5)
    assert ratio[16] == pytest.approx(steps[1] / table.curve(0.0)[1][1])
    assert set(own.fit("reciprocal")) == {0.0, 0.5}
    with pytest.raises(ValueError, match="needs 3 batch sizes"):
        own.fit("theorem")
    assert set(table.best(0.0, "learning_rate")) == {4, 16}
    own.plot(tmp_path / "curves.png")
    table.csv(tmp_path / "trials.csv")
    lines = list(csv.DictReader((tmp_path / "trials.csv").open(encoding="utf-8")))
    assert len(lines) == 12
    assert float(lines[0]["learning_rate"]) == table.trials[0].values["learning_rate"]
    ks.plots.steps_ratio({"momentum": ratio}, tmp_path / "ratio.png")
    ks.plots.optimizer_comparison({0.0: {"momentum": table.curve(0.0)}}, tmp_path / "two.png")
    ks.plots.trial_map([t._asdict() for t in table.trials], tmp_path / "map.png")
    for name in ("curves", "ratio", "two", "map"):
        assert (tmp_path / f"{name}.png").stat().st_size > 5_000
    with pytest.raises(ValueError, match="one of those studied"):
        table.curve(0.7)


def test_the_table_names_cells_without_a_complete_trial(made, capsys):
    table = made[1]
    rows = (table.rows[0]._replace(steps=None, values={}), *table.rows[1:])
    none = dataclasses.replace(table, rows=rows)
    none.print()
    assert "none" in capsys.readouterr().out
    left_out = pytest.warns(ks.SparsityWarning, match="No trial was complete")
    with left_out, pytest.raises(ValueError, match="needs 2 batch sizes"):
        none.fit("reciprocal")
    assert set(none.ratio(0.5)) == {16}


def record(trial, status, steps, rate=0.1):
    return Record(0.0, 8, trial, {"learning_rate": rate}, status, steps, 0.1, 100, 0.0, 1.0)


def test_only_complete_trials_count():
    space = {"learning_rate": LogUniform(1e-3, 1)}
    trials = [record(0, "incomplete", 8), record(1, "complete", 40), record(2, "infeasible", 4)]
    assert row_of(trials, space)[2:7] == (40, {"learning_rate": 0.1}, 1, 1, 1)
    assert row_of(trials[:1], space).steps is None


def test_a_best_trial_at_an_end_of_the_range_is_told(tmp_path, monkeypatch):
    space = {"learning_rate": LogUniform(1e-3, 1)}
    assert row_of([record(0, "complete", 8, 0.9)], space).at_edge == ("learning_rate",)
    assert row_of([record(0, "complete", 8, 0.5)], space).at_edge == ()
    edge = study(
        tmp_path,
        sparsities=(0.0,),
        batch_sizes=(8,),
        n_trials=1,
        optimizer="sgd",
        search_space=space,
    )
    monkeypatch.setattr(Trainer, "run", lambda *_: record(0, "complete", 8, 0.9))
    with pytest.warns(ks.SparsityWarning, match=r"0, 8: learning_rate\. Widen search_space"):
        edge.run()


def test_trials_that_fail_do_not_end_a_search(tmp_path, monkeypatch):
    own = study(tmp_path, sparsities=(0.0,), batch_sizes=(8,), n_trials=6)
    asked = []

    def diverged(self, sparsity, size, trial, values, limit):
        asked.append(limit)
        status = "complete" if trial == 4 else "infeasible"
        return record(trial, status, 12)._replace(values=values)

    monkeypatch.setattr(Trainer, "run", diverged)
    (row,) = dataclasses.replace(own.run(), optimizer="x").rows
    assert (row.steps, row.infeasible, row.complete) == (12, 5, 1)
    assert asked == [120] * 6


@pytest.mark.parametrize("oracle", ["random", "grid", "bayesian", "hyperband"])
def test_other_searches(oracle, tmp_path, monkeypatch):
    asked = []

    def quick(self, sparsity, size, trial, values, limit):
        asked.append(limit)
        return record(trial, "complete", 8 + trial)._replace(values=values)

    monkeypatch.setattr(Trainer, "run", quick)
    own = study(tmp_path, oracle=oracle, n_trials=5, cap_at_best=oracle == "random")
    CellTuner(Trainer(own.workload, own.data), Cell(0.0, 8), own.search, tmp_path).search()
    assert asked[0] == (120 if oracle != "hyperband" else 4)
    if oracle == "random":
        assert asked == [120, 8, 8, 8, 8]
    if oracle == "hyperband":
        assert max(asked) == 120


def test_a_diverging_trial_is_infeasible():
    work = Workload(network, "sgd", 0.0, 4, 40, "random", 0, None, None, None, False)
    x, y = DATA[:2]
    found = Trainer(work, (1e20 * x, y, x, y)).run(0.5, 8, 0, {"learning_rate": 1.0})
    assert found.status == "infeasible"
    assert found.steps < 40


def test_equal_parts_make_the_same_updates_as_the_whole():
    ended = []
    for memory in (None, 8):
        work = Workload(network, "nesterov", 0.0, 4, 20, "snip", 0, None, memory, None, False)
        trainer = Trainer(work, DATA)
        # All samples in each update: cut or not, an update sees the same.
        found = trainer.run(0.5, 96, 0, {"learning_rate": 0.05, "momentum": 0.9})
        assert found.steps == 20
        assert found.measured_sparsity == pytest.approx(0.5, abs=0.005)
        assert int(trainer.optimizer.iterations) == 20
        ended.append(trainer.model.get_weights())
    for one, two in zip(*ended, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


@pytest.mark.distributed
def test_replicas_are_the_same_as_one_device(mirrored):
    ended = []
    for strategy in (None, mirrored):
        work = Workload(network, "momentum", 0.0, 4, 20, "snip", 0, None, None, strategy, False)
        trainer = Trainer(work, DATA)
        # All samples in each update: the order of the rest is the strategy's.
        trainer.run(0.5, 96, 0, {"learning_rate": 0.05, "momentum": 0.9})
        ended.append(trainer.model.get_weights())
    for one, two in zip(*ended, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


def test_rules_for_the_learning_rate(made, tmp_path):
    rates = [ks.tuning.scaled_rate(rule, 0.1, 4, 64) for rule in ("constant", "linear", "sqrt")]
    assert rates == pytest.approx([0.1, 1.6, 0.4])
    own, table, _ = made
    found = ks.tuning.fixed_rule(own, "linear", base_batch=4, warmup_steps=2)
    best = table.best(0.0, "learning_rate")[4]
    assert [t.values["learning_rate"] for (t,) in found.values()] == pytest.approx([best, 4 * best])
    with pytest.raises(ValueError, match="one at which a trial was complete"):
        ks.tuning.fixed_rule(own, base_batch=5)
    with pytest.raises(ValueError, match="rule must be"):
        ks.tuning.fixed_rule(own, "cubic", base_batch=4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"search_space": {"batch_size": LogUniform(1, 9)}},
            "the largest one.*batch_sizes=",
        ),
        ({"search_space": {"sparsity": LogUniform(0.1, 0.9)}}, "those of the dense model"),
        ({"search_space": {"rate": LogUniform(0.1, 0.9)}}, "search_space must be one of"),
        ({"optimizer": "sgd"}, "that plain SGD has"),
        ({"optimizer": "adam"}, "optimizer must be"),
        ({"batch_sizes": (4, 97)}, "There are 96 samples"),
        ({"batch_sizes": (4, 4)}, "different numbers"),
        ({"batch_sizes": (12,), "memory_batch": 8}, "multiples of memory_batch=8"),
        ({"sparsities": (1.0,)}, "sparsities must be"),
        ({"mask": "synflow"}, "mask must be"),
    ],
)
def test_what_cannot_be_studied_is_refused(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        study(tmp_path, **settings)


def test_data_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match="four arrays"):
        ks.tuning.BatchSizeStudy(network, DATA[:2], goal_error=0.1, directory=tmp_path)


@pytest.mark.parametrize("settings", [{"max_steps": 7}, {"n_trials": 9, "goal_error": 0.5}])
def test_a_study_of_other_settings_is_refused(made, settings):
    with pytest.raises(ValueError, match="holds a study with other settings"):
        study(made[2], **settings).run()
    with pytest.raises(ValueError, match="resume=True"):
        study(made[2]).run(resume=False)


@pytest.mark.thorough
def test_processes_find_the_same(made, tmp_path, monkeypatch):
    monkeypatch.setattr("warnings.warn", lambda *_, **__: None)
    found = study(tmp_path).run(workers=2)
    assert plain(found.trials) == plain(made[1].trials)
