"""What is refused, and that a failure leaves nothing behind."""

import os
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_sparse import deploy
from keras_sparse.deploy import litert, verification
from keras_sparse.storage import files
from tests.deploy.pruned import perceptron, prune


@pytest.fixture
def model():
    return prune(perceptron(), 0.9)


@pytest.fixture
def path(tmp_path):
    """An earlier export, which a failed one must not touch."""
    path = tmp_path / "m.tflite"
    path.write_bytes(b"earlier")
    return path


def only_earlier_file(path):
    return os.listdir(path.parent) == [path.name] and path.read_bytes() == b"earlier"


def test_keras_that_computes_something_else_is_noticed(path, model, monkeypatch):
    true = litert.keras_outputs
    monkeypatch.setattr(litert, "keras_outputs", lambda *a: [x + 0.1 for x in true(*a)])
    with pytest.raises(deploy.LiteRTVerificationError, match="default delegates") as error:
        deploy.to_litert(model, path)
    assert "pass `inputs=` a few real samples" in str(error.value)
    assert only_earlier_file(path)


def test_weights_that_differ_in_the_file_are_noticed(path, model, monkeypatch):
    convert = litert.convert

    def convert_another_model(traced, *settings):
        kernel = model.layers[0].kernel
        original = kernel.numpy()
        kernel.assign(original * 1.01)
        try:
            return convert(traced, *settings)
        finally:
            kernel.assign(original)

    monkeypatch.setattr(litert, "convert", convert_another_model)
    with pytest.raises(deploy.LiteRTVerificationError, match="off by"):
        deploy.to_litert(model, path, inputs=np.ones((2, 64)))
    assert only_earlier_file(path)


@pytest.mark.parametrize("broken", list(verification.INTERPRETERS))
def test_each_interpreter_is_compared(path, model, monkeypatch, broken):
    run = verification._run

    def run_wrongly(contents, kernels, *rest):
        outputs = run(contents, kernels, *rest)
        return {name: -x if kernels == broken else x for name, x in outputs.items()}

    monkeypatch.setattr(verification, "_run", run_wrongly)
    with pytest.raises(deploy.LiteRTVerificationError, match=broken):
        deploy.to_litert(model, path)
    assert only_earlier_file(path)


def test_file_that_does_not_load_is_noticed(path, model, monkeypatch):
    monkeypatch.setattr(litert, "convert", lambda *_: b"not a model" * 9)
    monkeypatch.setattr(litert, "restore_truncated", lambda contents, dense: (contents, {}))
    monkeypatch.setattr(litert, "read_encodings", lambda *rest: ((), 0))
    with pytest.raises(deploy.LiteRTVerificationError, match="does not run with default"):
        deploy.to_litert(model, path)
    assert only_earlier_file(path)


def test_export_interrupted_between_write_and_replace_leaves_nothing(path, model, monkeypatch):
    def fail(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        deploy.to_litert(model, path)
    monkeypatch.undo()
    assert only_earlier_file(path)


def test_relative_error_is_of_the_outputs_scale():
    error = verification.relative_error
    assert error(np.array([1.0, 10.1]), np.array([1.0, 10.0])) == pytest.approx(0.01)
    assert error(np.array([0.1]), np.array([0.0])) == pytest.approx(0.1)
    assert error(np.array([np.nan]), np.array([1.0])) == np.inf
    assert error(np.ones((1, 2)), np.ones((2, 1))) == np.inf
    assert error(np.array([2], "uint8"), np.array([3], "uint8")) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("m.keras", ValueError, "must end in '.tflite'.*m.tflite"),
        ("missing/m.tflite", FileNotFoundError, "does not exist. Create it first"),
        ("file/m.tflite", NotADirectoryError, "is a file, not a directory"),
        ("folder.tflite", IsADirectoryError, "Name a file inside it"),
    ],
)
def test_bad_paths_are_refused_before_any_work(tmp_path, model, monkeypatch, name, kind, message):
    (tmp_path / "file").touch()
    (tmp_path / "folder.tflite").mkdir()
    monkeypatch.setattr(litert, "trace", None)
    with pytest.raises(kind, match=message):
        deploy.to_litert(model, tmp_path / name)


def test_unwritable_directory_is_refused(tmp_path, model, monkeypatch):
    # Permissions do not bind the superuser, as whom tests may run.
    monkeypatch.setattr(files.os, "access", lambda *args: False)
    with pytest.raises(PermissionError, match="not writable by this user"):
        deploy.to_litert(model, tmp_path / "m.tflite")


def build(*stack, shape=(6,), **kwargs):
    return keras.Sequential([keras.Input(shape, **kwargs), *stack])


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (lambda: keras.Sequential([layers.Dense(2)]), {}, "not built.*keras.Input"),
        (lambda: layers.Dense(2), {}, r"must be a keras\.Model\. Received: model=<Dense"),
        (lambda: build(layers.Conv1D(2, 3), shape=(None, 3)), {}, "Pass `inputs=` samples of"),
        (lambda: build(layers.Dense(2, dtype="float16")), {}, "is float16.*mixed_float16"),
        (lambda: build(layers.Dense(2)), {"inputs": np.ones((2, 5))}, r"shape \(2, 5\)"),
        (lambda: build(layers.Dense(2)), {"inputs": [np.ones((2, 6))] * 2}, "takes float32"),
        (lambda: build(layers.Dense(2)), {"inputs": {"no": 1}}, "has the keys"),
        (lambda: build(layers.Dense(2)), {"inputs": np.full((2, 6), np.nan)}, "NaN or infinity"),
        (lambda: build(layers.Dense(2)), {"inputs": np.ones((0, 6))}, "at least one"),
        (
            lambda: build(layers.Dense(2)),
            {"tolerance": 0},
            "tolerance must be a finite number greater than 0",
        ),
        (lambda: build(layers.Dense(2)), {"batch_size": 0}, r"integer of at least 1.*Or give None"),
        (
            lambda: build(layers.Embedding(9, 2), dtype="int32"),
            {"inputs": np.full((2, 6), 0.5)},
            "gives fractions",
        ),
        (lambda: build(layers.Lambda(ops.sum)), {}, "one row per sample"),
        (lambda: build(layers.Lambda(lambda x: x / 0.0)), {}, "output 0 holds NaN or infinity"),
        (
            lambda: keras.Sequential([keras.Input(batch_shape=(4, 6)), layers.Dense(2)]),
            {},
            "Pass batch_size=4",
        ),
        (
            lambda: keras.Sequential(
                [keras.Input(batch_shape=(1, 6, 2)), layers.LSTM(2, stateful=True)]
            ),
            {},
            "is stateful.*stateful=False",
        ),
    ],
)
def test_models_and_arguments_that_cannot_be_exported(path, make, arguments, message):
    with pytest.raises(ValueError, match=message):
        deploy.to_litert(make(), path, **arguments)
    assert only_earlier_file(path)


def test_subclassed_model_needs_inputs(path):
    class Doubling(keras.Model):
        def call(self, x):
            return 2 * x

    model = Doubling()
    model(np.ones((1, 3)))
    with pytest.raises(ValueError, match=r"subclassed.*Pass `inputs=`"):
        deploy.to_litert(model, path)


def test_operation_without_kernel_is_named(path):
    x = keras.Input((8,))
    model = keras.Model(x, ops.erfinv(ops.tanh(x)))
    with pytest.raises(deploy.LiteRTConversionError, match=r"Erfinv at 'functional.*replace that"):
        deploy.to_litert(model, path)
    assert only_earlier_file(path)


def test_recurrent_layer_with_an_open_batch_is_named(path):
    model = build(layers.LSTM(4, name="memory"), shape=(5, 3))
    with pytest.raises(deploy.LiteRTConversionError, match=r"memory.*batch_size=1.*unroll=True"):
        deploy.to_litert(model, path, batch_size=None)


def test_tied_weights_are_named(path):
    class Tied(layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight(shape=(40, 32), name="kernel")

        def call(self, tokens):
            mean = ops.mean(ops.take(self.kernel, tokens, axis=0), 1)
            return ops.matmul(mean, ops.transpose(self.kernel))

    model = prune(build(Tied(name="tied"), dtype="int32"), 0.9)
    with pytest.raises(deploy.LiteRTConversionError, match=r"tied.*untie the weights"):
        deploy.to_litert(model, path)
    assert only_earlier_file(path)
    tokens = np.arange(12).reshape(2, 6)
    assert deploy.to_litert(model, path, sparse=False, inputs=tokens).bytes > 1000


@pytest.mark.jax
def test_other_backends_are_told_the_cure(tmp_path):
    code = (
        "import sys, keras\nfrom keras_sparse import deploy\n"
        "assert 'tensorflow' not in sys.modules\n"
        "deploy.to_litert(keras.Sequential([keras.Input((2,))]), 'm.tflite')"
    )
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ValueError" in done.stderr
    assert "KERAS_BACKEND=tensorflow" in done.stderr
    assert not os.listdir(tmp_path)


def test_no_warning_when_all_is_well(tmp_path, model):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        deploy.to_litert(model, tmp_path / "m.tflite")
