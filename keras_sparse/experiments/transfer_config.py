"""What a run of a transfer study is made of: an upstream task, a method, other tasks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from keras_sparse import data
from keras_sparse.experiments.catalog import METHODS
from keras_sparse.experiments.networks import NETWORKS
from keras_sparse.messages.arguments import integer, number, one_of, optional, wrong
from keras_sparse.transfer.comparison import DENSE, MODES

# Beside those of the catalog: methods of the source that begin with the trained dense model.
LTH_T, STRUCTURED, WOODFISHER, GMP, STR = "lth_t", "structured", "woodfisher", "gmp", "str"
UPSTREAM_METHODS = (DENSE, *(name for name in METHODS if name != DENSE), LTH_T, STRUCTURED)


@dataclasses.dataclass(frozen=True)
class TransferRunConfig:
    """Everything that the result of an upstream model and its transfers follows from.

    Args:
        upstream: The upstream task: a data set of `keras_sparse.data.load`, of which classes may
            be chosen: `"cifar10:0-4"`.
        tasks: The tasks to transfer to, in the same form.
        model: A name in `NETWORKS`.
        method: What the upstream model is pruned by: a name that `list-methods` shows, `"lth_t"`
            or `"structured"`. Of STR, which takes no sparsity, the threshold is searched for.
        sparsity: Fraction of the weights to remove, or of the parameters with `"structured"`.
        modes: Any of `"linear"`, `"lbfgs"` and `"full"`.
        epochs: Of the upstream training.
        transfer_epochs: Of each transfer by SGD.
        ticket_epochs: Of each round of a lottery ticket's search.
        images: Training images of the upstream task; `None` for all.
        transfer_images: Training images of each other task; `None` for all.
        test_images: Test images of each; `None` for all.
        batch_size: Images in a batch.
        learning_rate: Of the upstream training, which falls to 0 along a cosine.
        linear_rate: Of linear transfer, which falls in steps.
        full_rate: Of full transfer, which falls in steps.
        seed: Of all that is random.

    Raises:
        ValueError: If a value is none that can be used.
    """

    upstream: str = "cifar10:0-4"
    tasks: tuple[str, ...] = ("cifar10:5-9", "fashion_mnist")
    model: str = "conv"
    method: str = DENSE
    sparsity: float = 0.0
    modes: tuple[str, ...] = MODES
    epochs: int = 12
    transfer_epochs: int = 30
    ticket_epochs: int = 2
    images: int | None = 10000
    transfer_images: int | None = 1000
    test_images: int | None = 2000
    batch_size: int = 64
    learning_rate: float = 0.05
    linear_rate: float = 0.05
    full_rate: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "tasks", tuple(self.tasks))
        object.__setattr__(self, "modes", tuple(self.modes))
        one_of("model", self.model, tuple(NETWORKS))
        one_of("method", self.method, UPSTREAM_METHODS)
        number("sparsity", self.sparsity, "[0, 1)")
        of_its_own = self.method in METHODS and not METHODS[self.method].takes_sparsity
        if of_its_own and self.method != STR:
            raise ValueError(
                f"method {self.method!r} comes to a sparsity of its own, and upstream models are "
                "compared at the same. Leave it out."
            )
        if not self.tasks or not self.modes:
            raise wrong("tasks", self.tasks, "one task at least, in one mode at least")
        for mode in self.modes:
            one_of("modes", mode, MODES)
        for task in (self.upstream, *self.tasks):
            name, _ = read_task(task)
            data.available(name)
        for name in ("epochs", "transfer_epochs", "ticket_epochs", "batch_size"):
            integer(name, getattr(self, name))
        for name in ("images", "transfer_images", "test_images"):
            optional(integer, name, getattr(self, name))
        for name in ("learning_rate", "linear_rate", "full_rate"):
            number(name, getattr(self, name), "(0, 1000)")
        integer("seed", self.seed, 0)


def read_task(task: str) -> tuple[str, tuple[int, ...] | None]:
    """The data set of a task and its classes, `None` for all.

    ```python
    read_task("cifar10:5-9")  # ("cifar10", (5, 6, 7, 8, 9))
    ```

    Args:
        task: `NAME`, or `NAME:CLASSES` with classes such as `0-4` or `4+7+9`.

    Raises:
        ValueError: If the classes are none.
    """
    name, colon, chosen = task.partition(":")
    if not colon:
        return name, None
    classes: list[int] = []
    try:
        for part in chosen.split("+"):
            low, _, high = part.partition("-")
            classes += range(int(low), int(high or low) + 1)
    except ValueError:
        classes = []
    if len(set(classes)) < 2:
        allowed = "a data set's name, or with two classes at least, such as 'cifar10:0-4'"
        raise wrong("task", task, allowed)
    return name, tuple(dict.fromkeys(classes))


def load_task(task: str, limit: int | None = None, seed: int = 0) -> data.Dataset:
    """The data set of a task, its classes numbered from 0.

    Args:
        task: As for `read_task`.
        limit: At most how many training images.
        seed: Of which these are.

    Raises:
        ValueError: If the data set does not have the classes.
    """
    name, classes = read_task(task)
    loaded = data.load(name, limit=None if classes else limit, seed=seed)
    if classes is None:
        return loaded
    if max(classes) >= loaded.num_classes:
        most = loaded.num_classes - 1
        raise wrong("task", task, f"classes of {name!r}, which are 0 to {most}")
    (x, y), test = (_of_classes(*part, classes) for part in (loaded.train, loaded.test))
    if limit is not None and limit < len(y):
        chosen = np.sort(np.random.default_rng(seed).permutation(len(y))[:limit])
        x, y = x[chosen], y[chosen]
    return dataclasses.replace(
        loaded,
        x_train=x,
        y_train=y,
        x_test=test[0],
        y_test=test[1],
        name=task,
        num_classes=len(classes),
    )


def _of_classes(
    x: np.ndarray, y: np.ndarray, classes: Iterable[int]
) -> tuple[np.ndarray, np.ndarray]:
    number_of = {label: i for i, label in enumerate(classes)}
    kept = np.isin(y, list(number_of))
    return x[kept], np.array([number_of[int(label)] for label in y[kept]], "int32")
