"""Orders in which a data set can stream past, and where the batches end after which it is tested.

```python
order = class_incremental([0, 1, 2, 3] * 5, per_batch=2)
order.indices, order.ends  # ..., (10, 20)
```
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from keras_sparse.messages.arguments import integer, one_of, random_seed, wrong

BY_OBJECTS = ("instance", "class-instance")
NAMES = ("class-incremental", "iid", "class-iid", *BY_OBJECTS)


class Order(NamedTuple):
    """An order of the examples of a data set.

    Args:
        indices: Of the examples, as they come.
        ends: How many have come at the end of each batch.
        by_class: Whether a batch has classes of its own, so that a test is of the classes seen.
    """

    indices: np.ndarray
    ends: tuple[int, ...]
    by_class: bool


def class_numbers(
    y: ArrayLike, examples: int | None = None, classes: int | None = None
) -> np.ndarray:
    """Labels as an array of integers, `(n,)`.

    Args:
        y: Class numbers, `(n,)` or as Keras's data sets have them `(n, 1)`.
        examples: How many there must be; `None` for any number but 0.
        classes: Of how many classes they are; `None` for any.

    Raises:
        ValueError: If they are none.
    """
    labels = np.asarray(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels):
        cure = "Of one-hot labels y.argmax(1) makes them." if labels.ndim == 2 else ""
        raise wrong("y", y, "class numbers, one for each example", cure)
    if examples is not None and len(labels) != examples:
        raise wrong("y", y, f"one class for each of {examples} examples")
    if classes is not None and not 0 <= labels.min() <= labels.max() < classes:
        raise wrong("y", y, f"class numbers from 0 to {classes - 1}")
    return labels


def identity(order: Order, y: np.ndarray) -> bytes:
    """What tells a stream from others: its order, and the classes in it.

    Args:
        order: The order.
        y: Classes of the data set, in its own order.
    """
    both = np.stack([order.indices, y[order.indices]]).astype(np.int64)
    return both.tobytes()


def _shuffled(indices: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return random.permutation(indices)


def _by_class(groups: Sequence[Sequence[np.ndarray]]) -> Order:
    batches = [np.concatenate(group) for group in groups]
    ends = np.cumsum([len(batch) for batch in batches])
    return Order(np.concatenate(batches), tuple(int(end) for end in ends), True)


def _groups(
    labels: np.ndarray, per_batch: int, random: np.random.Generator, shuffle: bool
) -> list[list[np.ndarray]]:
    classes = random.permutation(np.unique(labels)) if shuffle else np.unique(labels)
    members = [np.flatnonzero(labels == each) for each in classes]
    return [members[i : i + per_batch] for i in range(0, len(members), per_batch)]


def class_incremental(
    y: ArrayLike, per_batch: int = 2, shuffle_classes: bool = False, seed: int | None = 0
) -> Order:
    """Class after class, shuffled inside of each.

    Args:
        y: Class numbers, `(n,)`.
        per_batch: Classes between two tests.
        shuffle_classes: Whether the classes come in a random order instead of by number.
        seed: Of the order; `None` for a random one.

    Raises:
        ValueError: If an argument is none that can be used.

    Source: Wolfe (2023), D.1.1.
    """
    integer("per_batch", per_batch)
    labels, random = class_numbers(y), np.random.default_rng(random_seed("seed", seed))
    groups = _groups(labels, per_batch, random, shuffle_classes)
    return _by_class([[_shuffled(each, random) for each in group] for group in groups])


def class_iid(y: ArrayLike, per_batch: int = 2, seed: int | None = 0) -> Order:
    """Batches of all examples of some classes, shuffled in each batch.

    Args:
        y: Class numbers, `(n,)`.
        per_batch: Classes of a batch.
        seed: Of the order.

    Raises:
        ValueError: If an argument is none that can be used.

    Source: Wolfe (2023), D.1.2 (CID).
    """
    integer("per_batch", per_batch)
    labels, random = class_numbers(y), np.random.default_rng(random_seed("seed", seed))
    groups = _groups(labels, per_batch, random, True)
    return _by_class([[_shuffled(np.concatenate(group), random)] for group in groups])


def iid(y: ArrayLike, batches: int = 5, seed: int | None = 0) -> Order:
    """All examples shuffled.

    Args:
        y: Class numbers, `(n,)`.
        batches: Equal parts after which there is a test.
        seed: Of the order.

    Raises:
        ValueError: If an argument is none that can be used.

    Source: Wolfe (2023), D.1.2 (ID).
    """
    integer("batches", batches)
    labels, random = class_numbers(y), np.random.default_rng(random_seed("seed", seed))
    return _in_parts(_shuffled(np.arange(len(labels)), random), batches)


def _in_parts(indices: np.ndarray, batches: int) -> Order:
    ends = [round(len(indices) * (part + 1) / batches) for part in range(batches)]
    return Order(indices, tuple(dict.fromkeys(end for end in ends if end)), False)


def instance(y: ArrayLike, instances: ArrayLike, batches: int = 5, seed: int | None = 0) -> Order:
    """Object after object in a random order, the frames of each as they were taken.

    Args:
        y: Class numbers, `(n,)`.
        instances: Which object each example shows, `(n,)`.
        batches: Equal parts after which there is a test.
        seed: Of the order.

    Raises:
        ValueError: If an argument is none that can be used.

    Source: Wolfe (2023), D.1.2 (I).
    """
    integer("batches", batches)
    random = np.random.default_rng(random_seed("seed", seed))
    shown = _instances(class_numbers(y), instances)
    objects = random.permutation(np.unique(shown))
    return _in_parts(np.concatenate([np.flatnonzero(shown == each) for each in objects]), batches)


def _instances(labels: np.ndarray, instances: ArrayLike) -> np.ndarray:
    shown = np.asarray(instances)
    if shown.shape != labels.shape or shown.dtype.kind not in "iu":
        raise wrong("instances", instances, "object numbers, one for each example")
    return shown


def class_instance(
    y: ArrayLike, instances: ArrayLike, per_batch: int = 2, seed: int | None = 0
) -> Order:
    """Batches of some classes, in each object after object, the frames as they were taken.

    Args:
        y: Class numbers, `(n,)`.
        instances: Which object each example shows, `(n,)`.
        per_batch: Classes of a batch.
        seed: Of the order.

    Raises:
        ValueError: If an argument is none that can be used.

    Source: Wolfe (2023), D.1.2 (CI).
    """
    integer("per_batch", per_batch)
    labels, random = class_numbers(y), np.random.default_rng(random_seed("seed", seed))
    shown = _instances(labels, instances)
    batches = []
    for group in _groups(labels, per_batch, random, True):
        members = np.concatenate(group)
        pairs = [
            (label, each)
            for label in np.unique(labels[members])
            for each in np.unique(shown[labels == label])
        ]
        batches.append(
            [
                np.flatnonzero((labels == pairs[i][0]) & (shown == pairs[i][1]))
                for i in random.permutation(len(pairs))
            ]
        )
    return _by_class(batches)


def order_of(
    name: str, y: ArrayLike, instances: ArrayLike | None = None, seed: int | None = 0
) -> Order:
    """The order of a name, with its defaults.

    Args:
        name: `"class-incremental"`, `"iid"`, `"class-iid"`, `"instance"` or `"class-instance"`.
        y: Class numbers, `(n,)`.
        instances: Which object each example shows, for the last two.
        seed: Of the order.

    Raises:
        ValueError: If the name is none of these, or objects are missing.
    """
    one_of("order", name, NAMES)
    if name == "class-incremental":
        return class_incremental(y, seed=seed)
    if name == "iid":
        return iid(y, seed=seed)
    if name == "class-iid":
        return class_iid(y, seed=seed)
    if instances is None:
        raise wrong("instances", instances, f"object numbers for the order {name!r}")
    if name == "instance":
        return instance(y, instances, seed=seed)
    return class_instance(y, instances, seed=seed)
