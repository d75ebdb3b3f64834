"""Making a trained model smaller: pruned to a target, fine-tuned, and measured on the way."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import keras
from rich.console import Console
from rich.table import Table

from keras_sparse import structured
from keras_sparse.deploy import litert_costs
from keras_sparse.experiments.classifier import (
    Images,
    check_feeding,
    fed,
    gives_logits,
    tested,
    with_probed_head,
)
from keras_sparse.experiments.images import compiled, warm_cosine
from keras_sparse.experiments.progress import Progress
from keras_sparse.messages.arguments import boolean, integer, number, one_of
from keras_sparse.methods.at_start.static_mask import StaticMask
from keras_sparse.sparsity.report import report
from keras_sparse.structured.criteria import CRITERIA
from keras_sparse.structured.layerwise.methods import LAYERWISE
from keras_sparse.structured.targets import read_target

_CALIBRATION = 1000  # Images for criteria that look at data.


@dataclasses.dataclass(frozen=True)
class ShrinkConfig:
    """How a trained classifier is made smaller.

    Args:
        flops: Operations to keep, as for `keras_sparse.structured.prune`.
        params: Parameters to keep; give one of `flops`, `params` and `latency`.
        latency: The part of the time to keep.
        method: A criterion of `keras_sparse.structured.prune`.
        data: A data set of `keras_sparse.data.load`.
        finetune: Epochs of training after pruning, 0 for none.
        steps: In how many steps to prune, with an epoch of training between two.
        round_to: What the number of units in a group is a multiple of, as far as they go.
        images: Training images to take; `None` for all.
        test_images: Test images to take; `None` for all.
        image_size: Height and width to which images are resized, and for which the model is
            built; `None` for its own.
        normalize: What a pixel has subtracted and is divided by; `None` for the data set's mean
            and deviation.
        batch_size: Images in a batch.
        learning_rate: Of SGD with momentum 0.9, from which it falls to 0 along a cosine.
        keep_zeros: Whether weights that are zero stay so in fine-tuning.
        seed: Seed of the images that are taken, their order, and random scores.

    Raises:
        ValueError: If an argument is none that can be used.
    """

    flops: float | None = None
    params: float | None = None
    latency: float | None = None
    method: str = "l1"
    data: str = "cifar10"
    finetune: int = 5
    steps: int = 1
    round_to: int = 1
    images: int | None = None
    test_images: int | None = None
    image_size: int | None = None
    normalize: tuple[float, float] | None = None
    batch_size: int = 64
    learning_rate: float = 0.01
    keep_zeros: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        read_target(**self.target)
        one_of("method", self.method, (*CRITERIA, *LAYERWISE))
        integer("finetune", self.finetune, 0)
        layerwise = f"{self.method} goes from layer to layer."
        integer("steps", self.steps, 1, *((1, layerwise) if self.method in LAYERWISE else ()))
        integer("round_to", self.round_to)
        number("learning_rate", self.learning_rate, "(0, 1000)")
        boolean("keep_zeros", self.keep_zeros)
        check_feeding(self)
        if self.normalize is not None:
            object.__setattr__(self, "normalize", tuple(self.normalize))

    @property
    def target(self) -> dict[str, Any]:
        """The targets, of which one is given."""
        return {"flops": self.flops, "params": self.params, "latency": self.latency}


def shrink_classifier(
    model: keras.Model, config: ShrinkConfig, console: Console | None = None
) -> tuple[keras.Model, dict[str, Any]]:
    """Prunes a trained classifier to a target and fine-tunes it.

    Where its outputs are not the classes of the data, a new head is fitted first: a logistic
    regression on what its last layer takes.

    ```python
    smaller, result = shrink_classifier(model, ShrinkConfig(flops=0.5, data="digits"))
    print(result["accuracy"], result["latency"])
    ```

    Args:
        model: A built functional or Sequential model of one image.
        config: How.
        console: Where to show how far it is. Defaults to standard output.

    Returns:
        The smaller model, not compiled, and a dictionary with the `config`; `accuracy` on the
        test images `before`, `pruned` and `finetuned`; `flops`, `parameters`, `latency` (seconds
        as LiteRT), `tflite_bytes` and `sparsity`, each before and after; and whether a head was
        `probed`.

    Raises:
        ValueError: If the model cannot be fed with the data or pruned to the target.
    """
    console = console or Console()
    model, images = fed(model, config, config.images)
    classes = model.outputs[0].shape[1:]
    wanted = images.dataset.num_classes
    probed = len(model.outputs) != 1 or tuple(classes) != (wanted,)
    if probed:
        told = f"Outputs of shape {tuple(classes)} are not the {wanted} classes of "
        console.print(
            f"{told}{config.data}: a linear probe on the model's features is its new head.",
            highlight=False,
            soft_wrap=True,
        )
        with console.status("Fitting the probe"):
            model = with_probed_head(model, images)
    logits = gives_logits(model, images)
    accuracies = {"before": tested(model, images, logits, "before", console)}
    smaller = _pruned(model, images, logits, config, console)
    accuracies["pruned"] = tested(smaller, images, logits, "pruned", console)
    if config.finetune:
        _fit(smaller, images, logits, config, config.finetune, console)
        accuracies["finetuned"] = tested(smaller, images, logits, "fine-tuned", console)
    with console.status("Measuring"):
        # What it is compiled with is not the reader's.
        return structured.shrink(smaller, {}), {
            "config": dataclasses.asdict(config),
            "probed": probed,
            "accuracy": accuracies,
            **_costs(model, smaller),
        }


def _pruned(
    model: keras.Model, images: Images, logits: bool, config: ShrinkConfig, console: Console
) -> keras.Model:
    """The model pruned to the target, trained for an epoch between steps."""
    made = 0

    def between(smaller: keras.Model) -> None:
        nonlocal made
        made += 1
        if made < config.steps:
            _fit(smaller, images, logits, config, 1, console)

    console.print(f"Pruning by {config.method} ...", highlight=False)
    return structured.prune(
        model,
        **config.target,
        criterion=config.method,
        data=_calibration(images),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=logits),
        steps=config.steps,
        round_to=config.round_to,
        fine_tune=between,
        seed=config.seed,
    )


def _fit(
    model: keras.Model,
    images: Images,
    logits: bool,
    config: ShrinkConfig,
    epochs: int,
    console: Console,
) -> None:
    batches = images.train_batches(shuffle=True, seed=config.seed)
    rate = warm_cosine(config.learning_rate, epochs * int(batches.cardinality()))
    compiled(model, rate, from_logits=logits, clipnorm=1.0)
    masks = [StaticMask(mask="current")] if config.keep_zeros else []
    with Progress("fine-tuning", console) as progress:
        model.fit(
            batches,
            epochs=epochs,
            shuffle=False,  # The pipeline does.
            verbose=0,
            callbacks=[*masks, progress],
        )


def _calibration(images: Images) -> Any:
    return images.train_batches(shuffle=False).take(math.ceil(_CALIBRATION / images.batch_size))


def _costs(*models: keras.Model) -> dict[str, dict[str, Any]]:
    """What the two models cost."""
    litert = litert_costs(models)
    found: dict[str, list[Any]] = {
        "flops": [structured.report(model).flops for model in models],
        "parameters": [model.count_params() for model in models],
        "latency": [cost.seconds for cost in litert],
        "tflite_bytes": [cost.bytes for cost in litert],
        "sparsity": [report(model).sparsity for model in models],
    }
    return {name: dict(zip(("before", "after"), both, strict=True)) for name, both in found.items()}


def shrink_table(result: dict[str, Any], title: str = "") -> Table:
    """A table of what `shrink_classifier` came to.

    Args:
        result: What it returns.
        title: The title.
    """
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in ("before", "after", "change"):
        table.add_column(name, justify="right")
    before, *after = result["accuracy"].values()
    labels = ("test accuracy, pruned", "test accuracy, fine-tuned")
    for label, value in zip(labels, after, strict=False):
        table.add_row(label, f"{before:.2%}", f"{value:.2%}", f"{100 * (value - before):+.2f}")
    for label, key, form, unit in (
        ("FLOPs of an inference", "flops", ",.0f", 1),
        ("parameters", "parameters", ",", 1),
        ("LiteRT, ms", "latency", ".2f", 1000),
        ("LiteRT file, bytes", "tflite_bytes", ",", 1),
    ):
        old, new = (result[key][side] for side in ("before", "after"))
        table.add_row(label, f"{old * unit:{form}}", f"{new * unit:{form}}", f"x {new / old:.2f}")
    old, new = result["sparsity"].values()
    table.add_row("zeros", f"{old:.2%}", f"{new:.2%}", "")
    return table
