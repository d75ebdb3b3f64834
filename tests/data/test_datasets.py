"""Data sets: what is read, how it is scaled, what a seed fixes, and how absence is reported."""

import json
import threading
import time

import keras
import numpy as np
import pytest

from keras_sparse import data
from keras_sparse.data import datasets


@pytest.fixture
def nothing_to_be_had(monkeypatch, tmp_path):
    """An empty data directory and no answer from the servers, also where there is a network."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setitem(datasets._SOURCES, "mnist", "https://nowhere.invalid/mnist.gz")
    return tmp_path


@pytest.fixture
def images():
    """Fifty images of which each pixel tells which image it is of and where it was."""
    x = np.arange(1, 50 * 32 * 32 * 3 + 1, dtype=np.float32).reshape(50, 32, 32, 3)
    return x, np.arange(50, dtype=np.int32)


def _epoch(dataset):
    return [(x.numpy(), y.numpy()) for x, y in dataset]


def _labels(dataset):
    return np.concatenate([y for _, y in _epoch(dataset)])


def test_digits_shapes_and_scale():
    digits = data.load("digits")
    (x, y), (x_test, y_test) = digits.train, digits.test
    assert x.shape == (1437, 8, 8, 1)
    assert x_test.shape == (360, 8, 8, 1)
    assert x.dtype == x_test.dtype == np.float32
    assert y.dtype == y_test.dtype == np.int32
    assert (digits.name, digits.num_classes, digits.input_shape) == ("digits", 10, (8, 8, 1))
    np.testing.assert_allclose(x.mean(dtype=np.float64), 0, atol=1e-5)
    np.testing.assert_allclose(x.std(dtype=np.float64), 1, atol=1e-5)
    raw = x * digits.std + digits.mean
    np.testing.assert_allclose(raw, np.round(raw), atol=1e-4)
    assert (raw.min().round(), raw.max().round()) == (0, 16)
    shares = np.bincount(y) / np.bincount(np.concatenate([y, y_test]))
    np.testing.assert_allclose(shares, 0.8, atol=0.01)
    np.testing.assert_array_equal(data.load("digits").x_train, x)


def test_flatten():
    flat, square = data.load("digits", flatten=True), data.load("digits")
    assert flat.input_shape == (64,)
    np.testing.assert_array_equal(flat.x_train, square.x_train.reshape(-1, 64))
    np.testing.assert_array_equal(flat.x_test, square.x_test.reshape(-1, 64))


def test_limit_is_balanced_nested_and_seeded():
    whole, small, large = (data.load("digits", limit=n) for n in (None, 103, 205))
    assert set(np.bincount(small.y_train)) == {10, 11}
    np.testing.assert_array_equal(small.x_train, large.x_train[:103])
    np.testing.assert_array_equal(small.x_test, whole.x_test)
    rows = {row.tobytes(): label for row, label in zip(*whole.train, strict=True)}
    assert all(rows[row.tobytes()] == label for row, label in zip(*small.train, strict=True))
    other = data.load("digits", limit=103, seed=1)
    assert not np.array_equal(small.x_train, other.x_train)
    assert len(data.load("digits", limit=10**6).x_train) == len(whole.x_train)


@pytest.mark.parametrize(
    ("load", "name", "sizes", "shape"),
    [
        (data.load_or_digits, "mnist", (60_000, 10_000), (28, 28, 1)),
        (data.load, "fashion_mnist", (60_000, 10_000), (28, 28, 1)),
        (data.load, "cifar10", (50_000, 10_000), (32, 32, 3)),
    ],
)
def test_prepared_sets(prepared, recwarn, load, name, sizes, shape):
    import tensorflow_datasets as tfds

    if not data.available(name):
        pytest.skip(f"{name} is not prepared in {prepared}")
    before = sorted(str(path) for path in prepared.rglob("*"))
    loaded = load(name)
    assert sorted(str(path) for path in prepared.rglob("*")) == before
    assert not [w for w in recwarn if "digits" in str(w.message)]
    assert (loaded.name, loaded.num_classes, loaded.input_shape) == (name, 10, shape)
    assert (len(loaded.x_train), len(loaded.x_test)) == sizes
    assert (len(loaded.y_train), len(loaded.y_test)) == sizes
    assert loaded.x_train.dtype == np.float32

    pixels = loaded.x_train.reshape(sizes[0], -1)
    mean = pixels.sum(axis=0, dtype=np.float64).reshape(shape).mean((0, 1)) / sizes[0]
    squares = np.einsum("nk,nk->k", pixels, pixels, dtype=np.float64).reshape(shape)
    np.testing.assert_allclose(mean, 0, atol=1e-5)
    np.testing.assert_allclose(squares.mean((0, 1)) / sizes[0], 1, atol=1e-5)

    (folder,) = (prepared / name).iterdir()
    theirs = tfds.builder_from_directory(folder).as_dataset("test[:32]").as_numpy_iterator()
    for i, example in enumerate(theirs):
        raw = np.round(loaded.x_test[i] * loaded.std + loaded.mean)
        np.testing.assert_array_equal(raw, example["image"])
        assert loaded.y_test[i] == example["label"]


def test_absent_data_fails_fast_and_says_what_to_do(nothing_to_be_had):
    assert not data.available("mnist")
    start = time.perf_counter()
    with pytest.raises(FileNotFoundError, match=r"'mnist' is not prepared.*TFDS_DATA_DIR.*digits"):
        data.load("mnist")
    assert time.perf_counter() - start < 20
    assert not list(nothing_to_be_had.iterdir())


def test_silent_server_is_given_up(monkeypatch):
    import requests

    over = threading.Event()

    def head(*args, **kwargs):
        over.wait(60)
        raise requests.ConnectionError

    monkeypatch.setattr(requests, "head", head)
    start = time.perf_counter()
    assert not datasets._reachable("https://nowhere.invalid", seconds=0.2)
    assert time.perf_counter() - start < 20
    over.set()


def test_failed_download_is_reported_with_its_cause(nothing_to_be_had, monkeypatch):
    import tensorflow_datasets as tfds

    class Builder:
        def download_and_prepare(self):
            raise OSError("disk full")

    monkeypatch.setattr(datasets, "_reachable", lambda url: True)
    monkeypatch.setattr(tfds, "builder", lambda name, data_dir: Builder())
    with pytest.raises(FileNotFoundError, match=r"disk full.*TFDS_DATA_DIR"):
        data.load("mnist")


def test_newest_version_and_file_format(monkeypatch, tmp_path, prepared):
    source = prepared / "mnist" / "3.0.1"
    for version in ("2.9.9", "2.10.0", "incomplete.9.9.9"):
        folder = tmp_path / "mnist" / version
        folder.mkdir(parents=True)
        info = json.loads((source / "dataset_info.json").read_text())
        info |= {"fileFormat": "array_record", "version": version}
        (folder / "dataset_info.json").write_text(json.dumps(info))
        (folder / "features.json").write_text((source / "features.json").read_text())
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(ValueError, match=r"2\.10\.0 holds array_record files; only tfrecord"):
        data.load("mnist")


def test_load_or_digits(nothing_to_be_had):
    with pytest.warns(UserWarning, match=r"'mnist' is not prepared(.|\n)*digits"):
        fallback = data.load_or_digits("mnist", limit=50, flatten=True)
    assert (fallback.name, fallback.x_train.shape) == ("digits", (50, 64))
    with pytest.raises(ValueError, match="name must be one of"):
        data.load_or_digits("minst")


@pytest.mark.parametrize("call", [data.load, data.available])
def test_misspelt_name(call):
    with pytest.raises(ValueError, match="Did you mean 'mnist'"):
        call("MINST")
    with pytest.raises(
        ValueError, match="'mnist', 'fashion_mnist', 'cifar10', 'cifar100', 'digits'"
    ):
        call("imagenet-of-everything")


@pytest.mark.parametrize(
    ("kwargs", "message"), [({"limit": 0}, "limit"), ({"seed": -1}, "an integer of at least 0")]
)
def test_bad_load_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        data.load("digits", **kwargs)


@pytest.mark.parametrize(
    ("drop", "steps", "rows"), [(False, 7, None), (True, 6, 8)], ids=["ragged", "full"]
)
def test_pipeline_cardinality(images, drop, steps, rows):
    batches = data.pipeline(*images, batch_size=8, drop_remainder=drop)
    assert int(batches.cardinality()) == steps == len(_epoch(batches))
    assert tuple(batches.element_spec[0].shape) == (rows, 32, 32, 3)


def test_pipeline_order_follows_from_the_seed(images):
    first, second, other = (data.pipeline(*images, batch_size=8, seed=s) for s in (3, 3, 4))
    keras.utils.set_random_seed(1)
    one = [_labels(first) for _ in range(3)]
    keras.utils.set_random_seed(2)
    two = [_labels(second) for _ in range(3)]
    np.testing.assert_array_equal(one, two)
    assert all(sorted(order) == list(range(50)) for order in one)
    assert not np.array_equal(one[0], one[1])
    assert not np.array_equal(one[0], _labels(other))
    for x, y in _epoch(first):
        np.testing.assert_array_equal(x, images[0][y])


def test_pipeline_resumes_and_ignores_passes_left_early(images):
    straight = data.pipeline(*images, batch_size=8, augment=True)
    epochs = [_epoch(straight) for _ in range(3)]
    resumed = data.pipeline(*images, batch_size=8, augment=True, initial_epoch=2)
    next(iter(resumed))
    for (x, y), (x2, y2) in zip(epochs[2], _epoch(resumed), strict=True):
        np.testing.assert_array_equal(x, x2)
        np.testing.assert_array_equal(y, y2)


def test_pipeline_unshuffled(images):
    batches = data.pipeline(*images, batch_size=8, shuffle=False)
    for _ in range(2):
        np.testing.assert_array_equal(_labels(batches), images[1])


def test_augmentation_crops_and_flips(images):
    x, y = images
    batches = data.pipeline(x, y, batch_size=50, augment=True)
    padded = np.pad(x, ((0, 0), (4, 4), (4, 4), (0, 0)))
    seen = set()
    for _ in range(6):
        ((crops, labels),) = _epoch(batches)
        assert crops.shape == x.shape
        assert crops.dtype == np.float32
        for crop, label in zip(crops, labels, strict=True):
            # Pixels are numbered, so the middle one tells the only move that can have been made.
            middle = np.argwhere(padded[label, ..., 0] == crop[16, 16, 0])[0]
            flipped = bool(crop[16, 17, 0] < crop[16, 16, 0])
            top, left = middle[0] - 16, middle[1] - (15 if flipped else 16)
            window = padded[label, top : top + 32, left : left + 32]
            np.testing.assert_array_equal(crop, window[:, ::-1] if flipped else window)
            seen.add((int(top), int(left), flipped))
    assert {top for top, _, _ in seen} == set(range(9))
    assert {left for _, left, _ in seen} == set(range(9))
    assert {flipped for _, _, flipped in seen} == {False, True}


def test_pipeline_feeds_fit_reproducibly(images):
    def train():
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten()])
        model.add(keras.layers.Dense(1))
        model.compile(keras.optimizers.SGD(1e-4), "mse", jit_compile=False)
        x, y = images
        batches = data.pipeline(x / x.max(), y / 50.0, batch_size=8, augment=True)
        history = model.fit(batches, epochs=2, shuffle=False, verbose=0)
        assert int(model.optimizer.iterations) == 14
        return history.history["loss"]

    first = train()
    assert np.isfinite(first).all()
    assert first == train()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"y": np.zeros(3)}, "one entry for each image"),
        ({"x": np.zeros((4, 9)), "augment": True}, r"needs images of shape \(n, h, w, c\)"),
        ({"batch_size": 0}, "batch_size"),
        ({"initial_epoch": -1}, "initial_epoch"),
        ({"batch_size": 5, "drop_remainder": True}, "make no batch. Received: batch_size=5"),
        ({"seed": -1}, "an integer of at least 0"),
    ],
)
def test_bad_pipeline_arguments(kwargs, message):
    arguments = {"x": np.zeros((4, 8, 8, 1)), "y": np.zeros(4), "batch_size": 2} | kwargs
    with pytest.raises(ValueError, match=message):
        data.pipeline(**arguments)
