"""Image data sets as arrays.

TensorFlow is imported inside the functions that need it, so that importing the package stays
quick and `load("digits")` works on any Keras backend without it.
"""

import os
import threading
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_sparse.messages.arguments import boolean, integer, one_of, optional

# A file that TFDS would fetch for the data set: it tells whether a download can work at all.
_SOURCES = {
    "mnist": "https://storage.googleapis.com/cvdf-datasets/mnist/train-images-idx3-ubyte.gz",
    "fashion_mnist": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
    "train-images-idx3-ubyte.gz",
    "cifar10": "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "cifar100": "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
}
_NAMES = (*_SOURCES, "digits")


@dataclass(frozen=True, eq=False)
class Dataset:
    """A classification data set in memory, standardized and ready for `model.fit`.

    `model.fit(*data.train, validation_data=data.test)` is all that training needs. The pixels of
    the files come back as `x * data.std + data.mean` (of shape `(n, h, w, c)`, not flattened).

    Args:
        x_train: Float32 images, `(n, h, w, c)`, or `(n, h * w * c)` if loaded flattened.
        y_train: Int32 class indices, `(n,)`.
        x_test: Float32 test images, laid out as `x_train`.
        y_test: Int32 class indices of the test images.
        name: The name it was loaded by.
        num_classes: Number of classes.
        mean: Float32 `(c,)`, mean of the whole training set, in the pixel units of the files.
        std: Float32 `(c,)`, its standard deviation, in the same units.
    """

    x_train: np.ndarray = field(repr=False)
    y_train: np.ndarray = field(repr=False)
    x_test: np.ndarray = field(repr=False)
    y_test: np.ndarray = field(repr=False)
    name: str
    num_classes: int
    mean: np.ndarray
    std: np.ndarray

    @property
    def train(self) -> tuple[np.ndarray, np.ndarray]:
        """The training images and labels, `(x_train, y_train)`."""
        return self.x_train, self.y_train

    @property
    def test(self) -> tuple[np.ndarray, np.ndarray]:
        """The test images and labels, `(x_test, y_test)`."""
        return self.x_test, self.y_test

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one image, as a model builder's `input_shape` wants it."""
        return self.x_train.shape[1:]


def load(name: str, *, limit: int | None = None, flatten: bool = False, seed: int = 0) -> Dataset:
    """Loads a data set as standardized float32 arrays.

    `"mnist"`, `"fashion_mnist"`, `"cifar10"` and `"cifar100"` are read from where
    tensorflow-datasets keeps prepared data (the environment variable `TFDS_DATA_DIR`, else
    `~/tensorflow_datasets`), which may be read-only; what is not prepared there is downloaded
    first. `"digits"` is embedded in scikit-learn
    (1797 images of 8x8) and is always split into the same stratified 1437 and 360 images.

    Each channel is shifted and scaled to mean 0 and standard deviation 1 over the *whole* training
    set, so that the test images do not depend on `limit`.

    ```python
    import keras
    from keras_sparse import data, models

    digits = data.load("digits")
    model = models.lenet_300_100(digits.input_shape)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(*digits.train, validation_data=digits.test)
    ```

    Args:
        name: `"mnist"`, `"fashion_mnist"`, `"cifar10"`, `"cifar100"` or `"digits"`.
        limit: At most how many training images to take, at random but with class counts that
            differ by at most one where there are enough of each; with one seed a smaller set is
            part of a larger one. `None` takes all in the order of the files. The test set stays
            whole.
        flatten: Whether to return each image as one vector, `(n, h * w * c)`.
        seed: Picks the subset that `limit` takes; a non-negative integer.

    Returns:
        The `Dataset`.

    Raises:
        ValueError: If `name`, `limit` or `seed` is none that can be used.
        FileNotFoundError: If the data set is neither prepared nor to be downloaded.
    """
    one_of("name", name, _NAMES)
    optional(integer, "limit", limit)
    boolean("flatten", flatten)
    integer("seed", seed, 0)
    (x_train, y_train), (x_test, y_test) = _digits() if name == "digits" else _from_tfds(name)
    num_classes = int(y_train.max()) + 1
    mean, std = _moments(x_train)
    if limit is not None:
        chosen = _balanced_subset(y_train, limit, seed)
        x_train, y_train = x_train[chosen], y_train[chosen]

    def prepare(images: np.ndarray) -> np.ndarray:
        scaled = images.astype(np.float32)
        scaled -= mean
        scaled /= std
        return scaled.reshape(len(scaled), -1) if flatten else scaled

    return Dataset(prepare(x_train), y_train, prepare(x_test), y_test, name, num_classes, mean, std)


def load_or_digits(
    name: str = "mnist", *, limit: int | None = None, flatten: bool = False, seed: int = 0
) -> Dataset:
    """Loads a data set where it can be had, and scikit-learn's digits, with a warning, elsewhere.

    For demonstrations that have to run on a machine with neither data nor network: look at the
    `name` and `input_shape` of what comes back.

    Args:
        name: The data set wanted; this and the rest as in `load`.
        limit: At most how many training images.
        flatten: Whether each image is one vector.
        seed: Picks the subset that `limit` takes.

    Returns:
        The `Dataset` called `name`, or the one called `"digits"`.

    Raises:
        ValueError: If an argument is none that `load` takes.
    """
    try:
        return load(name, limit=limit, flatten=flatten, seed=seed)
    except FileNotFoundError as error:
        warnings.warn(f"{error}\nUsing the embedded 'digits' instead.", stacklevel=2)
        return load("digits", limit=limit, flatten=flatten, seed=seed)


def available(name: str) -> bool:
    """Tells whether `load(name)` works at once, without a download.

    Args:
        name: One that `load` takes; `"digits"` always is.

    Returns:
        Whether the data set is embedded or prepared on disk.

    Raises:
        ValueError: If there is no data set of that name.
    """
    one_of("name", name, _NAMES)
    return name == "digits" or _prepared_dir(name) is not None


def _moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # Sums of integers, so that the result is exact and the same on every machine.
    pixels = images.reshape(len(images), -1)
    total = pixels.sum(axis=0, dtype=np.int64)
    squares = np.einsum("nk,nk->k", pixels, pixels, dtype=np.int64)
    count = images[..., 0].size
    mean = total.reshape(images.shape[1:]).sum(axis=(0, 1)) / count
    variance = squares.reshape(images.shape[1:]).sum(axis=(0, 1)) / count - mean**2
    return mean.astype(np.float32), np.sqrt(variance).astype(np.float32)


def _balanced_subset(labels: np.ndarray, limit: int, seed: int) -> np.ndarray:
    order = np.random.default_rng(seed).permutation(len(labels))
    rank = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels[order] == label)
        rank[members] = np.arange(len(members))
    return order[np.argsort(rank, kind="stable")[:limit]]


_Split = tuple[np.ndarray, np.ndarray]


def _digits() -> tuple[_Split, _Split]:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    x_train, x_test, y_train, y_test = train_test_split(
        digits.images[..., None].astype(np.uint8),
        digits.target.astype(np.int32),
        test_size=0.2,
        stratify=digits.target,
        random_state=0,
    )
    return (x_train, y_train), (x_test, y_test)


def _data_dir() -> str:
    # TFDS itself reads the variable once, on import: too early for whoever sets it later.
    return os.path.expanduser(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")


def _prepared_dir(name: str) -> Any:
    import tensorflow_datasets as tfds

    found = [
        info.parent
        for info in tfds.core.Path(_data_dir()).glob(f"{name}/*/dataset_info.json")
        if tfds.core.Version.is_valid(info.parent.name)
    ]
    return max(found, key=lambda path: tfds.core.Version(path.name), default=None)


def _from_tfds(name: str) -> tuple[_Split, _Split]:
    import tensorflow_datasets as tfds

    directory = _prepared_dir(name) or _download(name)
    # The directory's own builder only ever reads; one made by name may write beside the data.
    info = tfds.builder_from_directory(directory).info
    if info.file_format.value != "tfrecord":
        raise ValueError(
            f"{directory} holds {info.file_format.value} files; only tfrecord can be read. "
            "Prepare it with tensorflow-datasets' default file format, or set TFDS_DATA_DIR."
        )
    return _decode(info, "train"), _decode(info, "test")


def _decode(info: Any, split: str) -> _Split:
    import tensorflow as tf

    shape = info.features["image"].shape
    columns = {
        "image": tf.io.FixedLenFeature([], tf.string),
        "label": tf.io.FixedLenFeature([], tf.int64),
    }

    def decode_image(encoded: Any) -> Any:
        # In spite of its name the operation decodes JPEG as well, and is faster than decode_image.
        return tf.ensure_shape(tf.io.decode_png(encoded, channels=shape[-1]), shape)

    def decode_batch(records: Any) -> Any:
        parsed = tf.io.parse_example(records, columns)
        images = tf.map_fn(decode_image, parsed["image"], fn_output_signature=tf.uint8)
        return images, tf.cast(parsed["label"], tf.int32)

    # Thousands of records per call: TFDS's own one by one takes five times as long. One element
    # holds the whole split, which also spares TensorFlow's log line about the end of a sequence.
    files = [str(path) for path in info.splits[split].filepaths]
    batches = tf.data.TFRecordDataset(files).batch(1000)
    decoded = batches.map(decode_batch, num_parallel_calls=os.cpu_count())
    images, labels = decoded.rebatch(info.splits[split].num_examples).get_single_element()
    return images.numpy(), labels.numpy()


def _download(name: str) -> Any:
    import tensorflow_datasets as tfds

    cure = (
        f"Set the environment variable TFDS_DATA_DIR to a folder where tensorflow-datasets has "
        f"prepared {name!r}, or use the embedded data set 'digits'."
    )
    missing = f"{name!r} is not prepared in {_data_dir()} and cannot be downloaded"
    if not _reachable(_SOURCES[name]):
        raise FileNotFoundError(f"{missing}: no answer from {_SOURCES[name]}. {cure}")
    builder = tfds.builder(name, data_dir=_data_dir())
    try:
        builder.download_and_prepare()
    except Exception as error:
        raise FileNotFoundError(f"{missing}: {error}. {cure}") from error
    return builder.data_path


def _reachable(url: str, seconds: float = 10.0) -> bool:
    # Without a network TFDS tries for minutes and leaves its half-made files behind.
    import requests  # what TFDS downloads with, so proxies and certificates are the same

    answers = []

    def ask() -> None:
        try:
            answers.append(requests.head(url, timeout=seconds / 2, allow_redirects=True).ok)
        except requests.RequestException:
            answers.append(False)

    # In a thread because requests' timeout does not cover a name server that keeps silent.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answers == [True]
