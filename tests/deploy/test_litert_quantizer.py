"""Formats of weights of another package: their sizes, their zeros, and what each runtime does."""

import sys

import keras
import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse import cli, deploy
from keras_sparse.messages.extras import MissingExtraError
from tests.deploy.pruned import interpret, perceptron, prune

pytestmark = pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(16, 256)).astype("float32")


@pytest.fixture
def quantizer():
    return pytest.importorskip("ai_edge_quantizer.quantizer")


def net(block=1, sparsity=0.8):
    keras.utils.set_random_seed(0)
    return prune(perceptron(256, 256), sparsity, block)


def error(path, model, x):
    expected = model.predict(x, verbose=0)
    return np.abs(interpret(path, x) - expected).max() / np.abs(expected).max()


def test_the_extra_is_named_where_it_is_missing(tmp_path, x, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer", None)
    path = tmp_path / "m.tflite"
    with pytest.raises(MissingExtraError, match=r"keras-sparse\[quantizer\]"):
        deploy.to_litert(net(), path, inputs=x, quantize="dynamic_int4")
    with pytest.raises(ValueError, match="quantize"):
        deploy.to_litert(net(), path, inputs=x, quantize="dynamic_int5")
    assert not path.exists()


@pytest.mark.parametrize(
    ("quantize", "size", "least"),
    [("weight_only_int8", 1, 0.02), ("weight_only_int4", 0.5, 0.2), ("dynamic_int4", 0.5, 0.2)],
)
def test_dense_files_have_the_size_of_their_weights(quantizer, quantize, size, least, tmp_path, x):
    model, path = net(), tmp_path / "m.tflite"
    report = deploy.to_litert(model, path, sparse=False, inputs=x, quantize=quantize)
    weights = 256 * 256 + 256 * 8
    assert size * weights < report.bytes < size * weights + 8000
    assert len(report.max_error) == 5
    assert error(path, model, x) < least
    stored = {row.shape: row for row in deploy.inspect(path).tensors}
    kernel = model.layers[0].kernel.numpy()
    assert stored[(256, 256)].sparsity >= np.mean(kernel == 0)


def test_eight_bits_and_single_zeros_are_stored_together_for_all_kernels(quantizer, tmp_path, x):
    model, path = net(sparsity=0.9), tmp_path / "m.tflite"
    report = deploy.to_litert(model, path, inputs=x, quantize="weight_only_int8")
    assert not report.replaced
    assert len(report.max_error) == 5
    assert report.bytes < 0.4 * report.dense_bytes
    assert {row.encoding for row in report.tensors} == {"sparse unstructured"}
    assert error(path, model, x) < 0.02
    assert path.read_bytes() == rewritten(model, tmp_path / "again.tflite", x)


def rewritten(model, path, x):
    deploy.to_litert(model, path, inputs=x, quantize="weight_only_int8")
    return path.read_bytes()


def test_what_runs_wrong_is_stored_dense(quantizer, tmp_path, x):
    """Blocks of sixteen behind which a DEQUANTIZE stands."""
    model, path = net(16), tmp_path / "m.tflite"
    with pytest.warns(ks.SparsityWarning, match="is stored dense"):
        report = deploy.to_litert(model, path, inputs=x, quantize="weight_only_int8")
    assert "computes something else" in report.replaced
    assert error(path, model, x) < 0.02


def test_four_bits_are_stored_dense(quantizer, tmp_path, x):
    with pytest.warns(ks.SparsityWarning, match="takes no weights of four bits") as warned:
        report = deploy.to_litert(net(), tmp_path / "m.tflite", inputs=x, quantize="dynamic_int4")
    assert "kernels=" not in str(warned[0].message)
    assert report.bytes == report.dense_bytes


def test_blocks_of_four_bits_are_for_xnnpack(quantizer, tmp_path, x):
    """Most kernels at nine zeros of ten have blocks of 32 that are all zero."""
    model, path = net(sparsity=0.9), tmp_path / "m.tflite"
    kernel = model.layers[0].kernel.numpy()
    assert not kernel.reshape(8, 32, 256).any(axis=1).all()
    settings = {"sparse": False, "inputs": x, "quantize": "dynamic_int4_blocks"}
    with pytest.raises(deploy.LiteRTVerificationError, match="kernels='xnnpack'"):
        deploy.to_litert(model, path, **settings)
    assert not path.exists()
    report = deploy.to_litert(model, path, kernels="xnnpack", **settings)
    assert list(report.max_error) == ["default delegates", "CompiledModel DELEGATE"]
    assert error(path, model, x) < 0.15
    assert report.bytes < 0.6 * (256 * 256 + 256 * 8) + 8000


def test_convolutions_have_these_formats_too(quantizer, tmp_path):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.DepthwiseConv2D(3, activation="relu"),
            layers.Conv2D(32, 1, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(5),
        ]
    )
    x = np.random.default_rng(0).normal(size=(4, 12, 12, 3)).astype("float32")
    path = tmp_path / "m.tflite"
    report = deploy.to_litert(model, path, sparse=False, inputs=x, quantize="dynamic_int4")
    assert len(report.max_error) == 5
    assert {"int4"} <= {row.dtype for row in report.tensors}


def test_the_command_names_the_format(quantizer, tmp_path, x, capsys):
    net().save(tmp_path / "m.keras")
    command = ["export", str(tmp_path / "m.keras"), str(tmp_path / "m.tflite"), "--dense"]
    more = ["--quantize", "dynamic_int4_blocks", "--kernels", "xnnpack"]
    assert cli.main([*command, *more]) == 0
    assert "Run it with XNNPACK" in " ".join(capsys.readouterr().out.split())
