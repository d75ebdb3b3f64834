"""Studies of any function: what a process is told, what is kept, what is said of failures."""

import pytest
from rich.console import Console

from keras_sparse.experiments.benchmark import by_variant, cell, claims_table, percent, spread
from keras_sparse.experiments.claims import Claim, checked
from keras_sparse.experiments.document import Document, Script, Table
from keras_sparse.experiments.pool import RunsFailedError, located
from keras_sparse.experiments.study import Study, Variant
from keras_sparse.storage.lock import FolderInUseError, locked
from tests.experiments.counted_run import run


def make(variants, out, seeds=(0, 1), **more):
    return Study(variants, seeds, run).make(out, console=Console(quiet=True), **more)


def test_results_come_by_variant_and_seed(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    variants = {"a": Variant({"x": 10}), "b c": Variant({"x": 20}, after="a")}
    results = make(variants, tmp_path, threads=3)
    assert {name: [r["value"] for r in of] for name, of in results.items()} == {
        "a": [10, 11],
        "b c": [20, 21],
    }
    assert [r["after"]["value"] for r in results["b c"]] == [10, 11]
    assert results["a"][0]["threads"] == "3"
    # No finished run is made again, and other settings have other folders.
    assert make(variants, tmp_path) == results
    assert make({"a": Variant({"x": 30})}, tmp_path)["a"][0]["value"] == 30
    assert Study(variants, (0, 1), run).finished(tmp_path) == results


def test_runs_that_wait_for_runs_that_wait(tmp_path):
    variants = {name: Variant({"x": 0}, after=after) for name, after in (("c", "b"), ("b", "a"))}
    results = make({**variants, "a": Variant({"x": 1})}, tmp_path, [0], processes=3)
    assert results["c"][0]["after"]["after"]["value"] == 1


def test_a_failure_is_kept_apart_and_made_again(tmp_path):
    variants = {"good": Variant({"x": 1}), "bad": Variant({"x": 2, "fails": 1})}
    with pytest.raises(RunsFailedError, match=r"1 runs failed: bad-seed0.*run\.log"):
        make(variants, tmp_path, [0])
    log = next(tmp_path.glob("bad-*")) / "run.log"
    assert "as it was told to" in log.read_text()
    results = make(variants, tmp_path, [0])
    assert (results["good"][0]["calls"], results["bad"][0]["calls"]) == (1, 2)


def test_runs_that_measure_time_are_made_again(tmp_path, capsys):
    study = Study({"a": Variant({"x": 1}), "b": Variant({"x": 2})}, [0], run)
    for _ in range(2):
        found = study.timed(tmp_path)
        assert {name: (of["value"], of["calls"]) for name, of in found.items()} == {
            "a": (1, 1),
            "b": (2, 1),
        }
        assert study.make(tmp_path, console=Console(quiet=True))["a"][0] == found["a"]
    stamps = [path.stat().st_mtime_ns for path in sorted(tmp_path.glob("*/result.json"))]
    study.timed(tmp_path)
    assert all(
        new.stat().st_mtime_ns > old
        for new, old in zip(sorted(tmp_path.glob("*/result.json")), stamps, strict=True)
    )
    with locked(tmp_path), pytest.raises(FolderInUseError):
        study.timed(tmp_path)
    assert len(list(tmp_path.glob("*/result.json"))) == 2


def test_a_function_by_its_file(tmp_path):
    script = tmp_path / "alone.py"
    script.write_text("def it(config, folder):\n    return {'seed': config['seed']}\n")
    variant = Variant({}, run=f"{script}:it")
    assert make({"a": variant}, tmp_path / "out", [7]) == {"a": [{"seed": 7}]}


def test_functions_that_no_process_finds():
    def inner(config, folder):
        return {}

    for function in (inner, lambda config, folder: {}):
        with pytest.raises(ValueError, match="must be a function that another process can import"):
            located(function)


@pytest.mark.parametrize("wrong", [{"processes": 0}, {"processes": "2"}, {"threads": 0}])
def test_numbers_of_processes(tmp_path, wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1. Received"):
        make({"a": Variant({"x": 1})}, tmp_path, **wrong)


def test_a_truncated_result_is_named(tmp_path):
    variants = {"a": Variant({"x": 1})}
    make(variants, tmp_path, [0])
    (path,) = tmp_path.glob("*/result.json")
    path.write_text(path.read_text()[:5])
    with pytest.raises(ValueError, match=r"result\.json' is damaged .*Delete it"):
        make(variants, tmp_path, [0])
    path.unlink()
    assert make(variants, tmp_path, [0])["a"][0]["calls"] == 2


def test_one_process_at_a_time(tmp_path):
    with locked(tmp_path), pytest.raises(FolderInUseError, match="is in use by process"):
        make({"a": Variant({"x": 1})}, tmp_path)


def test_claims():
    better = Claim("a", "b", 1.0, 0.9)
    assert better.cells([0.92, 0.94], [0.9, 0.91]) == ("+1.0", "+2.50", "0.71", "holds")
    assert better.cells([0.905], [0.9]) == ("+1.0", "+0.50", "", "does not hold")
    measured = {("a", 0.9): [0.9], ("b", 0.9): [0.8], ("b", 0.5): [0.8, 0.9]}
    claims = (better, better._replace(at=0.5), better._replace(better="c"))
    found = checked(claims, lambda name, at: measured.get((name, at), ()))
    assert [claim for claim, _ in found] == [better]
    made = claims_table(
        "t",
        {"over": lambda claim: claim.worse},
        claims,
        lambda name, at: measured.get((name, at), ()),
    )
    assert made.header[:2] == ("over", "at least, points")
    assert made.rows == [("b", "+1.0", "+10.00", "", "holds")]


def test_tables_by_variant():
    runs = {"a": [{"x": 0.25}, {"x": 0.75}], "b": [{"x": 0.5}]}
    columns = {"x": cell("x", ".0%"), "twice": cell(lambda run: 2 * run["x"], ".1f", max)}
    columns["spread"] = cell("x", ".2f", spread)
    table = by_variant("t", "name", columns, runs)
    assert table.header == ("name", "x", "twice", "spread")
    assert table.rows == [("a", "50%", "1.5", "0.35"), ("b", "50%", "1.0", "")]
    several = by_variant("t", ("name", "n"), columns, {("a", "2"): runs["a"]})
    assert several.rows == [("a", "2", "50%", "1.5", "0.35")]
    assert (percent([0.5]), percent([0.4, 0.6])) == ("50.00", "50.00 ± 14.14")


def test_a_script_is_made_once_and_described_again(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", [str(tmp_path / "some" / "script.py"), "--x", "10"])
    script = Script("about", kinds={"a": 1, "b": 2}, x=int, y=3)
    assert script.args.kinds == ("a", "b")
    config = script.chosen({"x": 1, "y": 2, "z": 4})
    assert config == {"x": 10, "y": 3, "z": 4}

    def describe(content):
        columns = {"value": cell("value", ".0f")}
        return Document("T", [by_variant("t", "name", columns, content["results"])])

    study = Study({"a": Variant({"x": script.args.x})}, [0], run)
    script.study(study, describe, {"x": 10}, processes=1)
    text = (tmp_path / "some" / "results" / "script.md").read_text()
    assert text.startswith("# T\n\n`python some/script.py --x 10` on ")
    assert "| a | 10 |" in text
    monkeypatch.setattr("sys.argv", [str(tmp_path / "some" / "script.py"), "--report-only"])
    Script("about").study(study, lambda content: Document(f"x {content['config']['x']}", []))
    assert (tmp_path / "some" / "results" / "script.md").read_text().startswith("# x 10\n")
    monkeypatch.setattr("sys.argv", [str(tmp_path / "some" / "script.py"), "--x", "10"])
    again = Script("about", x=int)
    again.study(study, describe, name="other", anew=True)
    (result,) = (tmp_path / "some" / "build" / "script").glob("*/result.json")
    assert '"calls": 1' in result.read_text()


def test_documents_name_command_and_machine():
    document = Document("Title", ["A word.", Table("t", ("name", "n"), [("a", "1")])])
    made = {"command": "python x.py", "machine": "a machine"}
    assert document.markdown("x", made) == (
        "# Title\n\n`python x.py` on a machine.\n\nA word.\n\n"
        "| name | n |\n| --- | ---: |\n| a | 1 |\n"
    )
