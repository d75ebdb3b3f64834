"""The `sweep` command: what it leaves, what it refuses, and that it goes on where it was."""

import json

import keras
import keras_tuner
import pytest

from keras_sparse.cli import main
from keras_sparse.experiments.sweep_config import RANGES, RunHyperModel, tuned_range
from keras_sparse.tuning import ReverseLogUniform

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="trials keep backups that JAX fetches late"
)
SMALL = ["sweep", "--data", "digits", "--model", "lenet300", "--limit", "160", "--epochs", "2"]
SMALL += ["--objective", "accuracy,nonzeros", "--tune", "learning_rate=0.01..0.1"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    out = tmp_path_factory.mktemp("swept") / "out"
    argv = [*SMALL, "--methods", "gmp,dense,magnitude", "--sparsity", "0.8..0.95", "--trials", "3"]
    argv += ["--keep-models", "1", "--search", "random", "--seed", "1", "--out", str(out)]
    assert main(argv) == 0
    return out, argv


def test_it_leaves_table_picture_and_numbers(swept):
    out, _ = swept
    text = (out / "pareto.md").read_text("utf-8")
    assert text.startswith("# lenet300 on digits: ")
    assert "--tune learning_rate=0.01..0.1 --objective accuracy,nonzeros --search random" in text
    assert (out / "pareto.png").stat().st_size > 5_000
    content = json.loads((out / "pareto.json").read_text("utf-8"))
    assert len(content["trials"]) == 3
    for trial in content["trials"]:
        assert 0.01 <= trial["values"]["learning_rate"] <= 0.1
        assert set(trial["scores"]) == {"accuracy", "nonzeros"}
        assert 0 <= trial["executions"][0]["logs"]["test_accuracy"] <= 1
        if trial["values"]["method"] != "dense":
            kept = trial["values"]["one_minus_sparsity"] * 50_000
            assert trial["scores"]["nonzeros"] < kept + 20_000
    assert len(list(out.rglob("*.keras"))) == 1


def test_it_goes_on_and_refuses_another_sweep(swept, capsys):
    out, argv = swept
    times = {path: path.stat().st_mtime_ns for path in out.rglob("result.json")}
    assert main(argv) == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("result.json")} == times
    changed = [*argv]
    changed[changed.index("random")] = "sobol"
    assert main(changed) == 2
    assert "search ('random' there, 'sobol' now)" in capsys.readouterr().err


def test_processes_share_a_storage(tmp_path):
    pytest.importorskip("optuna")
    argv = [*SMALL, "--methods", "static", "--storage", str(tmp_path / "log"), "--trials", "1"]
    assert main([*argv, "--out", str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out").rglob("result.json"))) == 1


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--methods", "acdx"], "Did you mean 'acdc'"),
        (["--methods", "gmp", "--sparsity", "0.8..high"], "LOW..HIGH"),
        (["--methods", "gmp", "--sparsity", "0.98..0.8"], "high must be"),
        (["--methods", "gmp", "--sparsity", "1.5"], "sparsity must be"),
        (["--methods", "gmp", "--tune", "batch_size"], "no hyperparameter of a sweep"),
        (["--methods", "gmp", "--tune", "rate"], "tune must be one of"),
        (
            ["--methods", "gmp", "--tune", "momentum", "--momentum", "0.5"],
            "both given and searched",
        ),
        (["--methods", "gmp", "--objective", "speed"], "which direction is better"),
        (["--methods", "gmp", "--search", "sobul"], "Did you mean 'sobol'"),
        (["--methods", "gmp", "--trials", "0"], "trials must be"),
        (["--methods", "gmp", "--data", "digitz"], "digits"),
    ],
)
def test_wrong_options_are_told(argv, message, tmp_path, capsys):
    given = ["sweep", "--data", "digits", "--model", "lenet300", "--out", str(tmp_path / "out")]
    assert main([*given, *argv]) == 2
    assert message in capsys.readouterr().err


def test_ranges_keep_their_scale():
    assert tuned_range("momentum") is RANGES["momentum"]
    assert tuned_range("momentum", "0.8..0.9") == ReverseLogUniform(0.8, 0.9)


def test_a_configuration_is_that_of_train():
    model = RunHyperModel(("gmp",), 0.9, {}, {"data": "digits", "model": "lenet300", "epochs": 7})
    config = model.config(keras_tuner.HyperParameters())
    assert (config.method, config.sparsity, config.epochs) == ("gmp", 0.9, 7)
