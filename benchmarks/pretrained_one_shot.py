"""EfficientNet-Lite0 pruned in one shot: accuracy before and after batch-norm tuning, and seconds.

    python benchmarks/pretrained_one_shot.py --pretrained efficientnet_lite0.keras

The network was trained on ImageNet; a linear probe on its features is its head for images of
another data set, resized to 128 x 128. Every method prunes it in a process of its own, with the
same calibration images, in the patterns that it can; nothing is trained.
"""

import resource
import time
from pathlib import Path
from typing import Any

import keras

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench
from keras_sparse.experiments.classifier import Images, of_size, with_probed_head

SIZE, NORMALIZE, BATCH = 128, (127.0, 128.0), 64
DATA = ("cifar10", "fashion_mnist")
METHODS = {
    "magnitude": lambda model, data, **kwargs: ks.prune(model, **kwargs),
    "Wanda": ks.wanda,
    "SparseGPT": ks.sparsegpt,
    "SparseGPT, one after another": lambda *given, **kwargs: ks.sparsegpt(
        *given, sequential=True, **kwargs
    ),
    "AdaPrune": ks.adaprune,
    "global AdaPrune": ks.global_adaprune,
    "OBC": ks.obc,
    "OBD": ks.obd,
    "WoodFisher": ks.woodfisher,
    "M-FAC": ks.mfac,
}
BLOCKS = "(16, 1)"
# Of one or three inputs, which make no group of four or sixteen.
FEW_INPUTS = {"exclude": ["conv_stem", "*depthwise*"]}
PATTERNS: dict[str, dict[str, Any]] = {
    **{f"{s:.0%}": {"sparsity": s} for s in (0.3, 0.5, 0.7, 0.8)},
    "2:4": {"granularity": "2:4", **FEW_INPUTS},
    BLOCKS: {
        **FEW_INPUTS,
        "sparsity": 0.5,
        "granularity": ks.Block(16, 1),
        "allocation": "uniform",
    },
}
ABOUT = """\
Accuracy in percent on {test:,} test images, right after pruning and, behind the arrow, with the
batch normalization's statistics taken anew from the calibration images ({calibration} training
images, the same for all). One run. (16, 1): blocks of sixteen inputs of one output, half of each
layer. The first and the depthwise convolutions stay dense in 2:4 and (16, 1). All but these rank
the weights of all layers together, by their scores or to share out what each layer keeps. OBD,
WoodFisher and M-FAC take labels and gradients too. The head was fitted to {images:,}
training images. Seconds are those of pruning to 50 %, and memory the peak of the process, on one
thread, while the machine did other things as well."""


def images(config: dict) -> Images:
    loaded = ks.data.load(config["data"], limit=config["images"])
    return Images(loaded, (SIZE, SIZE, 3), NORMALIZE, BATCH, config["test"])


def accuracy(model: keras.Model, given: Images) -> float:
    return model.evaluate(given.test_batches(), verbose=0)[1]


def calibration(config: dict, given: Images) -> list[Any]:
    return list(given.train_batches(shuffle=False).take(config["calibration"] // BATCH))


def fit_head(config: dict, folder: Path) -> dict[str, float]:
    """Gives the network its head."""
    own = of_size(keras.saving.load_model(config["file"], compile=False), SIZE, (SIZE, SIZE))
    given = images(config)
    model = bench.compiled(with_probed_head(own, given), 0.0, batch_norm_momentum=None)
    model.save(folder / "dense.keras")
    stored = accuracy(model, given)
    ks.batch_norm_tuning(model, calibration(config, given))
    return {"accuracy": stored, "tuned": accuracy(model, given)}


def run(config: dict, folder: Path) -> dict[str, Any]:
    """Prunes the network in each pattern that the method knows."""
    model = keras.saving.load_model(folder.with_name(config["after"]) / "dense.keras")
    given, dense, result = images(config), model.get_weights(), {}
    batches = calibration(config, given)
    for name, pattern in PATTERNS.items():
        model.set_weights(dense)
        began = time.perf_counter()
        report = METHODS[config["method"]](model, batches, **pattern)
        seconds = time.perf_counter() - began
        pruned = accuracy(model, given)
        ks.batch_norm_tuning(model, batches)
        result[name] = {
            "pruned": pruned,
            "tuned": accuracy(model, given),
            "sparsity": report.sparsity,
            "seconds": seconds,
        }
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**result, "peak_memory_mib": peak}


def _at(pattern: str) -> bench.Cell:
    def told(runs: bench.Runs) -> str:
        (one,) = runs
        if pattern not in one:
            return ""
        return "{:.1f} → {:.1f}".format(*(100 * one[pattern][key] for key in ("pruned", "tuned")))

    return told


def describe(content: dict) -> bench.Document:
    runs, config = content["results"], content["config"]
    blocks: list[str | bench.Table] = []
    curves = {}
    for data in config["datasets"]:
        (dense,) = runs[f"dense, {data}"]
        columns = {name: _at(name) for name in PATTERNS}
        columns["seconds"] = bench.cell(lambda run: run["50%"]["seconds"], ".0f")
        columns["peak MiB"] = bench.cell("peak_memory_mib", ".0f")
        of_data = {m: runs[f"{m}, {data}"] for m in config["methods"]}
        title = "{}, dense {:.1f} → {:.1f} %".format(
            data, *(100 * dense[key] for key in ("accuracy", "tuned"))
        )
        blocks += [f"{title}:", bench.by_variant(title, "method", columns, of_data)]
        curves[title] = {
            method: [found[0][p]["pruned"] for p in PATTERNS if p != BLOCKS]
            for method, found in of_data.items()
        }
    title = "EfficientNet-Lite0 pruned in one shot"
    places = [p for p in PATTERNS if p != BLOCKS]
    picture = bench.lines(curves, "pattern", places, title)
    blocks.append(ABOUT.format(**config))
    return bench.Document(title, blocks, picture, "accuracy by pattern, before tuning")


if __name__ == "__main__":
    script = bench.Script(
        __doc__,
        choices={"datasets": DATA, "methods": METHODS},
        pretrained=str,
        images=3000,
        test=1000,
        calibration=512,
        datasets=DATA,
        methods=tuple(name for name in METHODS if name != "SparseGPT, one after another"),
    )
    args = script.args
    config = {"images": args.images, "test": args.test, "calibration": args.calibration}
    file = {"file": str(Path(args.pretrained or "").resolve())}
    variants = {}
    for data in args.datasets:
        of_data = {**config, "data": data}
        dense = f"dense, {data}"
        variants[dense] = bench.Variant({**of_data, **file}, fit_head)
        variants |= {
            f"{method}, {data}": bench.Variant({**of_data, "method": method}, after=dense)
            for method in args.methods
        }
    study = bench.Study(variants, [0], run)
    script.study(
        study, describe, {**config, "datasets": list(args.datasets), "methods": list(args.methods)}
    )
