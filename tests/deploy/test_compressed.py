"""Compressed models: bit by bit what they were, as small as their zeros allow, or a clear error."""

import os
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import layers, ops

import keras_sparse as ks
from keras_sparse.storage import files
from tests.deploy.pruned import lenet, perceptron


def pruned(model, sparsity=0.9):
    ks.prune(model, sparsity, allocation="uniform")
    return model


def bits(model):
    """Every bit of what Keras's own files hold, which is all but the states of random numbers."""
    held = [v for v in model.variables if v.name != "seed_generator_state"]
    return [ops.convert_to_numpy(v).tobytes() for v in held]


def through_a_file(model, path, **options):
    report = ks.deploy.save_compressed(model, path)
    return report, ks.deploy.load_compressed(path, **options)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.ksparse"


def test_a_plain_model_comes_back_with_its_name_and_its_outputs(path):
    model = pruned(lenet(), 0.9)
    _, back = through_a_file(model, path)
    assert type(back) is keras.Sequential
    assert back.name == model.name
    assert bits(back) == bits(model)
    x = np.random.default_rng(0).normal(size=(3, 28, 28, 1))
    assert (np.asarray(back(x)) == np.asarray(model(x))).all()


@given(st.floats(0, 1), st.integers(0, 2**32 - 1), st.sampled_from(["float32", "float16"]))
@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@pytest.mark.filterwarnings("ignore::keras_sparse.SparsityWarning")
def test_any_bits_under_any_mask_come_back(path, density, seed, dtype):
    generator = np.random.default_rng(seed)
    model = keras.Sequential([keras.Input((9,)), layers.Dense(33, dtype=dtype)])
    for variable in model.variables:
        raw = generator.integers(0, 256, (*variable.shape, np.dtype(dtype).itemsize), np.uint8)
        raw *= generator.random((*variable.shape, 1)) < density
        variable.assign(raw.view(dtype)[..., 0])
    assert bits(through_a_file(model, path)[1]) == bits(model)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_negative_zero_nan_and_infinity_come_back(path, dtype):
    model = keras.Sequential([keras.Input((40,)), layers.Dense(20, dtype=dtype)])
    kernel = np.zeros((40, 20), "float32")
    kernel[0, :5] = -0.0, np.nan, np.inf, -np.inf, 1e-39
    model.layers[0].kernel.assign(kernel)
    report, back = through_a_file(model, path)
    assert report.sparse_tensors == 1 + (dtype == "float32"), "a bias of zeros is worth it there"
    assert bits(back) == bits(model)
    assert np.signbit(np.asarray(back.layers[0].kernel, "float32")[0, 0])


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_quantized_kernels_come_back(path, mode):
    model = pruned(perceptron(64, 64), 0.95)
    model.quantize(mode)
    report, back = through_a_file(model, path)
    assert report.sparse_tensors >= 1
    assert [v.dtype for v in back.variables] == [v.dtype for v in model.variables]
    assert bits(back) == bits(model)


def test_statistics_states_and_vocabularies_come_back(path):
    words = keras.Input((), dtype="string")
    lookup = layers.StringLookup(vocabulary=["a", "b", "c"])
    x = layers.Embedding(4, 32)(lookup(words))
    x = layers.BatchNormalization()(layers.Dense(32)(x))
    model = pruned(keras.Model(words, layers.Dropout(0.5)(x)), 0.9)
    model.layers[-2].moving_mean.assign(np.linspace(-1, 1, 32))
    _, back = through_a_file(model, path)
    assert back.layers[1].get_vocabulary() == ["[UNK]", "a", "b", "c"]
    assert bits(back) == bits(model)


def test_layers_inside_layers_come_back(path):
    inner = keras.Sequential([keras.Input((16,)), layers.Dense(16), layers.Dense(16)], name="inner")
    inputs = keras.Input((5, 16))
    x = layers.TimeDistributed(inner)(inputs)
    x = layers.Bidirectional(layers.LSTM(16, return_sequences=True))(x)
    x = layers.MultiHeadAttention(2, 8)(x, x)
    model = pruned(keras.Model(inputs, x), 0.9)
    assert bits(through_a_file(model, path)[1]) == bits(model)


def test_ninety_percent_zeros_take_an_eighth(path):
    model = pruned(perceptron(512, 512), 0.9)
    report, _ = through_a_file(model, path)
    assert path.stat().st_size == report.bytes
    assert report.dense_bytes == 4 * model.count_params()
    # A bit an entry, a tenth of the entries, and the architecture.
    assert 0.10 < report.bytes / report.dense_bytes < 1 / 32 + 0.1 + 0.01
    assert report.sparse_tensors == 3, "the first bias is zero, and larger than its bits"
    assert report.tensors == 4


def test_what_belongs_to_training_is_left_out(path):
    model = pruned(perceptron(128, 128), 0.9)
    before = ks.deploy.save_compressed(model, path).bytes
    model.compile("adam", "mse")
    x = np.ones((4, 128))
    model.fit(x, np.zeros((4, 8)), verbose=0, callbacks=[ks.StaticMask(mask="current")])
    report, back = through_a_file(model, path)
    assert report.bytes < before + 1500, "the biases are no zeros any more"
    assert not back.compiled
    assert bits(back) == bits(model)


def test_a_dense_model_is_told_to_be_pruned(path):
    with pytest.warns(ks.SparsityWarning, match="Prune the model"):
        ks.deploy.save_compressed(keras.Sequential([keras.Input((8,)), layers.Dense(4)]), path)
    assert isinstance(ks.deploy.load_compressed(path), keras.Sequential)


@keras.saving.register_keras_serializable(package="tests")
class Scaled(layers.Layer):
    units = 64

    def build(self, shape):
        self.kernel = self.add_weight(name="kernel", shape=(shape[-1], self.units))

    def call(self, x):
        return x @ self.kernel


LOAD = """
import sys
import keras_sparse as ks
try:
    ks.deploy.load_compressed(sys.argv[1])
except ValueError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_class_that_is_not_known_is_named(path):
    ks.deploy.save_compressed(pruned(keras.Sequential([keras.Input((64,)), Scaled()]), 0.9), path)
    done = subprocess.run([sys.executable, "-c", LOAD, path], capture_output=True, text=True)
    assert "Could not locate class 'Scaled'" in done.stdout
    assert "custom_objects={'Name': Name}" in done.stdout


def test_a_class_can_be_given(path):
    class Doubled(Scaled):
        units = 48

    model = pruned(keras.Sequential([keras.Input((64,)), Doubled()]), 0.9)
    _, back = through_a_file(model, path, custom_objects={"Doubled": Doubled})
    assert bits(back) == bits(model)


def test_weights_that_do_not_fit_are_refused(path, monkeypatch):
    ks.deploy.save_compressed(pruned(keras.Sequential([keras.Input((64,)), Scaled()]), 0.9), path)
    monkeypatch.setattr(Scaled, "units", 16)
    with pytest.raises(ValueError, match=r"as they were when the file was written"):
        ks.deploy.load_compressed(path)


def test_code_is_refused_unless_it_is_trusted(path):
    model = keras.Sequential([keras.Input((32,)), layers.Dense(32), layers.Lambda(lambda x: 2 * x)])
    ks.deploy.save_compressed(pruned(model, 0.9), path)
    with pytest.raises(ValueError, match="safe_mode=False"):
        ks.deploy.load_compressed(path)
    assert bits(ks.deploy.load_compressed(path, safe_mode=False)) == bits(model)


def test_a_file_that_is_cut_off_or_changed_is_noticed(path):
    model = pruned(perceptron(), 0.9)
    ks.deploy.save_compressed(model, path)
    whole, expected = path.read_bytes(), bits(model)
    for size in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"cut off|no compressed model"):
            ks.deploy.load_compressed(path)
    generator = np.random.default_rng(0)
    said = []
    for at in generator.integers(0, len(whole), 60):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
        try:
            back = ks.deploy.load_compressed(path)
        except ValueError as error:
            said.append(str(error))
            continue
        assert bits(back) == expected, "a byte that means nothing was changed"
    assert len(said) > 40
    assert all("model.ksparse" in text for text in said)


def test_other_files_are_told_apart(path):
    model = pruned(perceptron(), 0.9)
    model.save(path.with_suffix(".keras"))
    with pytest.raises(ValueError, match=r"keras.saving.load_model"):
        ks.deploy.load_compressed(path.with_suffix(".keras"))
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match="is no compressed model"):
        ks.deploy.load_compressed(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(ValueError, match="is no compressed model"):
        ks.deploy.load_compressed(path)
    with pytest.raises(FileNotFoundError, match="no file"):
        ks.deploy.load_compressed(path.with_name("not_there.ksparse"))


def test_a_newer_format_says_so(path):
    ks.deploy.save_compressed(pruned(perceptron(), 0.9), path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, contents in members.items():
            archive.writestr(name, contents.replace(b'"version": 1', b'"version": 2'))
    with pytest.raises(ValueError, match="a newer keras_sparse wrote"):
        ks.deploy.load_compressed(path)


def test_where_it_cannot_be_written_is_known_before_and_a_failure_keeps_what_was_there(
    path, monkeypatch
):
    model = pruned(perceptron(), 0.9)
    with pytest.raises(ValueError, match=r"must end in '.ksparse'"):
        ks.deploy.save_compressed(model, path.with_suffix(".keras"))
    with pytest.raises(ValueError, match="not built"):
        ks.deploy.save_compressed(keras.Sequential([layers.Dense(3)]), path)
    path.write_bytes(b"earlier")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        ks.deploy.save_compressed(model, path)
    assert path.read_bytes() == b"earlier"
    assert os.listdir(path.parent) == [path.name]
