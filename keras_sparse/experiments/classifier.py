"""A model as a classifier of a data set: the size of its images, its pixels and its classes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from rich.console import Console

from keras_sparse import data
from keras_sparse.experiments.images import compiled
from keras_sparse.messages.arguments import integer, optional, wrong
from keras_sparse.probe.copies import copy_states
from keras_sparse.probe.layer_graph import layer_graph
from keras_sparse.transfer.heads import classifier_call

# Of the logistic regression, on features of deviation 1.
_INVERSE_PENALTY = 0.01


def check_feeding(config: Any) -> None:
    """Checks the fields of a configuration that say how a classifier is fed.

    Args:
        config: Has `data`, `image_size`, `test_images`, `normalize`, `batch_size`, `seed` and
            perhaps `images`.

    Raises:
        ValueError: If one is none that can be used.
    """
    data.available(config.data)
    integer("batch_size", config.batch_size)
    integer("seed", config.seed, 0)
    for name in ("images", "test_images", "image_size"):
        optional(integer, name, getattr(config, name, None))
    given = config.normalize
    if given is not None and (len(given) != 2 or not given[1] > 0):
        raise wrong("normalize", given, "two numbers, the second above 0")


class Images:
    """The images of a data set as a model takes them, resized batch by batch.

    Args:
        dataset: The data set.
        shape: Height, width and channels that the model takes.
        normalize: What a pixel has subtracted and is divided by, such as `(127, 128)`. Defaults
            to the data set's own mean and deviation, by which it is standardized.
        batch_size: Images in a batch.
        test: At most how many test images.

    Raises:
        ValueError: If images of several colors are to be given to a model of other channels.
    """

    def __init__(
        self,
        dataset: data.Dataset,
        shape: tuple[int, int, int],
        normalize: tuple[float, float] | None = None,
        batch_size: int = 64,
        test: int | None = None,
    ) -> None:
        colors = dataset.input_shape[-1]
        if colors not in (1, shape[-1]):
            raise ValueError(
                f"The model takes images of {shape[-1]} channels, and those of {dataset.name!r} "
                f"have {colors}. Choose data or a model that fits the other."
            )
        self.dataset = dataset
        self.shape = shape
        self.batch_size = batch_size
        self.test = test
        self.scale, self.offset = np.ones(colors, "float32"), np.zeros(colors, "float32")
        if normalize is not None:
            self.scale = dataset.std / normalize[1]
            self.offset = (dataset.mean - normalize[0]) / normalize[1]

    def train_batches(self, shuffle: bool, seed: int = 0) -> Any:
        """Batches of the training images and their labels."""
        return self._batches(*self.dataset.train, shuffle=shuffle, seed=seed)

    def test_batches(self) -> Any:
        """Batches of the test images and their labels, in their order."""
        return self._batches(*(part[: self.test] for part in self.dataset.test), shuffle=False)

    def _batches(self, x: np.ndarray, y: np.ndarray, **options: Any) -> Any:
        import tensorflow as tf

        height, width, channels = self.shape
        repeats = channels // x.shape[-1]

        def fitting(images: Any, labels: Any) -> Any:
            if (height, width) != x.shape[1:3]:
                images = tf.image.resize(images, (height, width))
            return tf.repeat(images * self.scale + self.offset, repeats, axis=-1), labels

        return data.pipeline(x, y, self.batch_size, **options).map(fitting)


def fed(model: keras.Model, config: Any, limit: int | None) -> tuple[keras.Model, Images]:
    """A model for images of the size that is wanted, and these images.

    Args:
        model: A model of one image.
        config: Settings with `data`, `seed`, `image_size`, `normalize`, `batch_size` and
            `test_images`.
        limit: Training images to take; `None` for all.

    Raises:
        ValueError: If the model cannot be fed with them.
    """
    keras.utils.set_random_seed(config.seed)
    dataset = data.load(config.data, limit=limit, seed=config.seed)
    model = of_size(model, config.image_size, dataset.input_shape[:2])
    shape = model.inputs[0].shape[1:]
    return model, Images(dataset, shape, config.normalize, config.batch_size, config.test_images)


def of_size(model: keras.Model, size: int | None, otherwise: tuple[int, ...]) -> keras.Model:
    """The model for images of a size.

    Args:
        model: A model of one input, `(height, width, channels)`.
        size: Height and width; `None` for its own.
        otherwise: Height and width for a model that leaves them open.

    Returns:
        The same model, or one with its weights.

    Raises:
        ValueError: If it has other inputs, or cannot be built for the size.
    """
    shapes = [tuple(tensor.shape) for tensor in model.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][-1] is None:
        raise ValueError(
            "Only models of one image, (height, width, channels), can be fed with a data set. "
            f"Received: a model of inputs {shapes}. Use keras_sparse.structured.prune in Python."
        )
    own = shapes[0][1:3]
    wanted = (size, size) if size else tuple(a or b for a, b in zip(own, otherwise, strict=True))
    if wanted == own:
        return model
    image = keras.Input((*wanted, shapes[0][-1]), dtype=model.inputs[0].dtype)
    try:
        other = keras.models.clone_model(model, input_tensors=image)
        other.set_weights(model.get_weights())
        copy_states(model._flatten_layers(), other._flatten_layers())
    except Exception as error:
        raise ValueError(
            f"The model, which is made for images of {own}, cannot take {wanted}: {error}. Leave "
            "image_size out."
        ) from error
    return other


def features(model: keras.Model) -> keras.Model:
    """What a model computes before its classifier: its last layer, or nothing if it has none.

    Args:
        model: A functional or Sequential model of one output.

    Raises:
        ValueError: If the model has no graph or several outputs.
    """
    graph = layer_graph(model)
    if len(graph.outputs) != 1:
        raise ValueError(
            f"A classifier has one output. Received: a model of {len(graph.outputs)}. Build one "
            "with keras.Model(inputs, output), or use keras_sparse.structured.prune in Python."
        )
    last = classifier_call(graph)
    found = last.inputs[0] if last in graph.calls else graph.outputs[0]
    if len(found.shape) > 2:
        found = keras.layers.GlobalAveragePooling2D(name="probed_features")(found)
    return keras.Model(graph.inputs[0], found)


def with_probed_head(model: keras.Model, images: Images) -> keras.Model:
    """A model with a new classifier on its features, fitted by logistic regression.

    Args:
        model: As for `features`.
        images: The training images, of which features are computed once.

    Returns:
        A new model that gives logits and shares its layers with the given one.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    seen = features(model)
    x = seen.predict(images.train_batches(shuffle=False), verbose=0)
    scaler = StandardScaler().fit(x)
    found = LogisticRegression(C=_INVERSE_PENALTY, max_iter=1000)
    found.fit(scaler.transform(x), images.dataset.y_train)
    if len(found.classes_) != images.dataset.num_classes:
        raise ValueError(
            f"The training images show {len(found.classes_)} of {images.dataset.num_classes} "
            "classes: take more of them."
        )
    kernel = found.coef_ / scaler.scale_
    bias = found.intercept_ - kernel @ scaler.mean_
    head = keras.layers.Dense(images.dataset.num_classes, name="probed_head")
    probed = keras.Model(seen.inputs[0], head(seen.outputs[0]), name=model.name)
    head.set_weights([kernel.T, bias])
    return probed


def gives_logits(model: keras.Model, images: Images) -> bool:
    """Whether a classifier's outputs are logits, rather than probabilities that sum to one."""
    outputs = model.predict(images.test_batches().take(1), verbose=0)
    return bool((outputs < 0).any() or np.abs(outputs.sum(axis=-1) - 1).max() > 1e-3)


def tested(model: keras.Model, images: Images, logits: bool, which: str, console: Console) -> float:
    """The accuracy on the test images, which is shown as well; compiles the model for it.

    Args:
        model: A classifier.
        images: The data.
        logits: Whether it gives logits.
        which: What the model is called when its accuracy is shown.
        console: Where it is shown.
    """
    compiled(model, 0.0, batch_norm_momentum=None, from_logits=logits)
    with console.status(f"Testing, {which}"):
        found = model.evaluate(images.test_batches(), verbose=0)[1]
    console.print(f"{which}: {found:.2%} test accuracy", highlight=False)
    return found
