"""The `transfer` and `compare-transfer` commands: what they leave, and what they refuse."""

import json

import keras
import numpy as np
import pytest
from keras import layers

import keras_sparse as ks
from keras_sparse import data
from keras_sparse.cli import main
from keras_sparse.experiments import transfer_run as runs
from keras_sparse.experiments.transfer_config import (
    TransferRunConfig,
    load_task,
    read_task,
)
from keras_sparse.experiments.transfer_summary import (
    accuracy_table,
    comparison,
    increase_table,
    upstream_table,
)
from keras_sparse.experiments.transferring import TransferConfig
from keras_sparse_cli.options import COMPARE_TRANSFER_OPTIONS, TRANSFER_OPTIONS


@pytest.fixture(scope="module")
def sparse(tmp_path_factory):
    """A sparse model of seven classes in a file."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Flatten(),
            layers.Dense(24, activation="relu", name="hidden"),
            layers.Dense(7, activation="softmax", name="top"),
        ]
    )
    ks.prune(model, 0.5, exclude="top")
    path = tmp_path_factory.mktemp("sparse") / "sparse.keras"
    model.save(path)
    return path


def transfer(*words):
    return main(["transfer", *map(str, words), "--data", "digits", "--images", "300"])


def test_a_plain_file_and_its_numbers(sparse, tmp_path, capsys):
    out, numbers = tmp_path / "task.keras", tmp_path / "task.json"
    words = ("--epochs", 4, "--learning-rate", 0.05, "--json", numbers)
    assert transfer(sparse, out, *words) == 0
    result = json.loads(numbers.read_text())
    assert f"{result['accuracy']:.2%}" in capsys.readouterr().out
    model = keras.saving.load_model(out)
    kernels = [m.get_layer("hidden").kernel for m in (keras.saving.load_model(sparse), model)]
    assert np.array_equal(*(kernel.numpy() == 0 for kernel in kernels))
    assert result["sparsity"]["backbone"] == pytest.approx(0.5, abs=1e-3)
    assert not model.compiled
    digits = data.load("digits")
    found = np.mean(model.predict(digits.x_test, verbose=0).argmax(-1) == digits.y_test)
    assert found == pytest.approx(result["accuracy"], abs=1e-6)
    assert found > 0.5


def test_a_head_alone(sparse, tmp_path, capsys):
    numbers = tmp_path / "numbers.json"
    words = ("--mode", "linear", "--solver", "lbfgs", "--test-images", 200)
    assert transfer(sparse, tmp_path / "task.keras", *words, "--json", numbers) == 0
    result = json.loads(numbers.read_text())
    assert result["l2"] > 0
    assert result["accuracy"] > 0.7
    assert "L2 penalty" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--mode", "half"), "mode must be one of"),
        (("--head", "tops"), "Unknown head"),
        (("--solver", "lbfgs", "--mode", "linear", "--features", "online"), "L-BFGS"),
        (("--normalize", 1, 0), "normalize must be two numbers"),
    ],
)
def test_what_cannot_be_is_explained_and_nothing_is_written(
    sparse, tmp_path, capsys, words, message
):
    assert transfer(sparse, tmp_path / "task.keras", *words) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_dense_model_is_refused_unless_it_is_meant(tmp_path, capsys):
    keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(3)]).save(
        tmp_path / "dense.keras"
    )
    words = (tmp_path / "dense.keras", "--mode", "linear", "--solver", "lbfgs")
    assert transfer(*words) == 2
    assert "is not sparse" in capsys.readouterr().err
    assert transfer(*words, "--dense") == 0
    assert (tmp_path / "dense_transferred.keras").exists()


def test_tasks():
    assert read_task("mnist") == ("mnist", None)
    assert read_task("cifar10:5-9") == ("cifar10", (5, 6, 7, 8, 9))
    assert read_task("mnist:4+7+9") == ("mnist", (4, 7, 9))
    task = load_task("digits:4+7+9", limit=60)
    assert (task.num_classes, len(task.y_train)) == (3, 60)
    digits = data.load("digits")
    assert np.array_equal(task.x_test, digits.x_test[np.isin(digits.y_test, (4, 7, 9))])
    assert set(task.y_test) == {0, 1, 2}
    for wrong in ("mnist:", "mnist:3", "mnist:a-b"):
        with pytest.raises(ValueError, match="two classes at least"):
            read_task(wrong)
    with pytest.raises(ValueError, match="classes of 'digits'"):
        load_task("digits:8-12")


SMALL = {
    "upstream": "digits:0-4",
    "tasks": ["digits:5-9"],
    "model": "small-conv",
    "epochs": 3,
    "transfer_epochs": 1,
    "ticket_epochs": 1,
    "images": 64,
    "transfer_images": 64,
    "test_images": 64,
}


@pytest.mark.thorough
@pytest.mark.parametrize(
    "method", ["acdc", "gmp", "snip", "woodfisher", "lth_t", "structured", "magnitude"]
)
def test_each_kind_of_upstream_method(tmp_path, method):
    (tmp_path / "dense").mkdir()
    (tmp_path / method).mkdir()
    dense = runs.transfer_run(SMALL, tmp_path / "dense")
    assert dense["sparsity"] == 0
    more = {"after": "dense"} if runs.begins_with_dense(method) else {}
    config = {**SMALL, "method": method, "sparsity": 0.5, **more}
    found = runs.transfer_run(config, tmp_path / method)
    if method == "structured":
        assert found["parameters"] <= 0.5 * dense["parameters"]
    else:
        assert found["sparsity"] == pytest.approx(0.5, abs=1e-3)
    assert set(found["tasks"]["digits:5-9"]) == {"linear", "lbfgs", "full"}


def test_of_str_the_threshold_is_searched_for(tmp_path):
    config = {**SMALL, "method": "str", "sparsity": 0.7, "modes": ["lbfgs"]}
    found = runs.transfer_run(config, tmp_path)
    assert found["sparsity"] == pytest.approx(0.7, abs=0.005)


def test_where_the_sparsity_of_str_leaps_the_nearest_is_taken(tmp_path, monkeypatch):
    config = {**SMALL, "method": "str", "sparsity": 0.7, "modes": ["lbfgs"]}
    monkeypatch.setattr(runs, "_APART", 0.0)
    monkeypatch.setattr(runs, "_TRAININGS", 6)
    monkeypatch.setattr(runs, "_FAR", 1.0)
    reached = []

    def watched(model, **arguments):
        reached.append(ks.report(model, **arguments))
        return reached[-1]

    monkeypatch.setattr(runs, "report", watched)
    found = runs.transfer_run(config, tmp_path)["sparsity"]
    tried = [each.sparsity for each in reached[:6]]
    assert found == min(tried, key=lambda sparsity: abs(sparsity - 0.7))
    assert len(set(tried)) > 1


def test_a_sparsity_that_str_does_not_come_to(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "_TRAININGS", 1)
    config = {**SMALL, "method": "str", "sparsity": 0.97, "epochs": 1}
    with pytest.raises(RuntimeError, match="Train for more epochs, or leave STR out"):
        runs.transfer_run(config, tmp_path)


def test_tables_of_results():
    def run(accuracy):
        tasks = {"digits:5-9": {"linear": {"best": accuracy, "last": accuracy, "seconds": 1.0}}}
        upstream = {"accuracy": 0.9, "sparsity": 0.5, "pruned_filters": 0.25, "parameters": 1200}
        return {**upstream, "upstream_seconds": 2.0, "tasks": tasks}

    results = {"dense": [run(0.8), run(0.8)], "acdc 50 %": [run(0.7), run(0.8)]}
    compared = comparison(results, {"dense": ("dense", 0.0), "acdc 50 %": ("acdc", 0.5)})
    assert increase_table(compared, "linear").rows == [("acdc 50 %", "+25.0", "+25.0")]
    assert accuracy_table(results, "linear").rows[1][:2] == ("acdc 50 %", "75.00 ± 7.07")
    assert upstream_table(results).rows[0][2:5] == ("50.0%", "25.0%", "1,200")


@pytest.mark.thorough
def test_the_command_leaves_tables_and_pictures(tmp_path, capsys):
    words = ["compare-transfer", "--methods", "magnitude", "--sparsity", "0.5", "--seeds", "1"]
    for name, value in {**SMALL, "modes": ["linear"]}.items():
        told = ",".join(value) if isinstance(value, list) else str(value)
        words += ["--" + name.replace("_", "-"), told]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "magnitude 50 %" in printed
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {
        "increase_linear.png",
        "results.json",
        "table.md",
    }
    text = (tmp_path / "out" / "table.md").read_text()
    assert "keras-sparse compare-transfer --methods magnitude --sparsity 0.5 --seeds 1" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--methods", "acdd"], "Did you mean 'acdc'?"),
        (["--methods", "acdc", "--sparsity", "95"], "[0, 1)"),
        (["--methods", "l0", "--sparsity", "0.9"], "comes to a sparsity of its own"),
        (["--methods", "acdc", "--tasks", "digit"], "Did you mean 'digits'?"),
        (["--methods", "acdc", "--modes", "half"], "modes must be one of"),
        (["--methods", "acdc", "--seeds", "0"], "seeds must be"),
    ],
)
def test_a_study_that_cannot_be_is_explained(tmp_path, capsys, words, message):
    assert main(["compare-transfer", *words, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "config"),
    [(TRANSFER_OPTIONS, TransferConfig()), (COMPARE_TRANSFER_OPTIONS, TransferRunConfig())],
)
def test_help_tells_the_truth(options, config):
    """The command line repeats names and defaults in order not to import Keras for them."""
    stated = {name: option.default for name, option in options.items()}
    assert stated == {name: getattr(config, name) for name in stated}


def test_a_network_without_filters_has_no_column_of_them():
    run = {"accuracy": 0.9, "sparsity": 0.0, "parameters": 9, "upstream_seconds": 1.0}
    with_filters, without = (
        upstream_table({"dense": [{**run, "pruned_filters": gone}]}) for gone in (0.1, None)
    )
    assert "filters gone" in with_filters.header
    assert "filters gone" not in without.header
