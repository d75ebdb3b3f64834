"""What a LiteRT file holds and computes, and what the report says of it."""

import gzip
import importlib.util
import io
import json
import os

import keras
import numpy as np
import pytest
from rich.console import Console

from keras_sparse import deploy
from keras_sparse.messages.warning import SparsityWarning
from tests.deploy.pruned import interpret, lenet, operators, perceptron, prune

# The tests' own interpreters; the package's say nothing.
pytestmark = pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")


@pytest.fixture
def images28():
    return np.random.default_rng(1).normal(size=(12, 28, 28, 1)).astype("float32")


@pytest.fixture
def pruned_lenet():
    return prune(lenet(), 0.95)


@pytest.mark.parametrize("default_delegates", [True, False])
def test_file_is_small_and_computes_what_keras_computes(
    tmp_path, pruned_lenet, images28, default_delegates
):
    path = tmp_path / "lenet.tflite"
    report = deploy.to_litert(pruned_lenet, path, inputs=images28)
    assert path.stat().st_size <= report.dense_bytes / 4
    expected = pruned_lenet.predict(images28, verbose=0)
    got = interpret(path, images28, default_delegates)
    np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())


def test_report_numbers_are_those_of_the_files(tmp_path, pruned_lenet, images28):
    path, dense_path = tmp_path / "sparse.tflite", tmp_path / "dense.tflite"
    report = deploy.to_litert(pruned_lenet, path, inputs=images28, tolerance=1e-3)
    dense = deploy.to_litert(pruned_lenet, dense_path, sparse=False, inputs=images28)
    contents, dense_contents = path.read_bytes(), dense_path.read_bytes()
    assert report.path == str(path)
    assert report.bytes == os.path.getsize(path) == len(contents)
    assert report.gzip_bytes == len(gzip.compress(contents, 9, mtime=0))
    # Names and identifiers inside a file differ by a few bytes from one conversion to the next.
    assert report.dense_bytes == pytest.approx(len(dense_contents), abs=64)
    assert report.dense_gzip_bytes == pytest.approx(len(gzip.compress(dense_contents, 9)), abs=200)
    assert report.ratio == report.dense_bytes / report.bytes
    assert dense.bytes == dense.dense_bytes == len(dense_contents)
    assert dense.ratio == 1
    assert (report.samples, report.synthetic, report.informative) == (12, False, True)
    modes = {f"CompiledModel {mode}" for mode in ("DELEGATE", "BUILTIN", "REFERENCE")}
    assert set(report.max_error) == {"default delegates", "built-in kernels"} | modes
    assert all(0 <= error <= 1e-4 for error in report.max_error.values())
    assert report.tolerance == 1e-3
    assert report.densify_ops == operators(path).count("DENSIFY") == 4
    assert dense.densify_ops == operators(dense_path).count("DENSIFY") == 0


def test_every_weight_is_listed_under_its_keras_name(tmp_path, pruned_lenet):
    report = deploy.to_litert(pruned_lenet, tmp_path / "m.tflite")
    rows = {row.variable: row for row in report.tensors}
    kernels = {w.path: w.numpy() for w in pruned_lenet.weights if w.name == "kernel"}
    assert set(rows) == set(kernels)
    for path, kernel in kernels.items():
        assert rows[path].nonzeros == np.count_nonzero(kernel)
        assert rows[path].sparsity == pytest.approx(np.mean(kernel == 0))
        assert np.prod(rows[path].shape) == kernel.size
        assert rows[path].encoding == "sparse unstructured"
        assert rows[path].densify
        values = np.count_nonzero(kernel) * 4
        assert values < rows[path].bytes < 2 * values + 4 * kernel.size / kernel.shape[-2]
    assert sum(row.bytes for row in report.tensors) < report.bytes


def test_dense_file_says_that_its_zeros_were_kept(tmp_path, pruned_lenet):
    report = deploy.to_litert(pruned_lenet, tmp_path / "m.tflite", sparse=False)
    assert {row.encoding for row in report.tensors} == {"dense"}
    assert {row.note for row in report.tensors} == {"exported with sparse=False"}
    assert [row.bytes for row in report.tensors] == [4 * np.prod(r.shape) for r in report.tensors]


def test_blocks_are_stored_as_blocks_and_need_no_densify(tmp_path):
    model = prune(perceptron(), 0.8, block=4)
    report = deploy.to_litert(model, tmp_path / "m.tflite")
    assert {row.encoding for row in report.tensors} == {"sparse block 1x4"}
    assert not any(row.densify for row in report.tensors)
    assert report.densify_ops == 0
    assert "DENSIFY" not in operators(tmp_path / "m.tflite")
    assert report.bytes < report.dense_bytes / 2


@pytest.mark.parametrize("inputs", [1, 3, 10])
def test_inputs_that_no_block_divides_are_not_truncated(tmp_path, inputs):
    # The converter alone writes a file here that computes wrongly.
    model = perceptron(inputs, units=256)
    kernel = model.layers[0].kernel.numpy()
    kernel[: inputs // 4 * 4] = 0
    kernel[:, ::5] = 0
    kernel[:, 1::5] = 0
    model.layers[0].kernel.assign(kernel)
    prune(keras.Sequential([model.layers[1]]), 0.9)
    x = np.random.default_rng(0).normal(size=(8, inputs)).astype("float32")
    report = deploy.to_litert(model, tmp_path / "m.tflite", inputs=x)
    first = next(row for row in report.tensors if row.variable.endswith("dense/kernel"))
    assert first.encoding == "dense"
    assert f"its {inputs} inputs are no multiple of 4" in first.note
    for default_delegates in (True, False):
        got = interpret(tmp_path / "m.tflite", x, default_delegates)
        np.testing.assert_allclose(got, model.predict(x, verbose=0), atol=1e-5)


def test_restored_weights_are_aligned(tmp_path):
    from tensorflow.lite.python import schema_py_generated as schema

    model = perceptron(3, units=256)
    kernel = np.zeros((3, 256), "float32")
    kernel[1, ::7] = 1
    model.layers[0].kernel.assign(kernel)
    prune(keras.Sequential([model.layers[1]]), 0.93)
    deploy.to_litert(model, tmp_path / "m.tflite")
    contents = (tmp_path / "m.tflite").read_bytes()
    file = schema.Model.GetRootAsModel(contents, 0)
    starts = [
        buffer._tab.Vector(buffer._tab.Offset(4))
        for buffer in map(file.Buffers, range(file.BuffersLength()))
        if buffer.DataLength() > 0
    ]
    assert starts
    assert all(start % 16 == 0 for start in starts)


def test_model_without_zeros_warns_and_says_why(tmp_path):
    model = prune(perceptron(), 0.1)
    with pytest.warns(SparsityWarning, match="none of the 2 weights could be stored sparse"):
        report = deploy.to_litert(model, tmp_path / "m.tflite")
    assert {row.encoding for row in report.tensors} == {"dense"}
    assert {row.note for row in report.tensors} == {"fewer than 30% zeros"}
    assert (tmp_path / "m.tflite").exists()


def test_sparse_file_that_is_larger_warns(tmp_path):
    with pytest.warns(SparsityWarning, match="indices of its nonzero weights take more"):
        deploy.to_litert(prune(perceptron(8, 8), 0.35), tmp_path / "m.tflite")


def test_constant_outputs_warn_that_nothing_was_verified(tmp_path):
    model = prune(perceptron(), 0.9)
    model.layers[-1].kernel.assign(np.zeros((64, 8)))
    with pytest.warns(SparsityWarning, match="agrees says little"):
        report = deploy.to_litert(model, tmp_path / "m.tflite")
    assert not report.informative


def test_report_prints_and_serialises(tmp_path, pruned_lenet):
    report = deploy.to_litert(pruned_lenet, tmp_path / "m.tflite")
    out = io.StringIO()
    report.print(Console(file=out, width=160))
    text = out.getvalue()
    assert "lenet/conv2d/kernel" in text
    assert "sparse unstructured, then DENSIFY" in text
    assert f"{report.bytes:,} bytes" in text
    assert f"{report.dense_bytes:,}" in text
    assert "TFLite Micro" in text
    assert "8 synthetic samples" in text
    assert "tensorflow.lite 2." in text
    values = json.loads(json.dumps(report.to_dict()))
    assert values["bytes"] == report.bytes
    assert values["tensors"][0]["shape"] == list(report.tensors[0].shape)
    block = deploy.to_litert(prune(perceptron(), 0.8, block=4), tmp_path / "b.tflite")
    out = io.StringIO()
    block.print(Console(file=out, width=160))
    assert "DENSIFY" not in out.getvalue()


def test_export_says_nothing_of_its_own(tmp_path, pruned_lenet, capfd):
    capfd.readouterr()
    deploy.to_litert(pruned_lenet, tmp_path / "m.tflite")
    assert capfd.readouterr() == ("", "")


def test_public_examples_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    report = deploy.LiteRTReport
    onnx = importlib.util.find_spec("tf2onnx") is not None
    names = [name for name in deploy.__all__ if onnx or "onnx" not in name.lower()]
    documented = [getattr(deploy, name) for name in names] + [report.print, report.to_dict]
    for item in documented:
        code = item.__doc__.split("```python")[1].split("```")[0]
        lines = code.splitlines()
        indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
        exec("\n".join(line[indent:] for line in lines), {})
    assert "did not" not in capsys.readouterr().err
