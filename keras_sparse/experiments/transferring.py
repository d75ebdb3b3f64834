"""A saved sparse classifier on another data set: transferred, and tested."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
from rich.console import Console
from rich.table import Table

from keras_sparse import structured
from keras_sparse.experiments.classifier import Images, check_feeding, fed
from keras_sparse.experiments.progress import Progress
from keras_sparse.messages.arguments import boolean, integer, number, one_of, optional, text
from keras_sparse.transfer.full import full
from keras_sparse.transfer.linear import FEATURES, SOLVERS, linear
from keras_sparse.transfer.result import Transfer

MODES = ("full", "linear")


@dataclasses.dataclass(frozen=True)
class TransferConfig:
    """How a saved model is transferred.

    Args:
        data: A data set of `keras_sparse.data.load`.
        mode: `"full"` or `"linear"`.
        solver: Of `keras_sparse.transfer.linear`.
        features: Of `keras_sparse.transfer.linear`.
        head: The name of the layer to replace; `None` to find it.
        dense: Whether the model may be without zeros.
        epochs: Passes over the images.
        images: Training images to take; `None` for all.
        test_images: Test images to take; `None` for all.
        image_size: Height and width to which images are resized; `None` for the model's own.
        normalize: What a pixel has subtracted and is divided by; `None` for the data set's mean
            and deviation.
        batch_size: Images in a batch.
        learning_rate: SGD's first, which falls to a tenth after each third of the epochs.
        weight_decay: SGD's.
        seed: Seed of the head, and of the images that are taken and their order.

    Raises:
        ValueError: If an argument is none that can be used.
    """

    data: str = "fashion_mnist"
    mode: str = "full"
    solver: str = "sgd"
    features: str = "offline"
    head: str | None = None
    dense: bool = False
    epochs: int = 30
    images: int | None = None
    test_images: int | None = None
    image_size: int | None = None
    normalize: tuple[float, float] | None = None
    batch_size: int = 64
    learning_rate: float = 0.01
    weight_decay: float = 5e-4
    seed: int = 0

    def __post_init__(self) -> None:
        one_of("mode", self.mode, MODES)
        one_of("solver", self.solver, SOLVERS)
        one_of("features", self.features, FEATURES)
        optional(text, "head", self.head)
        boolean("dense", self.dense)
        integer("epochs", self.epochs)
        number("learning_rate", self.learning_rate, "(0, 1000)")
        number("weight_decay", self.weight_decay, "[0, 1)")
        check_feeding(self)

    @property
    def method(self) -> str:
        """What is done, in words."""
        return "full transfer" if self.mode == "full" else f"linear transfer by {self.solver}"


def transfer_classifier(
    model: keras.Model, config: TransferConfig, console: Console | None = None
) -> tuple[keras.Model, dict[str, Any]]:
    """Transfers a saved classifier to a data set.

    ```python
    task, result = transfer_classifier(sparse_model, TransferConfig(data="digits", epochs=5))
    print(result["accuracy"], result["sparsity"])
    ```

    Args:
        model: A built functional or Sequential model of one image.
        config: How.
        console: Where to show how far it is. Defaults to standard output.

    Returns:
        The new model, not compiled, and a dictionary with the `config`, the `accuracy` on the
        test images in the end, `best_accuracy` after the best epoch (that in the end for L-BFGS),
        the `sparsity` `upstream`, of the `backbone` and in `total`, seconds of an epoch, and the
        penalty `l2` of L-BFGS.

    Raises:
        ValueError: If the model cannot be fed with the data or transferred.
    """
    console = console or Console()
    model, images = fed(model, config, config.images)
    found = _transferred(model, images, config, console)
    with console.status("Testing"):
        accuracy = found.model.evaluate(images.test_batches(), verbose=0)[1]
    seconds = found.epoch_seconds
    # What it is compiled with is not the reader's.
    return structured.shrink(found.model, {}), {
        "config": dataclasses.asdict(config),
        "accuracy": accuracy,
        "best_accuracy": found.best() if found.history else accuracy,
        "sparsity": {
            "upstream": found.upstream_sparsity,
            "backbone": found.backbone_sparsity,
            "total": found.sparsity,
        },
        "epoch_seconds": sum(seconds) / len(seconds) if seconds else None,
        "l2": found.regression and found.regression.l2,
    }


def _transferred(
    model: keras.Model, images: Images, config: TransferConfig, console: Console
) -> Transfer:
    shuffled = config.mode == "full" or config.features == "online"
    common: dict[str, Any] = {
        "classes": images.dataset.num_classes,
        "head": config.head,
        "dense": config.dense,
        "epochs": config.epochs,
        "batch_size": config.batch_size,
        "learning_rate": config.learning_rate,
        "weight_decay": config.weight_decay,
        "validation_data": images.test_batches(),
        "seed": config.seed,
        "verbose": 0,
    }
    batches = images.train_batches(shuffle=shuffled, seed=config.seed)
    with Progress("transfer", console) as progress:
        common["callbacks"] = [progress]
        if config.mode == "full":
            return full(model, batches, **common)
        how: dict[str, Any] = {"solver": config.solver, "features": config.features}
        return linear(model, batches, **how, **common)


def transfer_table(result: dict[str, Any], title: str = "") -> Table:
    """A table of what `transfer_classifier` came to.

    Args:
        result: What it returns.
        title: The title.
    """
    table = Table(title=title, title_justify="left")
    table.add_column("")
    table.add_column("", justify="right")
    table.add_row("test accuracy", f"{result['accuracy']:.2%}")
    table.add_row("after the best epoch", f"{result['best_accuracy']:.2%}")
    for name, label in (
        ("upstream", "zeros upstream"),
        ("backbone", "zeros of the backbone"),
        ("total", "zeros with the new head"),
    ):
        table.add_row(label, f"{result['sparsity'][name]:.2%}")
    if result["epoch_seconds"] is not None:
        table.add_row("seconds an epoch", f"{result['epoch_seconds']:.2f}")
    if result["l2"] is not None:
        table.add_row("L2 penalty", f"{result['l2']:g}")
    return table
