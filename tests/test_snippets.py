"""The snippets of the README, the documentation and the docstrings run as written, and learn.

Data sets are cut to some images (`keras_sparse.data.load` has a limit), which changes no text. What
a docstring calls `model`, `x`, `y` and the like is prepared here: a compiled network, and data that
it can learn.
"""

import ast
import importlib
import re
import shlex
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_sparse as ks
from keras_sparse.sparsity.selection import select
from keras_sparse_cli.options import make_parser
from tests.training import compiled

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
IMAGES = 2_000


def blocks(text, language):
    return [textwrap.dedent(code) for _, kind, code in BLOCK.findall(text) if kind == language]


@pytest.fixture
def histories(tmp_path, monkeypatch):
    """Runs in an empty folder on small data; gives the history of each `fit`."""
    monkeypatch.chdir(tmp_path)
    load, train, found = ks.data.load, keras.Model.fit, []

    def load_some(name, **arguments):
        return load(name, **{"limit": IMAGES, **arguments})

    def fit(self, *arguments, **named):
        history = train(self, *arguments, **{"verbose": 0, **named})
        found.append(history.history)
        return history

    monkeypatch.setattr(ks.data, "load", load_some)
    monkeypatch.setattr(keras.Model, "fit", fit)
    return found


def run(code, names):
    exec(compile(code, "snippet", "exec"), names)
    return names


def zeros(model):
    kernels = [np.asarray(v) for v in model.trainable_variables if v.name == "kernel"]
    return float(np.mean(np.concatenate([kernel.ravel() for kernel in kernels]) == 0))


@pytest.fixture(scope="module")
def readme():
    return (ROOT / "README.md").read_text("utf-8")


@pytest.mark.slow
def test_the_readmes_ten_lines_learn(readme, prepared, histories, tmp_path, capsys):
    run(blocks(readme, "python")[0], {})
    (history,) = histories
    assert history["val_accuracy"][-1] > 0.9, f"on {IMAGES} of 60,000 images"
    assert "95.00% of the prunable weights are zero" in capsys.readouterr().out
    assert (tmp_path / "m.keras").exists()
    assert (tmp_path / "m.tflite").stat().st_size < 400_000


@pytest.mark.slow
def test_the_readmes_own_method_prunes(readme, histories, images):
    method = run(blocks(readme, "python")[3], {"__name__": "snippet"})["TaylorPruning"]
    model = network()
    model.fit(*images, epochs=20, callbacks=[method(0.8, ks.Polynomial(every="1ep"))])
    assert histories[0]["accuracy"][-1] > 0.9
    assert zeros(model) > 0.5


@pytest.mark.slow
def test_the_readmes_worker_learns(readme, histories, monkeypatch, images):
    """As the only one: with several, the tests of `ks.distribute` run it."""
    monkeypatch.setattr(ks.distribute, "connect", ks.distribute.alone)
    names = {"ks": ks, "keras": keras, "compiled_model": network}
    model = run(blocks(readme, "python")[1], names | dict(zip("xy", images, strict=True)))["model"]
    assert histories[0]["accuracy"][-1] > 0.9
    assert zeros(model) > 0.5


@pytest.mark.slow
def test_the_readmes_pruned_network_is_mended(readme, histories, images, capsys):
    x, y = images
    names = run(blocks(readme, "python")[2], {"ks": ks, "model": network(), "x": x, "y": y})
    assert "Logits by inputs" in capsys.readouterr().out
    assert zeros(names["model"]) == pytest.approx(0.9, abs=0.01)


def test_the_readmes_commands_are_understood(readme):
    lines = [line for block in blocks(readme, "sh") for line in block.splitlines()]
    commands = [shlex.split(line, comments=True)[1:] for line in lines if "keras-sparse" in line]
    assert len(commands) == 13
    for words in commands:
        make_parser().parse_args(words)


@pytest.mark.parametrize("page", ["README.md", "docs/measured.md"])
def test_files_that_a_page_names_are_there(page):
    text = (ROOT / page).read_text("utf-8")
    links = [(ROOT / page).parent / link for link in re.findall(r"\]\(([^)#:]+)[)#]", text)]
    named = [ROOT / path for path in re.findall(r"(?:benchmarks|examples|tests)/\w+\.py", text)]
    assert len(links) > 10
    assert not [path for path in links + named if not path.exists()]


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", ["checkpoints", "own_loops", pytest.param("precision", marks=pytest.mark.thorough)]
)
def test_a_page_of_the_documentation_runs_in_order(page, histories, capsys):
    names = {}
    for code in blocks((ROOT / "docs" / f"{page}.md").read_text("utf-8"), "python"):
        run(code, names)
    printed = re.findall(r"'accuracy': ([\d.]+)", capsys.readouterr().out)
    assert len(printed) == {"checkpoints": 3, "own_loops": 2, "precision": 2}[page]
    assert min(map(float, printed)) > 0.9
    assert zeros(names["model"]) > 0.7


@pytest.mark.slow
@pytest.mark.thorough
def test_the_page_on_tuning_is_right(histories, tmp_path, capsys):
    pytest.importorskip("optuna")
    names = {}
    for code in blocks((ROOT / "docs" / "tuning.md").read_text("utf-8"), "python"):
        run(code, names)
    printed = re.findall(r"'accuracy': ([\d.]+)", capsys.readouterr().out)
    assert len(printed) == 1
    assert min(map(float, printed)) > 0.85
    for name in ("pareto.png", "batch_sizes.png"):
        assert (tmp_path / name).stat().st_size > 10_000
    assert all(row.steps for row in names["table"].rows)


@pytest.mark.slow
def test_the_page_on_smaller_models_is_right(histories, tmp_path, capsys):
    names = {}
    for code in blocks((ROOT / "docs" / "structured.md").read_text("utf-8"), "python"):
        run(code, names)
    assert histories[1]["accuracy"][-1] > 0.9
    assert names["smaller"].count_params() < 0.7 * names["model"].count_params()
    assert len(names["by_part"].kept["inner"]) == 8
    assert list(names["by_part"].skipped)
    assert "'accuracy'" in capsys.readouterr().out
    assert (tmp_path / "pretraining.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_page_on_graphs_is_right(histories, tmp_path, capsys):
    names = {}
    for code in blocks((ROOT / "docs" / "graphs.md").read_text("utf-8"), "python"):
        run(code, names)
    printed = re.findall(r"'accuracy': ([\d.]+)", capsys.readouterr().out)
    assert len(printed) == 3
    assert min(map(float, printed)) > 0.6  # chance is a fifth
    for name in ("wide.keras", "by_cost.png"):
        assert (tmp_path / name).stat().st_size > 10_000


def test_the_page_on_streams_learns(histories, capsys):
    names = {}
    for code in blocks((ROOT / "docs" / "streaming.md").read_text("utf-8"), "python"):
        run(code, names)
    printed = re.findall(r"'accuracy': ([\d.]+)", capsys.readouterr().out)
    assert len(printed) == 3
    assert min(map(float, printed)) > 0.75
    assert zeros(names["sparse"].model) > 0.85


@pytest.mark.slow
@pytest.mark.thorough
def test_the_page_on_pruning_after_training_keeps_what_it_says(histories, tmp_path):
    one_shot, hurting, as_far = blocks((ROOT / "docs" / "one_shot.md").read_text("utf-8"), "python")
    names = run(one_shot, {})
    model, digits = names["model"], names["digits"]
    assert zeros(model) == pytest.approx(0.9, abs=0.01)
    assert model.evaluate(*digits.test, verbose=0)[1] > 0.9
    run(hurting, names)
    assert len(names["found"].rows) == 3
    assert (tmp_path / "sensitivity.png").stat().st_size > 10_000
    run(as_far, names)
    assert names["found"].met
    assert names["found"].sparsity > 0.5


@pytest.mark.slow
def test_the_page_on_networks_that_do_not_train_is_right(histories, tmp_path, capsys):
    names = {}
    for code in blocks((ROOT / "docs" / "not_training.md").read_text("utf-8"), "python"):
        run(code, names)
    said = capsys.readouterr().out
    blocked = float(re.search(r"random mask: ([\d.]+)", said)[1])
    cured = [float(accuracy) for accuracy in re.findall(r"'accuracy': ([\d.]+)", said)]
    assert blocked < 0.3 < 0.7 < min(cured)
    assert "Signals fade in" in said
    assert zeros(names["model"]) == pytest.approx(0.9, abs=0.01)
    assert (tmp_path / "signals.png").stat().st_size > 10_000


@pytest.mark.thorough
def test_the_page_on_transfer_learns(prepared, histories, tmp_path, capsys):
    names = {}
    for code in blocks((ROOT / "docs" / "transfer.md").read_text("utf-8"), "python"):
        run(code, names)
    printed = re.findall(r"'accuracy': ([\d.]+)", capsys.readouterr().out)
    assert len(printed) == 3
    assert min(map(float, printed)) > 0.7
    assert names["task"].backbone_sparsity == pytest.approx(0.8, abs=0.01)
    assert names["task"].history["iou"][-1] > 0.5
    assert {"memorization.png", "increase.png", "task.keras"} <= {
        p.name for p in tmp_path.iterdir()
    }


@pytest.mark.slow
def test_the_page_on_speed_is_right(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for code in blocks((ROOT / "docs" / "faster.md").read_text("utf-8"), "python"):
        exec(code, {})


@pytest.fixture
def small_files(histories):
    """What the page on small files has made before it comes to ONNX."""
    codes = blocks((ROOT / "docs" / "files.md").read_text("utf-8"), "python")
    return run(codes[0], {}), codes[1:]


@pytest.mark.slow
def test_the_page_on_small_files_is_right(capsys, small_files, histories):
    said = capsys.readouterr().out.replace(",", "")
    ((written, dense),) = re.findall(r"(\d+) bytes; its tensors have (\d+)", said)
    assert int(written) < 0.15 * int(dense)
    assert histories[0]["accuracy"][-1] > 0.9


@pytest.mark.slow
def test_the_page_on_onnx_is_right(small_files, capsys):
    pytest.importorskip("tf2onnx")
    names, codes = small_files
    for code in codes:
        run(code, names)
    assert names["report"].gzip_bytes < 0.4 * names["report"].bytes
    assert "Equal to Keras on 64 given samples" in " ".join(capsys.readouterr().out.split())


@pytest.fixture
def of_tfmot(tmp_path):
    """A model that tfmot pruned, in the folder that a snippet runs in."""
    with zipfile.ZipFile(ROOT / "tests" / "migrate" / "files.zip") as archive:
        (tmp_path / "pruned.h5").write_bytes(archive.read("sequential.h5"))
        with archive.open("sequential.npz") as stored, np.load(stored) as data:
            return {"x": data["x0"], "y": data["y"].argmax(1)}


@pytest.mark.slow
def test_the_page_on_tfmot_is_right(histories, of_tfmot):
    names = dict(of_tfmot)
    for code in blocks((ROOT / "docs" / "tfmot.md").read_text("utf-8"), "python"):
        run(code, names)
    assert zeros(names["model"]) == pytest.approx(0.6, abs=0.01)
    assert histories[0]["loss"][-1] < histories[0]["loss"][0]


PLAIN = """
import keras, sys
try:
    keras.saving.load_model("last.keras")
except TypeError as error:
    print(error)
print(type(keras.saving.load_model("last.keras", compile=False)).__name__)
print(keras.saving.load_model("model.keras").optimizer.name)
print("keras_sparse" in sys.modules)
"""


def test_files_load_without_the_package_as_the_page_says(histories, tmp_path):
    page = (ROOT / "docs" / "checkpoints.md").read_text("utf-8")
    run(blocks(page, "python")[0], {})
    done = subprocess.run(
        [sys.executable, "-c", PLAIN], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    (said,) = blocks(page, "text")
    assert " ".join(said.split()).removeprefix("TypeError: ") in " ".join(done.stdout.split())
    assert done.stdout.split()[-3:] == ["Functional", "adam", "False"]


def network():
    """Compiled, learnable in a few epochs, and with names that docstrings use."""
    hidden = [layers.Dense(24, "relu", name=name) for name in ("stage1_dense", "stage2_dense")]
    first = [layers.Dense(24, name="conv1"), layers.BatchNormalization(), layers.ReLU()]
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Flatten(), *first, *hidden, layers.Dense(4, name="logits")]
    )
    return compiled(model, keras.optimizers.Adam(0.01))


# Of these a run takes a while, or processes of its own; tests of the same rooms run what they say.
RUN_ELSEWHERE = (
    "cli",
    "distribute.launch",
    "experiments",
    "methods",
    "migrate.tfmot",
    "plots.mask_image",
    "posttrain",
    "sparsity.partition",
)

# These train for a while; tests of the same rooms run what they say.
LONG = (
    "distribute.communicator",
    "engine.early_stopping",
    "engine.plain_checkpoint",
    "graphs.gist",
    "graphs.rivals",
    "plots.runs",
    "precision.critical_period",
    "precision.range_test",
    "precision.scheduler",
    "structured.group_lasso",
)


def docstrings():
    """Every Python snippet of a docstring, with its module."""
    for path in sorted((ROOT / "keras_sparse").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if _stands_in(module, RUN_ELSEWHERE):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                for code in blocks(ast.get_docstring(node) or "", "python"):
                    marks = [pytest.mark.thorough] * _stands_in(module, LONG)
                    yield pytest.param(module, code, id=f"{module}.{node.name}", marks=marks)


def _stands_in(module, rooms):
    return module.removeprefix("keras_sparse.").startswith(rooms)


def a_run(names):
    Path("run").mkdir()
    names["write_history"]({"val_accuracy": [0.5, 0.7]}, "run/history.csv")
    return {}


def selection_of(names):
    return {"selection": select(names["model"]), "Rule": ks.Rule}


def a_loop(names):
    return {
        "batches": [(names["x"], names["y"])] * 3,
        "loss_function": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "optimizer": keras.optimizers.Adam(),
    }


def two_layers(names):
    """A network of two layers, and what they make of the samples for one output."""
    hidden, head = layers.Dense(120, "relu", name="relu_1"), layers.Dense(4)
    model = compiled(keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), hidden, head]))
    x = names["x"].reshape(len(names["x"]), -1)
    seen, weights = np.asarray(hidden(x)), np.asarray(head.kernel)[:, 0]
    return {"model": model, "hidden": seen, "kernel": weights, "bias": [0.1]}


def a_hidden_layer(names):
    kernel, *_ = two_layers(names)["model"].get_weights()
    x = names["x"].reshape(len(names["x"]), -1)
    return {"x": x, "kernel": kernel, "weights": np.linspace(-1, 1, kernel.shape[1])}


def trained_in_rounds():
    """A training in rounds, and what it is given."""
    graph = ks.graphs.load("synthetic-sbm", nodes=200)
    network = ks.graphs.gcn(graph.num_features, graph.num_classes, (8,), layer_norm=True)
    gist = ks.graphs.GIST(network, 2, 25)
    gist.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), ["accuracy"])
    loaders = [ks.graphs.FullGraph(graph, "gcn", split) for split in ("train", "validation")]
    return {"gist": gist, "loader": loaders[0], "validation": loaders[1]}


def uncompiled(names):
    return {"model": keras.Sequential.from_config(names["model"].get_config())}


def searched(names):
    def build_model(hp):
        rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
        model = network()
        model.optimizer.learning_rate = rate
        return model

    model = ks.tuning.SparseHyperModel(build_model, ["gmp"], sparsity=0.5)
    return {"build_model": build_model, "hypermodel": model, "layers": layers}


def studied(names):
    """A network without its loss, and a study of it."""

    def build():
        return keras.models.clone_model(names["model"])

    x, y = names["x"], names["y"]
    study = ks.tuning.BatchSizeStudy(
        build,
        (x, y, x, y),
        optimizer="sgd",
        sparsities=(0.0,),
        batch_sizes=(32,),
        goal_error=0.5,
        check_every=4,
        max_steps=40,
        n_trials=1,
        search_space={"learning_rate": ks.tuning.LogUniform(0.01, 0.1)},
        directory="studied",
    )
    study.run()
    return {"network": build, "study": study}


def a_sparse_model(names):
    """Pruned, and a dense one with it that the reader has as well."""
    ks.prune(names["model"], 0.5, exclude="logits")
    x, y, dense = names["x"], names["y"], network()
    features = {"features": np.reshape(x, (len(x), -1)), "labels": y, "y_test": y}
    tests = {"test_features": features["features"], "test_labels": y}
    models = {"sparse_model": names["model"], "sparse": names["model"], "dense": dense}
    fit = {"x": x, "y": y, "epochs": 1, "verbose": 0}
    return {**features, **tests, **models, "teacher": dense, "fit": fit}


def random_labels(names):
    """Samples enough that a thousand can have random labels."""
    x, y = (np.repeat(names[name], 12, axis=0) for name in "xy")
    labels = ks.inject_random_labels(y)
    monitor = ks.MemorizationMonitor(x, labels)
    return {"x_train": x, "y_train": y, "labels": labels, "x": x, "y": y, "monitor": monitor}


def with_filters(names):
    return {"model": keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(4, 3)])}


# What stands in a module's docstrings for something of the reader's own, beside model and data.
OF_THE_READERS_OWN = {
    **dict.fromkeys(
        (
            "agreement_report",
            "distillation",
            "features",
            "full",
            "heads",
            "linear",
            "logistic_regression",
            "lth_transfer",
        ),
        a_sparse_model,
    ),
    "memorization": random_labels,
    "transfer": random_labels,
    "pruned_filters": with_filters,
    "agreement": lambda names: {"sparse_model": names["model"], "dense_model": network()},
    "grow_and_prune": lambda names: {"a": np.eye(4), "b": np.ones(4), "start": np.zeros(4)},
    "critical_period": lambda names: {"build": lambda steps: network()},
    "communicator": lambda names: {"build": network},
    "runs": a_run,
    "sparse_optimizer": selection_of,
    "prune_wrapper": a_loop,
    "own_loop": a_loop,
    "rounds": lambda names: trained_in_rounds(),
    "hull": lambda names: {"phi": np.eye(9), "labels": np.ones(9)},
    "pretraining": lambda names: {"steps": [0, 1], "losses": [1, 0.5]},
    "distributed_selection": a_hidden_layer,
    "greedy_forward_selection": two_layers,
    "i_spasp": two_layers,
    "layer_selection": two_layers,
    "pretraining_probe": two_layers,
    "pursuit": two_layers,
    **dict.fromkeys(("streaming_learner", "streaming_dataset", "fine_tuning"), uncompiled),
    **dict.fromkeys(("hyper_model", "tuner", "optuna_sweep", "oracles"), searched),
    **dict.fromkeys(("study", "fixed_rule"), studied),
    "two_layer": two_layers,
    "unit_selection": two_layers,
}


@pytest.mark.slow
@pytest.mark.parametrize(("module", "code"), list(docstrings()))
def test_docstrings_run(module, code, histories, images, monkeypatch):
    monkeypatch.setattr(ks.distribute, "connect", ks.distribute.alone)
    x, y = images
    model = network()
    names = {
        **vars(importlib.import_module(module)),
        **{"ks": ks, "keras": keras, "np": np, "tf": tf, "model": model, "loss": model.loss},
        **{"x": x, "y": y, "x_train": x, "y_train": y, "x_test": x, "val": images, "test": images},
    }
    names |= OF_THE_READERS_OWN.get(module.rpartition(".")[2], lambda names: {})(names)
    run(code, names)
    for history in histories:
        if len(history["loss"]) > 4:
            assert history["loss"][-1] < history["loss"][0]
