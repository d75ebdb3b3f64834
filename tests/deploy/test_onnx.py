"""ONNX files compute what Keras computes, or are not handed over."""

import os
import sys

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_sparse import cli, deploy
from keras_sparse.messages.extras import MissingExtraError
from tests.deploy.pruned import lenet, perceptron, prune


@pytest.fixture
def path(tmp_path):
    """An earlier export, which a failed one must not touch."""
    path = tmp_path / "m.onnx"
    path.write_bytes(b"earlier")
    return path


def only_earlier_file(path):
    return os.listdir(path.parent) == [path.name] and path.read_bytes() == b"earlier"


@pytest.fixture
def without_onnx(monkeypatch):
    """A machine on which the extra is not installed."""
    for name in ("onnx", "onnxruntime", "tf2onnx"):
        monkeypatch.setitem(sys.modules, name, None)


def test_a_missing_extra_is_named(path, without_onnx):
    with pytest.raises(MissingExtraError, match=r"pip install 'keras-sparse\[onnx\]'"):
        deploy.to_onnx(perceptron(), path)
    assert only_earlier_file(path)


def test_the_command_says_so_too(tmp_path, without_onnx, capsys):
    perceptron().save(tmp_path / "m.keras")
    arguments = ["export", str(tmp_path / "m.keras"), str(tmp_path / "m.onnx")]
    assert cli.main(arguments) == 2
    assert "keras-sparse[onnx]" in capsys.readouterr().err
    assert cli.main([*arguments, "--quantize", "int8"]) == 2
    assert "are for LiteRT" in capsys.readouterr().err


def test_wrong_arguments_are_refused_before_all_else(path):
    with pytest.raises(ValueError, match=r"must end in '.onnx'"):
        deploy.to_onnx(perceptron(), path.with_suffix(".tflite"))
    with pytest.raises(ValueError, match="is not built"):
        deploy.to_onnx(keras.Sequential([layers.Dense(3)]), path)
    with pytest.raises(ValueError, match="tolerance"):
        deploy.to_onnx(perceptron(), path, tolerance=0)


def computed(path, x):
    """The outputs of a file by their names, independently of the code under test."""
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    x = x if isinstance(x, list) else [x]
    feed = dict(zip([i.name for i in session.get_inputs()], x, strict=True))
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


def grouped():
    """Convolutions that Keras has XLA compile, and both kinds of GELU."""
    inputs = keras.Input((12, 12, 8), name="image")
    x = layers.Conv2D(16, 3, groups=4, strides=2, padding="same")(inputs)
    x = ops.gelu(ops.gelu(x, approximate=False))
    x = layers.Conv2D(16, 5, groups=16, padding="same")(x)
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(x))


def normalized():
    """A layer with constants that are no weights."""
    inputs = keras.Input((12, 12, 3), name="image")
    x = layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0])(inputs)
    x = layers.Rescaling(1 / np.array([0.5, 0.6, 0.7]))(x)
    x = layers.BatchNormalization()(layers.Conv2D(8, 3)(x))
    return keras.Model(inputs, layers.Dense(4, "softmax")(layers.Flatten()(x)))


def recurrent():
    inputs = keras.Input((7, 5), name="steps")
    x = layers.LSTM(4, return_sequences=True)(inputs)
    x = layers.MultiHeadAttention(2, 3)(x, x)
    return keras.Model(inputs, layers.Bidirectional(layers.GRU(3))(x))


@pytest.mark.parametrize("build", [lenet, grouped, normalized, recurrent])
def test_the_file_computes_what_keras_computes(build, path):
    pytest.importorskip("tf2onnx")
    model = build()
    x = np.random.default_rng(0).normal(size=(5, *model.input_shape[1:])).astype("float32")
    before = [ops.convert_to_numpy(v) for v in model.variables]
    report = deploy.to_onnx(model, path, inputs=x)
    expected = model.predict(x, verbose=0)
    ((_, got),) = computed(path, x).items()
    assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()
    assert report.max_error <= 1e-5
    assert report.bytes == path.stat().st_size
    assert all(
        (ops.convert_to_numpy(v) == b).all() for v, b in zip(model.variables, before, strict=True)
    )


def test_inputs_and_outputs_have_their_names(path):
    pytest.importorskip("tf2onnx")
    first, second = keras.Input((4,), name="zeta"), keras.Input((6,), name="alpha")
    x = layers.Concatenate()([first, second])
    outputs = [layers.Dense(2, name="z_head")(x), layers.Dense(3, name="a_head")(x)]
    model = keras.Model([first, second], outputs)
    deploy.to_onnx(model, path)
    data = [np.ones((3, 4), "float32"), np.full((3, 6), 2, "float32")]
    got = computed(path, data)
    for name, expected in zip(("z_head", "a_head"), model.predict(data, verbose=0), strict=True):
        assert np.allclose(got[name], expected, atol=1e-5)


def test_the_batch_size_is_open_or_fixed(path):
    pytest.importorskip("tf2onnx")
    one, three = np.ones((1, 64), "float32"), np.ones((3, 64), "float32")

    def rows(x):
        return [len(output) for output in computed(path, x).values()]

    deploy.to_onnx(perceptron(), path)
    assert (rows(one), rows(three)) == ([1], [3])
    deploy.to_onnx(perceptron(), path, batch_size=3)
    assert rows(three) == [3]
    with pytest.raises(Exception, match="invalid dimensions"):
        computed(path, one)


def test_zeros_are_stored_and_compress(path, capsys):
    pytest.importorskip("tf2onnx")
    model = prune(perceptron(256, 256), 0.9)
    report = deploy.to_onnx(model, path)
    assert report.bytes > 4 * 256 * 256
    assert report.gzip_bytes < 0.3 * report.bytes
    shapes = {row.shape: row.sparsity for row in report.tensors}
    assert shapes[(256, 256)] == pytest.approx(0.9, abs=0.01)
    report.print()
    assert f"{report.bytes:,} bytes" in capsys.readouterr().out
    assert report.to_dict()["tensors"][0]["shape"] == [256, 256]


@pytest.mark.parametrize("opset", [None, 17])
def test_the_opset_is_the_one_asked_for(opset, path):
    onnx = pytest.importorskip("onnx")
    report = deploy.to_onnx(perceptron(), path, opset=opset)
    assert report.opset == onnx.load(path).opset_import[0].version
    assert opset in (None, report.opset)


def test_a_file_that_computes_something_else_is_not_handed_over(path, monkeypatch):
    pytest.importorskip("tf2onnx")
    true = deploy.onnx_export.keras_outputs
    monkeypatch.setattr(deploy.onnx_export, "keras_outputs", lambda *a: [x + 0.1 for x in true(*a)])
    with pytest.raises(deploy.ONNXVerificationError, match="off by"):
        deploy.to_onnx(perceptron(), path)
    assert only_earlier_file(path)


class Bessel(layers.Layer):
    def call(self, x):
        import tensorflow as tf

        return tf.math.bessel_i0(x)


def test_operations_that_onnx_does_not_have_are_named(path):
    pytest.importorskip("tf2onnx")
    model = keras.Sequential([keras.Input((8,)), layers.Dense(4), Bessel(name="bessel")])
    with pytest.raises(deploy.ONNXConversionError, match=r"BesselI0 .*bessel"):
        deploy.to_onnx(model, path)
    assert only_earlier_file(path)


def test_the_command_writes_a_file(path, capsys):
    pytest.importorskip("tf2onnx")
    model = prune(perceptron(), 0.9)
    model.save(path.with_suffix(".keras"))
    assert cli.main(["export", str(path.with_suffix(".keras")), str(path)]) == 0
    assert "bytes" in capsys.readouterr().out
    x = np.ones((1, 64), "float32")
    ((_, got),) = computed(path, x).items()
    assert np.allclose(got, model.predict(x, verbose=0), atol=1e-5)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["EfficientNetB0", "ConvNeXtTiny"])
def test_networks_that_keras_exports_wrongly_are_right(name, path):
    pytest.importorskip("tf2onnx")
    model = getattr(keras.applications, name)(
        input_shape=(64, 64, 3), weights=None, classes=10, classifier_activation=None
    )
    assert deploy.to_onnx(model, path).max_error < 1e-5
