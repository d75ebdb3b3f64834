"""What a model remembers of labels that mean nothing."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np

from keras_sparse.backend.training_state import fetch_state
from keras_sparse.messages.arguments import boolean, instance, integer, optional, wrong


@dataclasses.dataclass(frozen=True)
class RandomLabels:
    """Labels of which some are random. Made by `inject_random_labels`.

    Args:
        y: All labels, the random ones among them, shape `(samples,)`.
        indices: Which samples have a random label, in increasing order.
        given: Their random labels.
        true: Their true labels.
    """

    y: np.ndarray = dataclasses.field(repr=False)
    indices: np.ndarray = dataclasses.field(repr=False)
    given: np.ndarray = dataclasses.field(repr=False)
    true: np.ndarray = dataclasses.field(repr=False)


def inject_random_labels(
    y: Any,
    samples: int = 1000,
    *,
    classes: int | None = None,
    keep_true: bool = True,
    seed: int = 0,
) -> RandomLabels:
    """Gives some samples random labels, and keeps their true ones aside.

    A model that knows the random labels can only have memorized them.

    ```python
    labels = ks.inject_random_labels(y_train, samples=1000)
    monitor = ks.MemorizationMonitor(x_train, labels)
    model.fit(x_train, labels.y, callbacks=[monitor])
    ```

    Args:
        y: Class indices, shape `(samples,)` or `(samples, 1)`.
        samples: How many get a random label.
        classes: Classes to draw from; defaults to what the labels tell.
        keep_true: Whether the true label may be drawn, as in the source, so that of 10 classes
            every tenth keeps it; otherwise each gets another class.
        seed: Of which samples, and of their labels.

    Returns:
        The `RandomLabels`; `y` itself is not changed.

    Raises:
        ValueError: If there are fewer samples or classes than that, or labels are no indices.

    Source: Peste (2023), 3.6.2 and A.2.2.
    """
    labels = np.asarray(y)
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels):
        cure = "Of one-hot rows make indices first: y.argmax(-1)."
        shown = f"an array of {labels.dtype} of shape {labels.shape}"
        raise wrong("y", shown, "integers of shape (samples,)", cure)
    integer("samples", samples, 1, len(labels))
    boolean("keep_true", keep_true)
    integer("seed", seed, 0)
    known = int(labels.max()) + 1
    count = optional(integer, "classes", classes, max(known, 2)) or max(known, 2)
    generator = np.random.default_rng(seed)
    indices = np.sort(generator.choice(len(labels), samples, replace=False))
    true = labels[indices]
    if keep_true:
        given = generator.integers(0, count, samples)
    else:
        given = (true + generator.integers(1, count, samples)) % count
    given = given.astype(labels.dtype)
    changed = labels.copy()
    changed[indices] = given
    return RandomLabels(changed, indices, given, true)


class MemorizationMonitor(keras.callbacks.Callback):
    """Logs at each epoch's end what a model has memorized of random labels.

    The logs get `memorization`, the accuracy on the samples with a random label by that label,
    and `true_label_accuracy`, the accuracy on the same samples by their true labels. The weights
    are those of the moment: of AC/DC sparse in sparse epochs and dense in dense ones.

    ```python
    monitor = ks.MemorizationMonitor(x_train, labels)
    history = model.fit(x_train, labels.y, epochs=12, callbacks=[ks.ACDC(0.95), monitor])
    ks.plots.memorization_curve(history.history, "memorization.png")
    ```

    Args:
        x: The inputs of all samples.
        labels: What `inject_random_labels` made of their labels.
        batch_size: Samples in a batch.

    Raises:
        ValueError: If inputs and labels are not of the same samples.

    Source: Peste (2023), 3.6.2.
    """

    def __init__(self, x: Any, labels: RandomLabels, batch_size: int = 256) -> None:
        super().__init__()
        instance("labels", labels, RandomLabels, "what ks.inject_random_labels returns")
        self.batch_size = integer("batch_size", batch_size)
        if not hasattr(x, "shape") or len(x) != len(labels.y):
            shown = getattr(x, "shape", type(x).__name__)
            raise wrong("x", shown, f"an array of the {len(labels.y)} samples of the labels")
        self.labels = labels
        self._x = np.asarray(x)[labels.indices]

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Looks at the samples with a random label."""
        fetch_state(self.model)
        outputs = self.model.predict(self._x, batch_size=self.batch_size, verbose=0)
        if np.shape(outputs)[-1] < 2:
            raise ValueError(
                "MemorizationMonitor looks at which class has the largest output. Received: a "
                f"model of outputs {np.shape(outputs)}. Give it an output for each class."
            )
        classes = np.asarray(outputs).argmax(-1)
        if logs is not None:
            logs["memorization"] = float((classes == self.labels.given).mean())
            logs["true_label_accuracy"] = float((classes == self.labels.true).mean())
