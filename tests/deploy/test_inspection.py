"""What is read from a LiteRT file, against what was written into it."""

import json
from collections import Counter

import keras
import numpy as np
import pytest
from keras import layers

import keras_sparse as ks
from keras_sparse import cli, deploy
from tests.deploy.pruned import operators, perceptron, prune


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A file with a convolution, a Dense kernel in blocks and one without zeros."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(8, 3),
            layers.Flatten(),
            layers.Dense(16, activation="relu"),
            layers.Dense(5),
        ]
    )
    prune(model, 0.9, block=1)
    blocks = np.repeat(np.random.default_rng(0).random((72, 16)) < 0.1, 4, axis=0)
    model.layers[2].kernel.assign(model.layers[2].kernel.numpy() * 0 + blocks)
    model.layers[3].kernel.assign(np.ones((16, 5)))
    path = tmp_path_factory.mktemp("file") / "model.tflite"
    deploy.to_litert(model, path)
    return path, model


def test_each_weight_has_its_zeros_and_its_encoding(file):
    path, model = file
    found = {row.shape: row for row in deploy.inspect(path).tensors}
    conv, first, last = (model.layers[i].kernel.numpy() for i in (0, 2, 3))
    assert found[(8, 3, 3, 3)].encoding == "sparse unstructured"
    assert found[(8, 3, 3, 3)].densify
    assert found[(16, 288)].encoding == "sparse block 1x4"
    assert not found[(16, 288)].densify
    assert found[(5, 16)].encoding == "dense"
    for row, kernel in zip((found[(8, 3, 3, 3)], found[(16, 288)]), (conv, first), strict=True):
        assert row.nonzeros == np.count_nonzero(kernel)
        assert (row.dtype, row.quantization) == ("float32", "none")
    assert found[(5, 16)].bytes == last.nbytes


def test_totals_are_those_of_the_file(file):
    path, _ = file
    found = deploy.inspect(path)
    assert found.bytes == path.stat().st_size
    assert found.operations == dict(Counter(operators(path)))
    assert found.densify_ops == 1
    assert found.size == 8 * 27 + 16 * 288 + 5 * 16
    assert sum(row.bytes for row in found.tensors) < found.bytes
    assert list(found.signatures) == ["serving_default"]
    assert json.loads(json.dumps(found.to_dict()))["sparsity"] == found.sparsity


def test_weights_of_eight_bits_are_counted_as_they_are_stored(tmp_path):
    import tensorflow as tf

    model = prune(perceptron(64, 64), 0.8)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    path = tmp_path / "int8.tflite"
    path.write_bytes(converter.convert())
    row = next(row for row in deploy.inspect(path).tensors if row.shape == (64, 64))
    assert (row.dtype, row.bytes) == ("int8", 64 * 64)
    assert row.quantization in ("per tensor", "per channel")
    assert row.sparsity >= np.mean(model.layers[0].kernel.numpy() == 0)


def test_a_wholly_pruned_weight_has_no_bytes_of_values(tmp_path):
    model = perceptron(64, 64)
    model.layers[0].kernel.assign(np.zeros((64, 64)))
    path = tmp_path / "empty.tflite"
    with pytest.warns(ks.SparsityWarning, match="all outputs"):
        deploy.to_litert(model, path)
    row = {row.shape: row for row in deploy.inspect(path).tensors}[(64, 64)]
    assert (row.nonzeros, row.sparsity) == (0, 1)
    assert row.encoding.startswith("sparse")
    assert row.bytes < 4 * (64 + 1 + 1)


@pytest.mark.parametrize("part", [0.02, 0.3, 0.5, 0.7, 0.9, 0.97, 0.999])
def test_a_file_that_is_cut_off_is_refused(file, tmp_path, part):
    contents = file[0].read_bytes()
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(contents[: int(len(contents) * part)])
    with pytest.raises(ValueError, match=r"cut off|no LiteRT file"):
        deploy.inspect(cut)


@pytest.mark.parametrize("contents", [b"", b"PK\x03\x04 a zip file", b"\0" * 100])
def test_another_file_is_refused(tmp_path, contents):
    path = tmp_path / "other.tflite"
    path.write_bytes(contents)
    with pytest.raises(ValueError, match="no LiteRT file"):
        deploy.inspect(path)
    with pytest.raises(FileNotFoundError, match="There is no file"):
        deploy.inspect(tmp_path / "missing.tflite")


def test_the_command_prints_a_table_and_json(file, capsys):
    path, _ = file
    assert cli.main(["inspect", str(path)]) == 0
    assert "DENSIFY" in capsys.readouterr().out
    assert cli.main(["inspect", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bytes"] == path.stat().st_size
    assert cli.main(["inspect", str(path.parent / "missing.tflite")]) == 2
