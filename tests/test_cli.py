"""The command line, mostly in this process: what it prints, leaves and answers."""

import json
import os
import signal
import subprocess
import sys
import time

import keras
import pytest

import keras_sparse as ks
from keras_sparse import models
from keras_sparse.cli import main
from keras_sparse.data import datasets
from keras_sparse.engine.sparse_optimizer import SparseOptimizer
from keras_sparse.experiments import demo, progress
from keras_sparse.experiments import run as runs
from keras_sparse.experiments.catalog import METHODS
from keras_sparse.experiments.config import RunConfig, read_config, read_result
from keras_sparse.experiments.pipelines import PRUNINGS, STARTS
from keras_sparse.experiments.precision_range import RangeConfig
from keras_sparse.precision.schedules.cyclic import SUITE
from keras_sparse.storage import lock
from keras_sparse_cli.options import OPTIONS, RANGE_OPTIONS
from tests.training import Interrupt, compiled, conv_net, fit

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="runs end with a LiteRT file"
)
SMALL = ["train", "--data", "digits", "--model", "lenet300", "--sparsity", "0.8", "--limit", "200"]
SMALL += ["--epochs", "3", "--batch-size", "32"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("finished") / "run"
    assert main([*SMALL, "--out", str(out)]) == 0
    return out


def interrupt(monkeypatch, epoch, batch):
    """Lets every training that shows its progress be interrupted."""

    class Interrupted(progress.Progress):
        def on_epoch_begin(self, now, logs=None):
            super().on_epoch_begin(now, logs)
            self.now = now

        def on_train_batch_begin(self, now, logs=None):
            if (self.now, now) == (epoch, batch):
                raise KeyboardInterrupt

    monkeypatch.setattr(demo, "Progress", Interrupted)
    monkeypatch.setattr(progress, "Progress", Interrupted)


def failed(capsys, *argv):
    """Runs a command that must fail with one clear line, and returns that."""
    assert main([*map(str, argv)]) == 2
    printed = capsys.readouterr()
    lines = printed.err.strip().splitlines()
    assert lines[-1].startswith("error: ")
    assert "Traceback" not in printed.err
    return lines[-1]


def test_train_leaves_a_run_and_says_so(tmp_path, capsys):
    out = tmp_path / "run"
    assert main([*SMALL, "--keep-dense", "last", "--seed", "2", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert [line[:15] for line in printed.splitlines()[:3]] == [
        "acdc epoch  1/3",
        "acdc epoch  2/3",
        "acdc epoch  3/3",
    ]
    result = read_result(out)
    assert f"{result['accuracy']:.2%} test accuracy with 80.00% zeros" in printed
    config = read_config(out)
    assert (config.seed, config.keep_dense, config.epochs) == (2, ("last",), 3)
    assert config.learning_rate == RunConfig(data="digits").learning_rate
    files = ("model.keras", "model.tflite", "history.csv", "result.json", "curve.png")
    assert all((out / name).stat().st_size > 0 for name in files)


def test_ctrl_c_leaves_a_run_to_resume(tmp_path, capsys, monkeypatch):
    out = tmp_path / "a run"
    with monkeypatch.context() as patch:
        interrupt(patch, 1, 2)
        assert main([*SMALL, "--out", str(out)]) == 130
    assert f"To go on: keras-sparse train --out '{out}' --resume" in capsys.readouterr().err
    assert "--resume goes on" in failed(capsys, *SMALL, "--out", out)
    different = failed(capsys, "train", "--out", out, "--resume", "--epochs", 9, "--limit", 200)
    assert "epochs (3 there, 9 now)" in different
    assert "limit" not in different
    assert main(["train", "--out", str(out), "--resume"]) == 0
    printed = capsys.readouterr().out
    assert "acdc epoch  2/3" in printed
    assert "acdc epoch  1/3" not in printed
    assert read_result(out)["epochs"] == 3


def test_resuming_a_finished_run_shows_its_result(finished, capsys):
    assert main(["train", "--out", str(finished), "--resume"]) == 0
    printed = capsys.readouterr().out
    assert "is finished" in printed
    assert f"{read_result(finished)['accuracy']:.2%} test accuracy" in printed
    assert "--resume shows its result" in failed(capsys, *SMALL, "--out", finished)


def test_interrupted_before_anything_was_written(tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs.data, "load", interrupted)
    assert main([*SMALL, "--out", str(tmp_path / "run")]) == 130
    assert "nothing was written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_refused_run_writes_nothing_and_can_be_corrected(tmp_path, capsys):
    out = tmp_path / "trap"
    wrong = [*SMALL, "--epochs", "1", "--out", str(out)]
    assert "sparse" in failed(capsys, *wrong)
    assert not out.exists()
    # As versions before left it.
    out.mkdir()
    (out / "config.json").write_text(RunConfig(data="digits", model="lenet300", epochs=1).to_json())
    failed(capsys, "train", "--resume", "--out", out)
    assert main(["train", "--resume", "--epochs", "2", "--limit", "200", "--out", str(out)]) == 0
    assert read_config(out).epochs == 2


def test_a_run_that_took_no_step_is_begun_anew(tmp_path, capsys):
    (tmp_path / "config.json").write_text(RunConfig(data="digits", epochs=1).to_json())
    assert main([*SMALL, "--out", str(tmp_path)]) == 0
    assert read_config(tmp_path).epochs == 3
    assert main(["train", "--resume", "--out", str(tmp_path)]) == 0


@pytest.mark.parametrize("command", [SMALL, ["train", "--resume"], ["demo"]])
def test_another_process_in_the_folder_is_named(tmp_path, capsys, command, quick_demo):
    script = (
        "import pathlib, runpy, sys\n"
        "with runpy.run_path(sys.argv[1])['locked'](pathlib.Path(sys.argv[2])):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", script, lock.__file__, str(tmp_path)]
    (tmp_path / "config.json").write_text(RunConfig(data="digits").to_json())
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        message = failed(capsys, *command, "--out", tmp_path)
        other.stdin.close()
    assert f"is in use by process {other.pid}" in message
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize("processes", ["0", "-1"])
def test_no_processes(tmp_path, capsys, processes):
    words = ["compare", "--methods", "gmp", "--processes", processes, "--out", tmp_path / "out"]
    assert f"at least 1. Received: processes={processes}" in failed(capsys, *words)
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_result_is_named(finished, tmp_path, capsys):
    (tmp_path / "config.json").write_bytes((finished / "config.json").read_bytes())
    (tmp_path / "result.json").write_bytes((finished / "result.json").read_bytes()[:100])
    message = failed(capsys, "train", "--resume", "--out", tmp_path)
    assert "result.json' is damaged" in message
    assert "Delete it" in message


def test_training_in_low_precision(tmp_path):
    """With a sparse method; the logs say what it cost."""
    words = [*SMALL, "--precision", "CR", "--cycles", "2", "--q-min", "4", "--q-max", "6"]
    assert main([*words, "--epochs", "4", "--out", str(tmp_path / "run")]) == 0
    result = read_result(tmp_path / "run")
    assert (result["precision"], result["q_min"]) == ("CR", 4)
    assert result["sparsity"] > 0.5
    rows = (tmp_path / "run" / "history.csv").read_text().splitlines()
    relative = float(rows[-1].split(",")[rows[0].split(",").index("relative_bitops")])
    assert 0.7 < relative < 0.9  # 0.793 of long cycles, Wolfe (2023), 6.3.2.


def test_a_wrong_precision_is_told_the_nearest(tmp_path, capsys):
    message = failed(capsys, *SMALL, "--precision", "CRR", "--out", tmp_path / "run")
    assert "precision must be one of 'RR', 'RTH'" in message


def test_the_range_of_precision(capsys, tmp_path):
    picture = tmp_path / "range.png"
    words = ["--data", "digits", "--model", "lenet300", "--q-max", "3", "--steps", "20"]
    assert main(["precision-range", *words, "--json", "--picture", str(picture)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["q_min"] in (2, 3)
    assert list(found["curve"]) == ["2", "3"]
    assert picture.stat().st_size > 1000
    config = RangeConfig()
    assert {name: option.default for name, option in RANGE_OPTIONS.items()} == vars(config)


@pytest.mark.thorough
def test_tables_in_a_pipe_are_as_wide_as_they_are():
    script = "import sys; from keras_sparse_cli.command import main; sys.exit(main())"
    words = [sys.executable, "-c", script, "list-methods"]
    variables = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=variables)
    lines = [line.split()[0] for line in done.stdout.splitlines()]
    assert lines == ["name", *METHODS, "precision", *SUITE, "pipeline", *STARTS, *PRUNINGS]


@pytest.mark.parametrize("after", [0.03, 0.1, 0.3, 1.0, 2.0])
def test_ctrl_c_while_everything_is_imported(tmp_path, after):
    script = (
        "import sys; from keras_sparse_cli.command import main; print(flush=True); sys.exit(main())"
    )
    words = [
        sys.executable,
        "-c",
        script,
        *SMALL,
        "--epochs",
        "5000",
        "--out",
        str(tmp_path / "run"),
    ]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        time.sleep(after)
        process.send_signal(signal.SIGINT)
        _, printed = process.communicate()
    assert process.returncode == 130, printed
    assert b"Traceback" not in printed
    assert b"Interrupted" in printed


def test_report_of_a_file(finished, capsys):
    path = str(finished / "model.keras")
    assert main(["report", path]) == 0
    printed = capsys.readouterr().out
    assert "80.00% of the prunable weights are zero" in printed
    assert main(["report", path, "--json"]) == 0
    counted = json.loads(capsys.readouterr().out)
    expected = ks.report(keras.saving.load_model(path)).to_dict()
    assert counted["nonzeros"] == expected["nonzeros"]
    assert [row["layer"] for row in counted["rows"]] == [row["layer"] for row in expected["rows"]]


def test_export_of_a_file(finished, tmp_path, capsys):
    path, sparse, dense = finished / "model.keras", tmp_path / "s.tflite", tmp_path / "d.tflite"
    assert main(["export", str(path), str(sparse)]) == 0
    assert "Equal to Keras on" in " ".join(capsys.readouterr().out.split())
    assert main(["export", str(path), str(dense), "--dense"]) == 0
    assert 2 * sparse.stat().st_size < dense.stat().st_size


def test_a_file_written_in_training(tmp_path, images, capsys):
    path = str(tmp_path / "model.keras")
    checkpoint = keras.callbacks.ModelCheckpoint(path)
    model = compiled(conv_net())
    with pytest.raises(KeyboardInterrupt):
        fit(model, images, ks.StaticMask(0.75, seed=1), checkpoint, Interrupt(2))
    assert isinstance(keras.saving.load_model(path).optimizer, SparseOptimizer)
    assert main(["report", path, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sparsity"] == pytest.approx(0.75, abs=1e-3)
    assert main(["export", path, str(tmp_path / "model.tflite")]) == 0


@pytest.mark.parametrize("command", ["report", "export"])
def test_files_that_are_no_models(tmp_path, finished, capsys, command):
    rest = [tmp_path / "out.tflite"] if command == "export" else []
    whole = (finished / "model.keras").read_bytes()
    assert "There is no file" in failed(capsys, command, tmp_path / "none.keras", *rest)
    cut = tmp_path / "cut.keras"
    cut.write_bytes(whole[: len(whole) // 2])
    assert "is not a whole .keras file" in failed(capsys, command, cut, *rest)
    other = tmp_path / "model.h5"
    other.write_bytes(whole)
    assert "is not a whole .keras file" in failed(capsys, command, other, *rest)
    damaged = bytearray(whole)
    damaged[200:260] = bytes(60)
    cut.write_bytes(damaged)
    assert "cannot be loaded: " in failed(capsys, command, cut, *rest)
    assert not (tmp_path / "out.tflite").exists()


def test_a_layer_that_only_its_author_knows(tmp_path, capsys):
    class Own(keras.layers.Dense):
        pass

    keras.Sequential([keras.Input((4,)), Own(3)]).save(tmp_path / "own.keras")
    message = failed(capsys, "report", tmp_path / "own.keras")
    assert "own.keras' cannot be loaded: Could not locate class 'Own'" in message
    assert "loaded in Python" in message


def test_a_model_with_nothing_to_prune(tmp_path, capsys):
    keras.Sequential([keras.Input((4,)), keras.layers.Rescaling(2.0)]).save(tmp_path / "m.keras")
    assert main(["report", str(tmp_path / "m.keras")]) == 2
    assert "error: " in capsys.readouterr().err


def test_export_where_it_cannot_be_written(finished, tmp_path, capsys):
    path = finished / "model.keras"
    assert "does not exist" in failed(capsys, "export", path, tmp_path / "none" / "m.tflite")
    assert "must end in '.tflite'" in failed(capsys, "export", path, tmp_path / "m.bin")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "adcd"], "Did you mean 'acdc'?"),
        (["--data", "minst"], "Did you mean 'mnist'?"),
        (["--sparsity", "95"], "For 95 % give 0.95."),
        (["--exclude", "conv9"], "Unknown layer in exclude: 'conv9'"),
        (["--epochs", "1"], "at least 2 epochs"),
        (["--resume"], "There is no run in"),
    ],
    ids=str,
)
def test_wrong_options_are_explained(tmp_path, capsys, options, message):
    assert message in failed(capsys, *SMALL, *options, "--out", tmp_path / "run")


def test_model_arguments(tmp_path, capsys):
    out = tmp_path / "run"
    options = ["--model-arg", "width=8", "--model-arg", "name=big"]
    message = failed(capsys, *SMALL, *options, "--out", out)
    assert "cannot be built with {'width': 8, 'name': 'big'}" in message
    assert not out.exists()
    with pytest.raises(SystemExit) as stopped:
        main([*SMALL, "--model-arg", "width", "--out", str(out)])
    assert stopped.value.code == 2
    assert "'width' is not NAME=VALUE" in capsys.readouterr().err


def test_debug_shows_where_an_error_comes_from(tmp_path):
    with pytest.raises(ValueError, match="Unknown method"):
        main([*SMALL, "--method", "adcd", "--debug", "--out", str(tmp_path / "run")])


def test_an_error_of_our_own_making_is_not_hidden(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise AttributeError("a mistake in the program")

    monkeypatch.setattr(runs, "train", broken)
    with pytest.raises(AttributeError, match="a mistake"):
        main([*SMALL, "--out", str(tmp_path / "run")])


def test_warnings_are_one_line_each(tmp_path, capsys, monkeypatch):
    def warn(*_, **__):
        import warnings

        warnings.warn("something odd", stacklevel=1)
        raise ValueError("enough")

    monkeypatch.setattr(runs, "train", warn)
    assert main([*SMALL, "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err == "warning: something odd\nerror: enough\n"


@pytest.mark.parametrize(
    "command",
    [
        [],
        *([name] for name in ("demo", "train", "report", "export", "shrink", "prune", "transfer")),
    ],
    ids=str,
)
def test_help(capsys, command):
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--help"])
    assert stopped.value.code == 0
    assert "usage: keras-sparse" in capsys.readouterr().out


def test_help_tells_the_truth(capsys):
    """The command line repeats names and defaults in order not to import Keras for them."""
    config = RunConfig(data="digits")
    stated = {name: option.default for name, option in OPTIONS.items()}
    actual = {name: getattr(config, name) for name in stated}
    assert stated | {"data": 0, "sparsity": 0} == actual | {"data": 0, "sparsity": 0}
    assert stated["data"] == RunConfig.data
    assert config.sparsity == 0.95
    assert set(RunConfig.__dataclass_fields__) == {*stated, "augment", "model_args"}
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for name in (*models.names(), "mnist", "cifar10", "digits", "0.95", "0.05"):
        assert name in text


@pytest.mark.parametrize(("option", "told"), [("--help", "usage:"), ("--version", "0.1.0")])
def test_help_comes_at_once(option, told):
    script = f"""
import sys
from keras_sparse_cli.command import main
sys.argv[1:] = [{option!r}]
try:
    main()
finally:
    heavy = {{"keras_sparse", "keras", "tensorflow", "matplotlib", "numpy"}} & set(sys.modules)
    assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert told in done.stdout


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip() == "0.1.0"


@pytest.fixture
def quick_demo(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "empty"))
    """A demonstration of seconds, on a machine with neither data nor network."""
    settings = {"digits": {"epochs": 3, "limit": 200, "model": "lenet300"}}
    monkeypatch.setattr(demo, "_SETTINGS", settings)
    monkeypatch.setattr(runs.data, "available", lambda name: name == "digits")
    monkeypatch.setattr(datasets, "_reachable", lambda *_: False)
    monkeypatch.setenv("COLUMNS", "100")
    return settings["digits"]


def test_demo(quick_demo, tmp_path, capsys, monkeypatch):
    out = tmp_path / "demo"
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "empty"))
    assert main(["demo", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "MNIST is not on this machine" in printed
    assert "Using the embedded 'digits' instead" in printed
    assert "dense epoch  3/3" in printed
    assert "AC/DC epoch  3/3" in printed
    result = json.loads((out / "result.json").read_text())
    assert result["data"] == "digits"
    assert result["sparsity"] == pytest.approx(0.95, abs=1e-3)
    assert result["sparse_bytes"] == (out / "acdc" / "model.tflite").stat().st_size
    assert result["dense_bytes"] == (out / "dense" / "model.tflite").stat().st_size
    assert 4 * result["sparse_bytes"] < result["dense_bytes"]
    for run, key in (("dense", "dense_accuracy"), ("acdc", "sparse_accuracy")):
        model = keras.saving.load_model(out / run / "model.keras")
        digits = ks.data.load("digits")
        assert model.evaluate(*digits.test, verbose=0)[1] == pytest.approx(result[key])
        assert f"{result[key]:.2%}" in printed
    assert result["seconds"] > 0
    assert (out / "curve.png").read_bytes().startswith(b"\x89PNG")
    for shown in ("nonzero weights", "inference FLOPs", "training FLOPs", ".tflite bytes, gzip"):
        assert shown in printed

    # A second time: nothing is trained, and the answer is the same.
    assert main(["demo", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("is finished and used again") == 2
    assert "dense epoch" not in printed
    assert "AC/DC epoch" not in printed
    assert json.loads((out / "result.json").read_text()) == result

    # With other settings: both are trained anew, and what else lies there is left alone.
    (out / "dense" / "notes.txt").write_text("mine")
    quick_demo["epochs"] = 2
    assert main(["demo", "--out", str(out)]) == 0
    assert "trained anew (it was begun with other settings)" in capsys.readouterr().out
    assert json.loads((out / "result.json").read_text())["runs"]["acdc"]["epochs"] == 2
    assert (out / "dense" / "notes.txt").read_text() == "mine"


@pytest.mark.thorough
def test_demo_goes_on_after_an_interruption(quick_demo, tmp_path, capsys, monkeypatch):
    out = tmp_path / "demo"
    with monkeypatch.context() as patch:
        interrupt(patch, 1, 0)
        assert main(["demo", "--out", str(out)]) == 130
    assert f"To go on: keras-sparse demo --out {out}" in capsys.readouterr().err
    assert main(["demo", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert f"The dense run in {out / 'dense'} is gone on with." in printed
    assert "dense epoch  1/3" not in printed
    assert "dense epoch  2/3" in printed
    assert (out / "result.json").exists()


@pytest.mark.thorough
def test_demo_afresh(quick_demo, tmp_path, capsys):
    config = RunConfig(data="digits", method="dense", **quick_demo)
    (tmp_path / "dense").mkdir()
    (tmp_path / "dense" / "config.json").write_text(config.to_json())
    (tmp_path / "dense" / "result.json").write_text('{"accuracy": 2}')
    console = demo.Console(quiet=True)
    assert demo.demo(tmp_path, fresh=True, console=console)["dense_accuracy"] <= 1


def test_settings_of_the_demo_are_valid():
    for name, settings in demo._SETTINGS.items():
        for method in ("dense", "acdc"):
            assert RunConfig(data=name, method=method, **settings).model == "lenet5"


def test_comparison_leaves_out_flops_that_are_not_known():
    run = {"method": "acdc", "accuracy": 0.5, "sparsity": 0.9, "nonzeros": 10, "seconds": 1.0}
    run |= {"tflite_bytes": 5, "tflite_gzip_bytes": 4}
    labels = []
    for flops in (4.2e6, None):
        known = run | {"training_flops": flops, "inference_flops": flops}
        labels.append(set(demo.comparison(known, known).columns[0].cells))
    assert labels[0] - labels[1] == {"training FLOPs", "inference FLOPs"}
    assert {"test accuracy", "nonzero weights", ".tflite bytes"} < labels[1]
