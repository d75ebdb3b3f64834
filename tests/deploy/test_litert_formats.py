"""Formats of weights: their sizes, their errors, their zeros, and which kernels they are for."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse import cli, deploy
from keras_sparse.deploy.signature import read_signature
from keras_sparse.deploy.verification import keras_outputs, verify
from tests.deploy.pruned import interpret, perceptron, prune

pytestmark = pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(24, 256)).astype("float32")


def net(block=1):
    return prune(perceptron(256, 256), 0.8, block)


# The bytes of a weight, and the error that its rounding may make.
FORMATS = {None: (4, 1e-5), "float16": (2, 2e-3), "dynamic": (1, 0.03), "int8": (1, 0.05)}


@pytest.mark.parametrize("quantize", FORMATS)
def test_dense_files_have_the_size_of_their_weights_and_are_right(quantize, tmp_path, x):
    model, path = net(), tmp_path / "m.tflite"
    size, error = FORMATS[quantize]
    report = deploy.to_litert(model, path, sparse=False, inputs=x, quantize=quantize)
    weights = sum(layer.kernel.shape[0] * layer.kernel.shape[1] for layer in model.layers)
    assert size * weights < report.bytes < size * weights + 8000
    expected = model.predict(x, verbose=0)
    for delegates in (True, False):
        got = interpret(path, x, delegates)
        assert np.abs(got - expected).max() <= error * np.abs(expected).max()
    assert report.quantize == quantize


@pytest.mark.parametrize("quantize", ["float16", "dynamic", "int8"])
def test_zeros_stay_zeros(quantize, tmp_path, x):
    model = net()
    path = tmp_path / "m.tflite"
    deploy.to_litert(model, path, sparse=False, inputs=x, quantize=quantize)
    stored = {row.shape: row for row in deploy.inspect(path).tensors}
    kernel = model.layers[0].kernel.numpy()
    assert stored[(256, 256)].nonzeros <= np.count_nonzero(kernel)
    assert stored[(256, 256)].sparsity >= np.mean(kernel == 0)


@pytest.mark.parametrize("quantize", [None, "int8"])
def test_the_same_model_gives_the_same_bytes(quantize, tmp_path, x):
    model = net()
    contents = set()
    for name in ("one.tflite", "two.tflite"):
        path = tmp_path / name
        deploy.to_litert(model, path, sparse=quantize is None, inputs=x, quantize=quantize)
        contents.add(path.read_bytes())
    assert len(contents) == 1


PROGRAM = """
import sys, keras
from keras_sparse import deploy
keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(8, 3), keras.layers.Dense(9)])
deploy.to_litert(model, sys.argv[1], sparse=False)
"""


@pytest.mark.slow
def test_another_process_writes_the_same_bytes(tmp_path):
    files = [tmp_path / f"{seed}.tflite" for seed in range(2)]
    made = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, file],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
        )
        for seed, file in enumerate(files)
    ]
    assert [process.wait() for process in made] == [0, 0]
    one, two = [file.read_bytes() for file in files]
    assert one == two


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_a_model_that_keras_quantized_is_told_what_to_do_instead(mode, tmp_path, x):
    model = net()
    model.quantize(mode)
    with pytest.raises((ValueError, RuntimeError), match=r"quantize=.dynamic."):
        deploy.to_litert(model, tmp_path / "m.tflite", inputs=x)


def test_float16_and_zeros_compose(tmp_path, x):
    report = deploy.to_litert(net(), tmp_path / "m.tflite", inputs=x, quantize="float16")
    assert not report.replaced
    assert report.bytes < 0.8 * report.dense_bytes


@pytest.mark.parametrize("block", [1, 4, 16])
def test_int8_and_zeros_are_for_built_in_kernels(block, tmp_path, x):
    model, path = net(block), tmp_path / "m.tflite"
    settings = {"inputs": x, "quantize": "dynamic"}
    with pytest.warns(ks.SparsityWarning, match="is stored dense") as warned:
        report = deploy.to_litert(model, path, **settings)
    assert "default delegates" in report.replaced
    assert "kernels='built-in'" in str(warned[0].message)
    assert report.bytes == report.dense_bytes
    report = deploy.to_litert(model, path, kernels="built-in", **settings)
    right = ["built-in kernels", "CompiledModel BUILTIN", "CompiledModel REFERENCE"]
    assert list(report.max_error) == right
    assert report.bytes < 0.7 * report.dense_bytes
    expected = model.predict(x, verbose=0)
    got = interpret(path, x, default_delegates=False)
    assert np.abs(got - expected).max() <= 0.05 * np.abs(expected).max()


def test_a_compiled_model_that_delegates_is_found_to_be_wrong(tmp_path, x):
    model, path = net(16), tmp_path / "m.tflite"
    deploy.to_litert(model, path, inputs=x, quantize="dynamic", kernels="built-in")
    signature = read_signature(model, x, 1)
    given = (path.read_bytes(), signature, ["output_0"], keras_outputs(model, signature), 1, 0.1)
    for mode in ("BUILTIN", "REFERENCE"):
        found = verify(*given, why=str, kernels=[f"CompiledModel {mode}"])
        assert list(found.errors) == [f"CompiledModel {mode}"]
    with pytest.raises(deploy.LiteRTVerificationError, match="CompiledModel DELEGATE"):
        verify(*given, why=str, kernels=["CompiledModel DELEGATE"])


def test_blocks_of_sixteen_are_fast_with_built_in_kernels_alone(tmp_path, x):
    path = tmp_path / "m.tflite"
    report = deploy.to_litert(net(16), path, inputs=x, quantize="dynamic", kernels="built-in")
    assert {row.encoding for row in report.tensors} == {"sparse block 1x16"}
    fast = {name: len(found.fast) for name, found in report.eligibility.items()}
    assert fast == {"litert-builtin": 2, "xnnpack-x86": 0, "xnnpack-arm": 0, "litert-micro": 0}


def test_calibration_is_asked_for_and_checked(tmp_path, x):
    path = tmp_path / "m.tflite"
    with pytest.raises(ValueError, match="representative_data= some hundred"):
        deploy.to_litert(net(), path, quantize="int8")
    with pytest.raises(ValueError, match="representative_data does not fit"):
        deploy.to_litert(net(), path, quantize="int8", representative_data=x[:, :5])
    with pytest.raises(ValueError, match="for quantize='int8' alone"):
        deploy.to_litert(net(), path, representative_data=x)
    assert not path.exists()
    deploy.to_litert(net(), path, sparse=False, quantize="int8", representative_data=x)


def test_structure_patterns_and_eight_bits_compose(tmp_path, x):
    model = perceptron(256, 256)
    ks.prune(model, granularity="2:4", exclude="dense_*1")
    smaller = ks.structured.prune(model, params=0.6)
    path = tmp_path / "m.tflite"
    deploy.to_litert(smaller, path, sparse=False, inputs=x, quantize="int8")
    expected = smaller.predict(x, verbose=0)
    assert np.abs(interpret(path, x) - expected).max() <= 0.05 * np.abs(expected).max()
    kernel = smaller.layers[0].kernel.numpy()
    stored = next(r for r in deploy.inspect(path).tensors if r.size == kernel.size)
    assert stored.sparsity >= np.mean(kernel == 0) >= 0.45


def test_several_inputs_outputs_and_an_open_batch(tmp_path, x):
    one, two = keras.Input((256,), name="one"), keras.Input((8,), name="two")
    shared = keras.layers.Dense(32, activation="relu")(keras.layers.Concatenate()([one, two]))
    outputs = [keras.layers.Dense(3, name=n)(shared) for n in ("left", "right")]
    samples = {"one": x, "two": x[:, :8]}
    model = keras.Model([one, two], outputs)
    for quantize in ("float16", "dynamic", "int8"):
        path = tmp_path / "m.tflite"
        settings = {"sparse": False, "quantize": quantize, "batch_size": None}
        deploy.to_litert(model, path, inputs=samples, **settings)
        signature = deploy.inspect(path).signatures["serving_default"]
        assert sorted(signature["inputs"]) == ["one", "two"]
        assert len(signature["outputs"]) == 2


def test_the_command_exports_in_a_format(tmp_path, x, capsys):
    net(16).save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", x)
    command = ["export", str(tmp_path / "m.keras"), str(tmp_path / "m.tflite")]
    more = ["--quantize", "dynamic", "--kernels", "built-in", "--inputs", str(tmp_path / "x.npy")]
    assert cli.main([*command, *more]) == 0
    assert "built-in kernels only" in " ".join(capsys.readouterr().out.split())
    assert cli.main([*command, "--quantize", "int9"]) == 2
    assert cli.main([*command, "--inputs", str(tmp_path / "m.keras")]) == 2
