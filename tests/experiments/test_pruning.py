"""Pruning of trained classifiers from the command line."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from keras_sparse import data
from keras_sparse.cli import main
from keras_sparse.experiments.pruning import PruneConfig
from keras_sparse_cli.options import PRUNE_OPTIONS
from tests.training import kernels


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A classifier of digits with batch normalization, in a file."""
    keras.utils.set_random_seed(0)
    digits = data.load("digits")
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(16, 3, name="conv"),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax", name="top"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(*digits.train, epochs=10, verbose=0)
    path = tmp_path_factory.mktemp("trained") / "net.keras"
    model.save(path)
    return path


def prune(*words):
    return main(["prune", *map(str, words), "--data", "digits", "--samples", "300"])


@pytest.mark.filterwarnings("ignore:obc has fewer samples")
@pytest.mark.parametrize("method", ["obc", "woodfisher", "magnitude"])
def test_a_pruned_plain_file_and_its_numbers(trained, tmp_path, capsys, method):
    out, numbers = tmp_path / "pruned.keras", tmp_path / "numbers.json"
    words = "--method", method, "--sparsity", 0.8, "--json", numbers
    assert prune(trained, out, *words) == 0
    result = json.loads(numbers.read_text())
    model = keras.saving.load_model(out)
    zeros = np.mean(np.concatenate([kernel.ravel() for kernel in kernels(model)]) == 0)
    assert result["sparsity"]["after"] == pytest.approx(zeros) == pytest.approx(0.8, abs=1e-3)
    assert not model.compiled
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    accuracy = model.evaluate(*data.load("digits").test, verbose=0)[1]
    assert result["accuracy"]["pruned"] == pytest.approx(accuracy, abs=1e-6)
    assert accuracy > result["accuracy"]["before"] - 0.15
    assert result["keras_bytes"]["after"] == out.stat().st_size
    assert "80.0" in capsys.readouterr().out


def test_pattern_and_what_is_left_dense(trained, tmp_path):
    out = tmp_path / "pruned.keras"
    words = "--method", "wanda", "--granularity", "2:4", "--exclude", "conv"
    assert prune(trained, out, *words) == 0
    conv, top = kernels(keras.saving.load_model(out))
    assert np.count_nonzero(conv) == conv.size
    assert (np.count_nonzero(top.reshape(-1, 4, 10), axis=1) <= 2).all()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sparsity", 2], "sparsity must be"),
        ([], "A sparsity is needed"),
        (["--sparsity", 0.5, "--method", "obcc"], "'obc'"),
    ],
)
def test_bad_input(trained, capsys, words, said):
    assert prune(trained, *words) == 2
    assert said in capsys.readouterr().err
    assert not trained.with_name("net_pruned.keras").exists()


def test_other_classes(tmp_path, capsys):
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    model.save(tmp_path / "three.keras")
    assert prune(tmp_path / "three.keras", "--sparsity", 0.5) == 2
    assert "has 10 classes" in capsys.readouterr().err


def test_options_state_the_defaults():
    stated = {name: option.default for name, option in PRUNE_OPTIONS.items()}
    assert stated == {field.name: field.default for field in dataclasses.fields(PruneConfig)}
