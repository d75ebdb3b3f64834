"""Image data sets as arrays, and a reproducible input pipeline for them.

TensorFlow is imported inside the functions that need it, so that importing the package stays
quick and `load("digits")` works on any Keras backend without it.
"""

import difflib
import math
import os
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

# A file that TFDS would fetch for the data set: it tells whether a download can work at all.
_SOURCES = {
    "mnist": "https://storage.googleapis.com/cvdf-datasets/mnist/train-images-idx3-ubyte.gz",
    "cifar10": "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
}
_NAMES = (*_SOURCES, "digits")
_PAD = 4  # pixels on each side before the random crop, as usual for CIFAR


@dataclass(frozen=True, eq=False)
class Dataset:
    """A classification data set in memory, standardised and ready for `model.fit`.

    `model.fit(*data.train, validation_data=data.test)` is all that training needs. The pixels of
    the files come back as `x * data.std + data.mean` (of shape `(n, h, w, c)`, not flattened).

    Args:
        x_train: float32 images, `(n, h, w, c)`, or `(n, h * w * c)` if loaded flattened.
        y_train: int32 class indices, `(n,)`.
        x_test: float32 test images, laid out as `x_train`.
        y_test: int32 class indices of the test images.
        name: the name it was loaded by.
        num_classes: number of classes.
        mean: float32 `(c,)`, mean of the whole training set, in the pixel units of the files.
        std: float32 `(c,)`, its standard deviation, in the same units.
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
    """Loads a data set as standardised float32 arrays.

    `"mnist"` and `"cifar10"` are read from where tensorflow-datasets keeps prepared data (the
    environment variable `TFDS_DATA_DIR`, else `~/tensorflow_datasets`), which may be read-only;
    what is not prepared there is downloaded first. `"digits"` is embedded in scikit-learn
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
        name: `"mnist"`, `"cifar10"` or `"digits"`.
        limit: at most how many training images to take, at random but with class counts that
            differ by at most one where there are enough of each; with one seed a smaller set is
            part of a larger one. `None` takes all in the order of the files. The test set stays
            whole.
        flatten: whether to return each image as one vector, `(n, h * w * c)`.
        seed: picks the subset that `limit` takes; a non-negative integer.

    Returns:
        The `Dataset`.

    Raises:
        ValueError: if `name`, `limit` or `seed` is none that can be used.
        FileNotFoundError: if the data set is neither prepared nor to be downloaded.
    """
    _check_name(name)
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be None (all images) or at least 1; got limit={limit}.")
    _check_seed(seed)
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
        name: the data set wanted; this and the rest as in `load`.
        limit: at most how many training images.
        flatten: whether each image is one vector.
        seed: picks the subset that `limit` takes.

    Returns:
        The `Dataset` called `name`, or the one called `"digits"`.

    Raises:
        ValueError: if an argument is none that `load` takes.
    """
    try:
        return load(name, limit=limit, flatten=flatten, seed=seed)
    except FileNotFoundError as error:
        warnings.warn(f"{error}\nUsing the embedded 'digits' instead.", stacklevel=2)
        return load("digits", limit=limit, flatten=flatten, seed=seed)


def available(name: str) -> bool:
    """Tells whether `load(name)` works at once, without a download.

    Args:
        name: `"mnist"`, `"cifar10"` or `"digits"` (always true).

    Returns:
        Whether the data set is embedded or prepared on disk.

    Raises:
        ValueError: if there is no data set of that name.
    """
    _check_name(name)
    return name == "digits" or _prepared_dir(name) is not None


def pipeline(
    x: np.ndarray,
    y: np.ndarray,
    batch_size: int,
    *,
    augment: bool = False,
    shuffle: bool = True,
    seed: int = 0,
    initial_epoch: int = 0,
    drop_remainder: bool = False,
) -> "tf.data.Dataset":
    """Makes a `tf.data.Dataset` of batches whose order and augmentation follow from the seed alone.

    Order, crops and flips of an epoch are drawn from `(seed, epoch)`; neither TensorFlow's global
    seed nor the number of threads has a say. A full pass over the data set ends an epoch and the
    next pass is the next epoch; a pass that is left early is not counted. The arrays are read in
    place, not copied. (Keras warns that it leaves the order alone unless `fit` gets
    `shuffle=False`.)

    Augmentation is CIFAR's standard one (He et al. 2016, section 4.2): 4 pixels of zeros (the mean
    colour, once standardised) on each side, a random crop of the original size, and a horizontal
    flip with probability 1/2.

    ```python
    from keras_sparse import data

    digits = data.load("digits")
    batches = data.pipeline(*digits.train, batch_size=128, seed=1)
    print(int(batches.cardinality()))  # 12
    ```

    Args:
        x: the images, `(n, h, w, c)`; of any shape `(n, ...)` without augmentation.
        y: the labels, `(n, ...)`.
        batch_size: images per batch.
        augment: whether to crop and flip at random.
        shuffle: whether to draw a new order every epoch.
        seed: a non-negative integer.
        initial_epoch: number of the first pass; to resume a training, the same as in `fit`.
        drop_remainder: whether to leave out a last batch that is smaller than the others.

    Returns:
        A data set of `(x, y)` batches with a known cardinality, the steps of one epoch.

    Raises:
        ValueError: if the arguments do not fit together.
    """
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
        raise ValueError(f"x and y must have one entry per image; got {x.shape} and {y.shape}.")
    if augment and x.ndim != 4:
        raise ValueError(
            f"augment=True needs images (n, h, w, c); got x of shape {x.shape}. "
            "Load the data with flatten=False, or pass augment=False."
        )
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; got {batch_size}.")
    steps = len(x) // batch_size if drop_remainder else math.ceil(len(x) / batch_size)
    if steps == 0:
        raise ValueError(
            f"{len(x)} images make no batch of {batch_size}. "
            "Give a smaller batch_size, more images, or drop_remainder=False."
        )
    if initial_epoch < 0:
        raise ValueError(f"initial_epoch counts from 0; got {initial_epoch}.")
    _check_seed(seed)
    import tensorflow as tf

    batches = _Batches(x, y, batch_size, steps, augment, shuffle, seed, initial_epoch)
    rows = batch_size if steps * batch_size <= len(x) else None
    signature = tuple(tf.TensorSpec((rows, *a.shape[1:]), a.dtype) for a in (x, y))
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2)


@dataclass
class _Batches:
    """Yields the batches of `epoch`, which moves on when its last batch is taken.

    Keras and `tf.distribute` make iterators that they look into once or never, so that counting
    the passes begun would make the epoch depend on who asks.
    """

    x: np.ndarray
    y: np.ndarray
    batch_size: int
    steps: int
    augment: bool
    shuffle: bool
    seed: int
    epoch: int

    def __call__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        epoch = self.epoch
        rng = np.random.default_rng((self.seed, epoch))
        order = rng.permutation(len(self.x)) if self.shuffle else np.arange(len(self.x))
        for step in range(self.steps):
            chosen = order[step * self.batch_size : (step + 1) * self.batch_size]
            images = self.x[chosen]
            if self.augment:
                images = _crop_and_flip(images, rng)
            if step == self.steps - 1:
                # Before the yield: whoever has the last batch may begin the next pass at once.
                self.epoch = epoch + 1
            yield images, self.y[chosen]


def _crop_and_flip(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    count, height, width, channels = images.shape
    padded = np.zeros((count, height + 2 * _PAD, width + 2 * _PAD, channels), images.dtype)
    padded[:, _PAD:-_PAD, _PAD:-_PAD] = images
    moves = rng.integers(0, (2 * _PAD + 1, 2 * _PAD + 1, 2), (count, 3))
    out = np.empty_like(images)
    # Slicing image by image costs a half of gathering pixels, in NumPy or in TensorFlow.
    for i, (top, left, flip) in enumerate(moves.tolist()):
        crop = padded[i, top : top + height, left : left + width]
        out[i] = crop[:, ::-1] if flip else crop
    return out


def _check_name(name: str) -> None:
    if name not in _NAMES:
        near = difflib.get_close_matches(str(name).lower(), _NAMES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"There is no data set {name!r}; there are {', '.join(_NAMES)}.{hint}")


def _check_seed(seed: int) -> None:
    if seed < 0:
        raise ValueError(f"seed must be a non-negative integer; got {seed}.")


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
