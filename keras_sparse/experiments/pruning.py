"""Pruning a trained classifier without training it: some hundred images, one method, two tests."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import keras
from rich.console import Console
from rich.table import Table

from keras_sparse.experiments.classifier import check_feeding, fed, gives_logits, tested
from keras_sparse.messages.arguments import integer
from keras_sparse.posttrain.command import post_training_method
from keras_sparse.probe.batch_norm import StatisticsTuner, batch_normalizations
from keras_sparse.probe.copies import copy_of
from keras_sparse.sparsity.recipe import Recipe
from keras_sparse.sparsity.report import report


@dataclasses.dataclass(frozen=True)
class PruneConfig:
    """How a trained classifier is pruned.

    Args:
        method: `"magnitude"`, or the name of a method after training.
        sparsity: Fraction of weights to remove; `None` where the pattern says it.
        data: A data set of `keras_sparse.data.load`.
        samples: Training images to calibrate with.
        granularity: The pattern; `None` for single weights.
        allocation: How the sparsity is shared out over layers; `None` for the method's own.
        keep_dense: Any of `"first"`, `"last"`, `"depthwise"`.
        exclude: Names or globs of layers to leave dense.
        test_images: Test images to take; `None` for all.
        image_size: Height and width to which images are resized; `None` for the model's own.
        normalize: What a pixel has subtracted and is divided by; `None` for the data set's mean
            and deviation.
        batch_size: Images in a batch.
        seed: Seed of the images that are taken.

    Raises:
        ValueError: If an argument is none that can be used.
    """

    method: str = "adaprune"
    sparsity: float | None = None
    data: str = "cifar10"
    samples: int = 1000
    granularity: str | None = None
    allocation: str | None = None
    keep_dense: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    test_images: int | None = None
    image_size: int | None = None
    normalize: tuple[float, float] | None = None
    batch_size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        post_training_method(self.method)
        integer("samples", self.samples, 2)
        integer("batch_size", self.batch_size, 2)
        check_feeding(self)
        Recipe(**self.recipe)

    @property
    def recipe(self) -> dict[str, Any]:
        """The common arguments of pruning methods."""
        given = {
            "sparsity": self.sparsity,
            "granularity": self.granularity,
            "keep_dense": tuple(self.keep_dense),
            "exclude": tuple(self.exclude),
        }
        return given if self.allocation is None else {**given, "allocation": self.allocation}


def prune_classifier(
    model: keras.Model, config: PruneConfig, console: Console | None = None
) -> tuple[keras.Model, dict[str, Any]]:
    """Prunes a trained classifier, and tunes its batch normalization where it is better for it.

    ```python
    pruned, result = prune_classifier(model, PruneConfig("obc", 0.9, data="digits"))
    print(result["accuracy"])
    ```

    Args:
        model: A built functional or Sequential model of one image. It is pruned as well.
        config: How.
        console: Where to show how far it is. Defaults to standard output.

    Returns:
        A pruned copy, compiled as the model was, and a dictionary with the `config`, the `accuracy`
        on the test images `before` and `pruned`, the `sparsity` before and after, whether the
        statistics are those of `batch_norm_tuned` (by the accuracy on the training images; `None`
        without batch normalization), and the `seconds` that pruning took.

    Raises:
        ValueError: If the model cannot be fed with the data or pruned as asked.
    """
    console = console or Console()
    model, images = fed(model, config, config.samples)
    classes = tuple(tuple(output.shape[1:]) for output in model.outputs)
    if classes != ((images.dataset.num_classes,),):
        raise ValueError(
            f"The model's outputs have the shapes {classes}, and {config.data!r} has "
            f"{images.dataset.num_classes} classes. Choose the data that the model was trained on."
        )
    logits = gives_logits(model, images)
    # What it is going to be compiled with is not the reader's.
    plain = copy_of(model)
    accuracy = {"before": tested(model, images, logits, "before", console)}
    zeros, tuned = {"before": report(model).sparsity}, None
    began = time.perf_counter()
    with console.status(f"Pruning by {config.method}"):
        calibration = images.train_batches(shuffle=False)
        post_training_method(config.method)(model, calibration, **config.recipe)
        if batch_normalizations(model):
            tuner = StatisticsTuner(model, momentum=None)
            tuned = tuner.tune_if_better(
                (x for x, _ in calibration), lambda: model.evaluate(calibration, verbose=0)[1]
            )
    seconds = time.perf_counter() - began
    accuracy["pruned"] = tested(model, images, logits, "pruned", console)
    zeros["after"] = report(model).sparsity
    plain.set_weights(model.get_weights())
    return plain, {
        "config": dataclasses.asdict(config),
        "accuracy": accuracy,
        "sparsity": zeros,
        "batch_norm_tuned": tuned,
        "seconds": seconds,
    }


def prune_table(result: dict[str, Any], title: str = "") -> Table:
    """A table of what `prune_classifier` came to.

    Args:
        result: What it returns, with the `keras_bytes` before and after.
        title: The title.
    """
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in ("before", "after"):
        table.add_column(name, justify="right")
    for label, key, form in (
        ("test accuracy", "accuracy", ".2%"),
        ("zeros", "sparsity", ".2%"),
        (".keras file, bytes", "keras_bytes", ","),
    ):
        table.add_row(label, *(f"{value:{form}}" for value in result[key].values()))
    if result["batch_norm_tuned"] is not None:
        kept = "tuned" if result["batch_norm_tuned"] else "as it was, which is better"
        table.add_row("batch normalization", "", kept)
    table.add_row("seconds", "", f"{result['seconds']:.1f}")
    return table
