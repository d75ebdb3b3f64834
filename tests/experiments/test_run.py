"""Runs in folders: what they leave, and that an interruption changes nothing.

All of it on scikit-learn's digits, which need no data on the machine.
"""

import dataclasses
import json
import os
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse import data
from keras_sparse.engine.backup import Backup
from keras_sparse.engine.sparse_optimizer import SparseOptimizer
from keras_sparse.experiments import run as runs
from keras_sparse.experiments.catalog import METHODS
from keras_sparse.experiments.config import RunConfig, read_config, read_result
from keras_sparse.experiments.run import train
from keras_sparse.plots import read_history
from tests.training import Interrupt, values

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="runs end with a LiteRT file"
)
SMALL = RunConfig(
    data="digits", model="lenet300", sparsity=0.8, epochs=5, limit=200, batch_size=32, seed=3
)
FILES = ["config.json", "curve.png", "history.csv", "model.keras", "model.tflite", "result.json"]
# Kept by the callback in Python, for the log alone: a resumed run knows less of its past masks.
NOT_RESUMED = {"seconds", "cpu_seconds", "acdc_mask_change", "acdc_dense_zero_fraction"}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A run that nothing disturbed."""
    out = tmp_path_factory.mktemp("reference") / "run"
    train(SMALL, out)
    return out


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def interrupted(out, *at, config=SMALL):
    with pytest.raises(KeyboardInterrupt):
        train(config, out, callbacks=[Interrupt(*at)])
    return out


def assert_equals(out, reference):
    """The same weights bit for bit, the same history, the same result."""
    one, other = (keras.saving.load_model(folder / "model.keras") for folder in (out, reference))
    for a, b in zip(one.variables, other.variables, strict=True):
        np.testing.assert_array_equal(np.array(a), np.array(b))
    for a, b in zip(one.optimizer.variables, other.optimizer.variables, strict=True):
        np.testing.assert_array_equal(np.array(a), np.array(b))
    history, wanted = (read_history(folder / "history.csv") for folder in (out, reference))
    assert list(history) == list(wanted)
    for name in set(wanted) - NOT_RESUMED:
        np.testing.assert_array_equal(history[name], wanted[name], err_msg=name)
    result, expected = (
        # Not bytes: files hold the names that Keras numbers through within a process.
        {k: v for k, v in read_result(folder).items() if not k.endswith(("seconds", "bytes"))}
        for folder in (out, reference)
    )
    assert result == expected
    assert names(out) == FILES


def test_a_run_leaves_its_files(reference):
    assert names(reference) == FILES
    result = read_result(reference)
    model = keras.saving.load_model(reference / "model.keras")
    digits = data.load("digits")
    loss, accuracy = model.evaluate(*digits.test, verbose=0)
    assert result["accuracy"] == pytest.approx(accuracy)
    assert result["loss"] == pytest.approx(loss, rel=1e-5)
    assert accuracy > 0.5
    report = ks.report(model)
    assert result["nonzeros"] == report.nonzeros
    assert result["sparsity"] == report.sparsity == pytest.approx(0.8, abs=1e-4)
    assert result["inference_flops"] == report.flops < 0.3 * result["dense_inference_flops"]
    assert result["training_flops"] < 0.9 * result["dense_training_flops"]
    assert result["dense_training_flops"] == 3 * report.dense_flops * 200 * 5
    assert result["tflite_bytes"] == (reference / "model.tflite").stat().st_size
    assert result["keras_bytes"] == (reference / "model.keras").stat().st_size
    assert not isinstance(model.optimizer, SparseOptimizer)
    assert int(np.array(model.optimizer.iterations)) == 5 * 7
    assert float(np.array(model.optimizer.learning_rate)) == pytest.approx(0, abs=1e-9)


def test_history_has_each_epoch_once(reference):
    history = read_history(reference / "history.csv")
    assert history["epoch"] == [1, 2, 3, 4, 5]
    assert history["acdc_phase"] == [0, 0, 0, 1, 1]
    assert [sparsity > 0.79 for sparsity in history["sparsity"]] == [
        False,
        False,
        False,
        True,
        True,
    ]
    assert (reference / "curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "at", [pytest.param((0, 2), marks=pytest.mark.thorough), (2, 3), (4, 6)], ids=str
)
def test_interrupted_and_resumed_equals_uninterrupted(reference, tmp_path, at):
    out = interrupted(tmp_path / "run", *at)
    assert read_result(out) is None
    assert not (out / "model.keras").exists()
    train(SMALL, out, resume=True)
    assert_equals(out, reference)


@pytest.mark.thorough
def test_interrupted_twice(reference, tmp_path):
    out = interrupted(tmp_path / "run", 1, 1)
    with pytest.raises(KeyboardInterrupt):
        train(SMALL, out, resume=True, callbacks=[Interrupt(3, 1)])
    train(SMALL, out, resume=True)
    assert_equals(out, reference)


def test_other_random_numbers_drawn_before_do_not_matter(reference, tmp_path):
    keras.random.normal((3,))
    np.random.default_rng().normal()
    train(SMALL, tmp_path / "run")
    assert_equals(tmp_path / "run", reference)


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted(reference, tmp_path):
    script = """
import os, signal, sys, keras
from keras_sparse.experiments.config import RunConfig
from keras_sparse.experiments.run import train

class Kill(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.now, batch) == (3, 4):
            os.kill(os.getpid(), signal.SIGKILL)

train(RunConfig.from_json(sys.argv[1]), sys.argv[2], callbacks=[Kill()])
"""
    out = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-c", script, SMALL.to_json(), str(out)], capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert names(out) == [".lock", "backup", "config.json"]  # Which locks nobody out.
    assert names(out / "backup") == ["epoch-00002.npz", "epoch-00003.npz"]
    # What it would have left, had it been killed while it wrote the next one.
    (out / "backup" / ".epoch-00004.npz.1a2b.tmp").write_bytes(b"PK")
    train(SMALL, out, resume=True)
    assert_equals(out, reference)


@pytest.mark.thorough
def test_interrupted_while_finishing(reference, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(runs, "to_litert", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(SMALL, out)
    assert read_result(out) is None
    train(SMALL, out, resume=True)
    assert_equals(out, reference)


def test_random_generators_of_layers_go_on(tmp_path):
    """Dropout's masks come from a state that weight files leave out."""

    def fit(folder, *callbacks, epochs=4):
        keras.utils.set_random_seed(1)
        layers = [keras.Input((64,)), keras.layers.Dropout(0.5), keras.layers.Dense(10)]
        model = keras.Sequential(layers)
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        backup = Backup(folder)
        digits = data.load("digits", flatten=True, limit=64)
        model.fit(
            *digits.train,
            shuffle=False,
            verbose=0,
            initial_epoch=backup.epoch,
            epochs=epochs,
            callbacks=[backup, *callbacks],
        )
        return model

    whole = fit(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "parts", Interrupt(2, 1))
    for a, b in zip(values(fit(tmp_path / "parts")), values(whole), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_damaged_backup_costs_one_epoch(reference, tmp_path):
    out = interrupted(tmp_path / "run", 3, 2)
    newest = out / "backup" / "epoch-00003.npz"
    contents = bytearray(newest.read_bytes())
    contents[len(contents) // 2] ^= 1
    newest.write_bytes(contents)
    with pytest.warns(UserWarning, match=r"epoch-00003\.npz \(Bad CRC-32"):
        train(SMALL, out, resume=True)
    assert_equals(out, reference)


def test_no_readable_backup_is_an_error_that_names_the_cure(reference, tmp_path):
    out = interrupted(tmp_path / "run", 3, 2)
    for backup in (out / "backup").iterdir():
        backup.write_bytes(backup.read_bytes()[:1000])
    before = {path: path.read_bytes() for path in (out / "backup").iterdir()}
    with pytest.raises(ValueError, match=r"No backup .* can be read: .*epoch-00003.*Delete"):
        train(SMALL, out, resume=True)
    assert {path: path.read_bytes() for path in (out / "backup").iterdir()} == before
    for backup in before:
        backup.unlink()
    train(SMALL, out, resume=True)
    assert_equals(out, reference)


def test_backup_of_another_architecture(tmp_path):
    out = interrupted(tmp_path / "run", 2, 2)
    other = dataclasses.replace(SMALL, model="lenet5")
    (out / "config.json").write_text(other.to_json())
    with pytest.raises(ValueError, match="of another architecture or method"):
        train(other, out, resume=True)


def test_another_configuration_is_named(tmp_path):
    out = interrupted(tmp_path / "run", 2, 2)
    other = dataclasses.replace(SMALL, epochs=9, method="gmp")
    message = r"method \('acdc' there, 'gmp' now\), epochs \(5 there, 9 now\)"
    with pytest.raises(ValueError, match=message):
        train(other, out, resume=True)
    assert read_config(out) == SMALL


def test_an_unfinished_run_is_not_overwritten(tmp_path):
    out = interrupted(tmp_path / "run", 2, 2)
    before = names(out / "backup")
    with pytest.raises(ValueError, match=r"already holds an unfinished run; --resume goes on"):
        train(SMALL, out)
    assert names(out / "backup") == before


def test_a_finished_run_is_not_overwritten(reference):
    before = {path: path.stat().st_mtime_ns for path in reference.iterdir()}
    with pytest.raises(ValueError, match="already holds a finished run; --resume shows"):
        train(SMALL, reference)
    assert train(SMALL, reference, resume=True) == read_result(reference)
    assert {path: path.stat().st_mtime_ns for path in reference.iterdir()} == before


def test_foreign_files_are_not_overwritten(tmp_path):
    (tmp_path / "model.keras").write_text("mine")
    (tmp_path / "notes.txt").write_text("mine too")
    with pytest.raises(ValueError, match=r"would be overwritten: model\.keras\. Move"):
        train(SMALL, tmp_path)
    assert names(tmp_path) == ["model.keras", "notes.txt"]


def test_nothing_to_resume(tmp_path):
    with pytest.raises(ValueError, match="There is no run in"):
        train(SMALL, tmp_path / "run", resume=True)
    assert names(tmp_path) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"epoch": 3}', '{"epochs": 0}'], ids=repr)
def test_a_damaged_configuration(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json' cannot be used: .*another folder"):
        read_config(tmp_path)


def test_an_unwritable_folder(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotADirectoryError, match="is a file"):
        train(SMALL, tmp_path / "file" / "run")
    # Not by permissions, which do not bind root.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match="not writable by this user"):
        train(SMALL, tmp_path / "run")
    assert names(tmp_path) == ["file"]


class Poison(keras.callbacks.Callback):
    """Makes a weight NaN at the beginning of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            bias = self.model.trainable_variables[-1]
            bias.assign(np.full(bias.shape, np.nan))


@pytest.mark.parametrize("method", ["acdc", "dense"])
def test_a_loss_that_is_not_a_number_loses_nothing(reference, tmp_path, method):
    config = dataclasses.replace(SMALL, method=method, sparsity=None if method == "dense" else 0.8)
    out = tmp_path / "run"
    with pytest.raises(FloatingPointError, match=r"keeps the state of 2 finished epochs.*0\.05"):
        train(config, out, callbacks=[Poison(2)])
    assert read_result(out) is None
    train(config, out, resume=True)
    if method == "acdc":
        assert_equals(out, reference)


@pytest.mark.parametrize(
    "method", ["dense", "rigl", "snip", pytest.param("woodfisher", marks=pytest.mark.thorough)]
)
def test_methods(tmp_path, method):
    sparse = method != "dense"
    config = dataclasses.replace(
        SMALL,
        method=method,
        epochs=2,
        sparsity=0.6 if sparse else None,
        granularity="unstructured",
    )
    result = train(config, tmp_path / "run")
    # Weights that grow on pixels that are always black never leave zero.
    assert (0.5999 if sparse else 0) <= result["sparsity"] < (0.62 if sparse else 1e-9)
    history = read_history(tmp_path / "run" / "history.csv")
    assert len(history["epoch"]) == 2
    while_training = sparse and METHODS[method].after is None
    assert ("sparsity" in history) == while_training
    if not while_training:
        assert result["training_flops"] == result["dense_training_flops"]


DENSE = dataclasses.replace(SMALL, method="dense", sparsity=None, epochs=2)


@pytest.fixture(scope="module")
def dense_run(tmp_path_factory):
    out = tmp_path_factory.mktemp("dense") / "run"
    train(DENSE, out)
    return out


def test_a_trained_model_is_pruned_instead_of_trained_again(dense_run, tmp_path):
    config = dataclasses.replace(DENSE, method="obd", sparsity=0.7)
    alone = train(config, tmp_path / "alone")
    given = train(config, tmp_path / "given", trained=dense_run)
    assert names(tmp_path / "given") == FILES
    assert read_history(tmp_path / "given" / "history.csv") == read_history(
        dense_run / "history.csv"
    )
    differing = {"seconds", "keras_bytes", "tflite_bytes", "tflite_gzip_bytes"}
    assert {k: v for k, v in given.items() if k not in differing} == {
        k: v for k, v in alone.items() if k not in differing
    }
    assert given["seconds"] > read_result(dense_run)["seconds"] - 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "gmp"}, "method='gmp'. Leave trained out"),
        ({"method": "magnitude", "epochs": 3}, r"epochs \(2 there, 3 now\)"),
    ],
    ids=str,
)
def test_a_trained_model_of_another_run_is_refused(dense_run, tmp_path, changes, message):
    config = dataclasses.replace(DENSE, sparsity=0.7, **changes)
    with pytest.raises(ValueError, match=message):
        train(config, tmp_path / "run", trained=dense_run)
    assert names(tmp_path) == []


def test_no_trained_model(tmp_path):
    config = dataclasses.replace(DENSE, method="magnitude", sparsity=0.7)
    with pytest.raises(ValueError, match="holds no finished run"):
        train(config, tmp_path / "run", trained=tmp_path)


def test_a_method_that_trains_for_one_shot_pruning(tmp_path):
    out = tmp_path / "run"
    config = dataclasses.replace(SMALL, method="cram", epochs=2, sparsity=0.6)
    result = train(dataclasses.replace(config, granularity="unstructured"), out)
    assert 0.5999 <= result["sparsity"] < 0.62
    assert max(read_history(out / "history.csv")["sparsity"]) < 0.02  # dense while it trains
    assert result["training_flops"] == pytest.approx(2 * result["dense_training_flops"])
    pattern = dataclasses.replace(config, sparsity=None, granularity="2:4")
    assert [operator.label for operator in pattern.callback().operators] == ["2:4"]


@pytest.mark.filterwarnings("ignore:.*is a dense file")
def test_a_method_without_a_sparsity(tmp_path):
    result = train(dataclasses.replace(SMALL, method="str", sparsity=None), tmp_path / "run")
    assert 0.01 < result["sparsity"] < 0.9
    with pytest.raises(ValueError, match="takes no sparsity"):
        dataclasses.replace(SMALL, method="str", sparsity=0.5)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_can_be_made(name):
    """Each prunes during training or after it; what it then does is tested with the method."""
    method = METHODS[name]
    config = dataclasses.replace(SMALL, method=name, sparsity=None)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(40)])
    model.compile(loss="mse")
    generator = np.random.default_rng(0)
    data = generator.normal(size=(64, 6)), generator.normal(size=(64, 40))
    callback = config.callback(data)
    for_one_shot = name in ("cram", "csam", "topk_plus", "sam")
    after_only = method.after is not None and not for_one_shot
    assert (callback is None) == (name == "dense" or after_only)
    config.prune_trained(model, data)
    pruned = np.mean(np.array(model.layers[0].kernel) == 0)
    assert pruned == pytest.approx(0.95 if method.after else 0)


def test_batch_norm_is_tuned_after_pruning(monkeypatch):
    tuned = []
    monkeypatch.setattr(
        "keras_sparse.experiments.config.batch_norm_tuning", lambda model, x: tuned.append(len(x))
    )
    config = dataclasses.replace(SMALL, method="magnitude")
    images, labels = np.zeros((4, 8, 8, 1), "float32"), np.zeros(4, "int32")
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    for layer in (keras.layers.Dense(3), keras.layers.BatchNormalization()):
        model.add(layer)
        config.prune_trained(model, (images, labels))
    assert tuned == [4]


def test_a_method_with_a_pattern_of_its_own(tmp_path):
    config = dataclasses.replace(SMALL, method="sr_ste", sparsity=None, keep_dense=("last",))
    result = train(config, tmp_path / "run")
    assert result["layers"]["dense1/kernel"] == pytest.approx(0.5)


def test_patterns_and_exclusions(tmp_path):
    config = dataclasses.replace(
        SMALL,
        granularity="2:4",
        sparsity=None,
        method="static",
        exclude=["dense2"],
        keep_dense=["last"],
        epochs=1,
    )
    assert config.sparsity is None
    assert config == RunConfig.from_json(config.to_json())
    assert train(config, tmp_path / "run")["sparsity"] == 0.5
    model = keras.saving.load_model(tmp_path / "run" / "model.keras")
    kernels = {
        name: np.array(model.get_layer(name).kernel) for name in ("dense1", "dense2", "logits")
    }
    assert {name: np.count_nonzero(kernel) for name, kernel in kernels.items()} == {
        "dense1": 64 * 300 / 2,
        "dense2": 300 * 100,
        "logits": 100 * 10,
    }


def test_model_arguments_reach_the_builder(tmp_path, monkeypatch):
    given = []

    def get(name, **kwargs):
        given.append((name, kwargs))
        raise TypeError("enough")

    monkeypatch.setattr(runs.models, "get", get)
    config = dataclasses.replace(SMALL, model="resnet20", model_args={"width": 8})
    with pytest.raises(ValueError, match="enough"):
        train(config, tmp_path / "run")
    shapes = {"input_shape": (8, 8, 1), "num_classes": 10}
    assert given == [("resnet20", {**shapes, "seed": 3, "width": 8})]


def test_a_model_that_does_not_take_an_argument(tmp_path):
    config = dataclasses.replace(SMALL, model_args={"width": 8})
    with pytest.raises(ValueError, match=r"'lenet300' cannot be built with \{'width': 8\}"):
        train(config, tmp_path / "run")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"data": "mnits"}, "'mnist'"),
        ({"model": "lenet"}, "Did you mean 'lenet5'"),
        ({"method": "acd"}, "Did you mean 'acdc'"),
        ({"sparsity": 95}, r"For 95 % give 0\.95"),
        ({"method": "dense", "sparsity": 0.5}, "'dense' prunes nothing"),
        ({"granularity": "2:4", "sparsity": 0.9}, "fixes the sparsity at 0.5"),
        ({"granularity": "blocks"}, "granularity must be"),
        ({"granularity": "0x4"}, "rows must be an integer of at least 1"),
        ({"allocation": "even"}, "allocation must be"),
        ({"keep_dense": ["frist"]}, "Did you mean 'first'"),
        ({"epochs": 0}, "epochs must be an integer of at least 1"),
        ({"epochs": 2.5}, "epochs must be an integer"),
        ({"batch_size": True}, "batch_size must be an integer"),
        ({"seed": -1}, "seed must be an integer of at least 0"),
        ({"limit": 0}, "limit must be an integer of at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be a number"),
        ({"learning_rate": float("nan")}, "learning_rate must be a number"),
        ({"momentum": 1.0}, r"momentum must be a number in \[0, 1\)"),
        ({"weight_decay": -1e-4}, "weight_decay must be a number in"),
    ],
    ids=str,
)
def test_a_wrong_configuration(wrong, message):
    with pytest.raises(ValueError, match=message):
        RunConfig(**{"data": "digits", **wrong})


def test_defaults():
    assert RunConfig(data="digits").sparsity == 0.95
    assert RunConfig(data="digits", method="dense").sparsity == 0.0
    assert RunConfig(data="digits", granularity="4x1").callback().recipe.granularity == ks.Block(
        4, 1
    )


def test_configuration_as_json():
    text = SMALL.to_json()
    assert RunConfig.from_json(text) == SMALL
    assert json.loads(text)["keep_dense"] == []


def test_other_backends_are_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="KERAS_BACKEND=tensorflow"):
        train(SMALL, tmp_path / "run")
    assert names(tmp_path) == []
