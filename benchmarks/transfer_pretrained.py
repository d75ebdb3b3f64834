"""EfficientNet-Lite0, dense and made sparse, put to other images: linear and full transfer.

    python benchmarks/transfer_pretrained.py --pretrained efficientnet_lite0.keras

The network was trained on ImageNet, whose images are not at hand: it is made sparse on images of
the task, without their labels. In one shot, by magnitude or SparseGPT; and by GMP in a short
training in which its own dense outputs are the teacher. Images are resized to 128 x 128. Linear
transfer is logistic regression with the penalty searched for, on features computed once; full
transfer trains what is not zero for a few epochs.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench
from keras_sparse.experiments.classifier import Images, of_size
from keras_sparse.probe.batch_norm import batch_normalizations

SIZE, NORMALIZE, BATCH = 128, (127.0, 128.0), 50
DATA = ("cifar10", "fashion_mnist")
MODES = ("linear", "full")
SPARSITIES = (0.5, 0.7)
DENSE, HEAD = "dense", "fc"
ABOUT = """\
{images:,} training and {test:,} test images of each task, drawn anew for each seed and the same for
all models. One-shot pruning sees {calibration} of the training images; "GMP, taught" sees all of
them for {taught_epochs} epochs beside the dense network, without labels, its batch normalization
fixed. Zeros are those of the backbone. Full transfer: {full_epochs} epochs of SGD, the
statistics of batch normalization with momentum 0.9. Both modes start
from the same sparse network. The error increase is relative to the error of the dense network in
the same mode. Seeds: {seeds}."""


def arrays(batches: Any) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of all batches."""
    x, y = zip(*batches.as_numpy_iterator(), strict=True)
    return np.concatenate(x), np.concatenate(y)


def taught(model: keras.Model, x: np.ndarray, config: Mapping[str, Any]) -> None:
    """GMP beside the dense network: how far the outputs are apart is all the loss there is."""
    teacher = keras.models.clone_model(model)
    teacher.set_weights(model.get_weights())
    for layer in batch_normalizations(model):
        layer.trainable = False
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-4), loss)
    pruning = ks.GMP(config["sparsity"], ks.Polynomial("0%", "60%", every="4st"), exclude=HEAD)
    no_labels = np.zeros(len(x), "int32")
    model.fit(
        x,
        no_labels,
        batch_size=BATCH,
        epochs=config["taught_epochs"],
        callbacks=[pruning, ks.Distillation(teacher, alpha=1.0)],
        verbose=0,
    )
    for layer in batch_normalizations(model):
        layer.trainable = True


METHODS: dict[str, Callable[[keras.Model, np.ndarray, Mapping[str, Any]], Any]] = {
    "magnitude": lambda model, x, config: ks.prune(model, config["sparsity"], exclude=HEAD),
    "SparseGPT": lambda model, x, config: ks.sparsegpt(
        model, x[: config["calibration"]], sparsity=config["sparsity"], exclude=HEAD
    ),
    "GMP, taught": taught,
}


def run(config: dict, folder: Path) -> dict[str, Any]:
    """One model on one task."""
    keras.utils.set_random_seed(config["seed"])
    model = of_size(keras.saving.load_model(config["file"], compile=False), SIZE, (SIZE, SIZE))
    loaded = ks.data.load(config["data"], limit=config["images"], seed=config["seed"])
    given = Images(loaded, (SIZE, SIZE, 3), NORMALIZE, BATCH, config["test"])
    train, test = arrays(given.train_batches(shuffle=False)), arrays(given.test_batches())
    # The few steps of full transfer would leave those of ImageNet in place.
    ks.models.set_batch_norm_momentum(model, 0.9)
    if config["method"] != DENSE:
        METHODS[config["method"]](model, train[0], config)
    common = {
        "dense": config["method"] == DENSE,
        "batch_size": BATCH,
        "seed": config["seed"],
        "verbose": 0,
    }
    linear = ks.transfer.linear(model, *train, solver="lbfgs", **common)
    epochs = config["full_epochs"]
    full = ks.transfer.full(model, *train, epochs=epochs, learning_rate=0.01, **common)
    return {
        "sparsity": full.backbone_sparsity,
        "pruned_filters": ks.pruned_filters(model),
        "l2": linear.regression.l2 if linear.regression else None,
        "seconds": sum(full.epoch_seconds),
        **{
            mode: found.model.evaluate(*test, batch_size=BATCH, verbose=0)[1]
            for mode, found in zip(MODES, (linear, full), strict=True)
        },
    }


def increase(mode: str, dense: bench.Runs) -> bench.Cell:
    """A column with the relative error increase over the dense model, in percent."""

    def told(runs: bench.Runs) -> str:
        over = [
            ks.transfer.relative_error_increase(run[mode], reference[mode])
            for run, reference in zip(runs, dense, strict=True)
        ]
        return f"{100 * bench.mean(over):+.0f}"

    return told


def describe(content: dict) -> bench.Document:
    results, config = content["results"], content["config"]
    seeds = len(next(iter(results.values())))
    blocks: list[str | bench.Table] = [ABOUT.format(**config, seeds=seeds)]
    drawn = {}
    for data in config["datasets"]:
        of_data = {
            name.removesuffix(f", {data}"): runs
            for name, runs in results.items()
            if name.endswith(f", {data}")
        }
        columns: dict[str, bench.Cell] = {}
        for mode in MODES:
            columns[f"{mode}, %"] = accuracies(mode)
            columns[f"{mode}: error increase, %"] = increase(mode, of_data[DENSE])
        columns["zeros"] = bench.cell("sparsity", ".1%")
        columns["filters gone"] = bench.cell("pruned_filters", ".1%")
        columns["penalty"] = bench.cell("l2", "g")
        blocks += [f"{data}:", bench.by_variant(data, "model", columns, of_data)]
        drawn |= {
            f"{data}, {name}, {mode}": [run[mode] for run in runs]
            for mode in MODES
            for name, runs in of_data.items()
        }
    title = "EfficientNet-Lite0, dense and sparse, on other images"
    colors = {label: f"C{MODES.index(label.rpartition(', ')[2])}" for label in drawn}
    picture = bench.points(drawn, "test accuracy", colors, title)
    return bench.Document(title, blocks, picture, "accuracy by model, linear and full")


def accuracies(mode: str) -> bench.Cell:
    """A column with the accuracies in a mode."""
    return lambda runs: bench.percent([run[mode] for run in runs])


if __name__ == "__main__":
    script = bench.Script(
        __doc__,
        choices={"methods": METHODS, "datasets": DATA},
        pretrained=str,
        images=1000,
        test=500,
        calibration=200,
        taught_epochs=5,
        full_epochs=5,
        seeds=1,
        datasets=DATA,
        methods=tuple(METHODS),
        sparsities=SPARSITIES,
    )
    args = script.args
    names = ("images", "test", "calibration", "taught_epochs", "full_epochs")
    config = script.chosen(dict.fromkeys(names, 0))
    file = {"file": str(Path(args.pretrained or "").resolve())}
    variants = {}
    for data in args.datasets:
        pairs = [(DENSE, 0.0), *((m, s) for m in args.methods for s in args.sparsities)]
        for method, sparsity in pairs:
            label = method if method == DENSE else f"{method} {100 * sparsity:g} %"
            settings = {**config, **file, "data": data, "method": method, "sparsity": sparsity}
            variants[f"{label}, {data}"] = bench.Variant(settings)
    study = bench.Study(variants, range(args.seeds), run)
    script.study(study, describe, {**config, "datasets": list(args.datasets)})
