"""EfficientNet-Lite0, dense and pruned, put to other images: linear and full transfer.

    python benchmarks/transfer_pretrained.py --pretrained efficientnet_lite0.keras

The network was trained on ImageNet. It is used as it is, and pruned in one shot, by magnitude or
SparseGPT, with its batch normalization's statistics measured anew on images of the task; images are
resized to 128 x 128. Linear transfer is logistic regression with the penalty searched for, on
features computed once; full transfer, which `--full-epochs` asks for, trains what is not zero for a
few epochs. The ImageNet images that a sparse fine-tuning upstream would need are not at hand.
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench
from keras_sparse.experiments.classifier import Images, of_size

SIZE, NORMALIZE, BATCH = 128, (127.0, 128.0), 50
DATA = ("cifar10", "fashion_mnist")
METHODS = {
    "magnitude": lambda model, data, sparsity: ks.prune(model, sparsity),
    "SparseGPT": lambda model, data, sparsity: ks.sparsegpt(model, data, sparsity=sparsity),
}
SPARSITIES = (0.5, 0.7)
DENSE = "dense"
ABOUT = """\
{images:,} training and {test:,} test images of each task, the same for all; one run. Pruning and
the statistics of batch normalization see {calibration} of the training images. Zeros are those of
the backbone. Features of linear transfer are computed once, and all of the network but its head
stays as it is."""


def arrays(batches: Any) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of all batches."""
    x, y = zip(*batches.as_numpy_iterator(), strict=True)
    return np.concatenate(x), np.concatenate(y)


def run(config: dict, folder: Path) -> dict[str, Any]:
    """One model on one task."""
    model = of_size(keras.saving.load_model(config["file"], compile=False), SIZE, (SIZE, SIZE))
    loaded = ks.data.load(config["data"], limit=config["images"])
    given = Images(loaded, (SIZE, SIZE, 3), NORMALIZE, BATCH, config["test"])
    train, test = arrays(given.train_batches(shuffle=False)), arrays(given.test_batches())
    calibration = train[0][: config["calibration"]]
    if config["method"] != DENSE:
        METHODS[config["method"]](model, calibration, config["sparsity"])
        ks.batch_norm_tuning(model, calibration, batch_size=BATCH, steps=None, momentum=None)
    common = {"dense": config["method"] == DENSE, "batch_size": BATCH, "verbose": 0}
    linear = ks.transfer.linear(model, *train, solver="lbfgs", **common)
    result = {
        "sparsity": linear.backbone_sparsity,
        "pruned_filters": ks.pruned_filters(model),
        "l2": linear.regression.l2 if linear.regression else None,
        "linear": linear.model.evaluate(*test, batch_size=BATCH, verbose=0)[1],
    }
    if config["full_epochs"]:
        epochs = config["full_epochs"]
        full = ks.transfer.full(model, *train, epochs=epochs, learning_rate=0.01, **common)
        result["full"] = full.model.evaluate(*test, batch_size=BATCH, verbose=0)[1]
    return result


def increase(mode: str, dense: dict[str, Any]) -> bench.Cell:
    """A column with the relative error increase over the dense model."""

    def told(runs: bench.Runs) -> str:
        return f"{100 * ks.transfer.relative_error_increase(runs[0][mode], dense[mode]):+.1f}"

    return told


def describe(content: dict) -> bench.Document:
    results, config = content["results"], content["config"]
    blocks: list[str | bench.Table] = [ABOUT.format(**config)]
    modes = [mode for mode in ("linear", "full") if mode in next(iter(results.values()))[0]]
    for data in config["datasets"]:
        of_data = {
            name.removesuffix(f", {data}"): runs
            for name, runs in results.items()
            if name.endswith(data)
        }
        (dense,) = of_data[DENSE]

        columns: dict[str, bench.Cell] = {}
        for mode in modes:
            columns[f"{mode}, %"] = bench.cell(mode, ".1%")
            columns[f"{mode}: error increase, %"] = increase(mode, dense)
        columns["zeros"] = bench.cell("sparsity", ".1%")
        columns["filters gone"] = bench.cell("pruned_filters", ".1%")
        columns["penalty"] = bench.cell("l2", "g")
        blocks += [f"{data}:", bench.by_variant(data, "model", columns, of_data)]
    return bench.Document("EfficientNet-Lite0, dense and pruned, on other images", blocks)


if __name__ == "__main__":
    script = bench.Script(
        __doc__,
        choices={"methods": METHODS},
        pretrained=str,
        images=1000,
        test=500,
        calibration=200,
        full_epochs=0,
        datasets=DATA,
        methods=tuple(METHODS),
        sparsities=SPARSITIES,
    )
    args = script.args
    config = script.chosen({"images": 0, "test": 0, "calibration": 0, "full_epochs": 0})
    file = {"file": str(Path(args.pretrained or "").resolve())}
    variants = {}
    for data in args.datasets:
        pairs = [(DENSE, 0.0), *((m, s) for m in args.methods for s in args.sparsities)]
        for method, sparsity in pairs:
            label = method if method == DENSE else f"{method} {100 * sparsity:g} %"
            settings = {**config, **file, "data": data, "method": method, "sparsity": sparsity}
            variants[f"{label}, {data}"] = bench.Variant(settings)
    study = bench.Study(variants, [0], run)
    script.study(study, describe, {**config, "datasets": list(args.datasets)}, processes=1)
