"""EfficientNet-Lite0 pruned in one shot: accuracy, seconds and memory.

    python benchmarks/pretrained_one_shot.py --pretrained efficientnet_lite0.keras

The network was trained on ImageNet; a linear probe on its features is its head for images of
another data set, resized to 128 x 128. Every method prunes it in a process of its own, with the
same calibration images, in the patterns that it can; nothing is trained. With `--statistics own`
the batch normalization has those of the other data set, before the head is fitted and, once more,
after the pruning.
"""

import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench
from keras_sparse.experiments.classifier import Images, of_size, with_probed_head

SIZE, NORMALIZE, BATCH = 128, (127.0, 128.0), 64
DATA = ("cifar10", "fashion_mnist")
STATISTICS = ("stored", "own")
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
Accuracy in percent on {test} test images{tuning}. {runs} {images:,} training images, to which
the head is fitted, and the first {calibration} of them for calibration, the same for all methods.
(16, 1): blocks of sixteen inputs of one output, half of each layer. The first and
the depthwise convolutions stay dense in 2:4 and (16, 1). All but these rank the weights of all
layers together, by their scores or to share out what each layer keeps. OBD, WoodFisher and M-FAC
take labels and gradients too. Seconds are those of pruning to 50 %, and memory the peak of the
process, on one thread, while the machine did other things as well."""
TUNING = {
    "stored": "; the batch normalization has the statistics of ImageNet",
    "own": (
        ", right after pruning and, behind the arrow,\nwith the batch normalization's statistics "
        "taken anew from the calibration images, as they were\nbefore the head was fitted"
    ),
}


def images(config: dict) -> Images:
    loaded = ks.data.load(config["data"], limit=config["images"], seed=config["seed"])
    return Images(loaded, (SIZE, SIZE, 3), NORMALIZE, BATCH, config["test"])


def accuracy(model: keras.Model, given: Images) -> float:
    return model.evaluate(given.test_batches(), verbose=0)[1]


def calibration(config: dict, given: Images) -> list[Any]:
    return list(given.train_batches(shuffle=False).take(config["calibration"] // BATCH))


def tune(model: keras.Model, batches: list[Any]) -> None:
    ks.batch_norm_tuning(model, batches, steps=None, momentum=None)


def fit_head(config: dict, folder: Path) -> dict[str, float]:
    """Gives the network its head."""
    own = of_size(keras.saving.load_model(config["file"], compile=False), SIZE, (SIZE, SIZE))
    given = images(config)
    batches = calibration(config, given)
    if config["statistics"] == "own":
        tune(own, batches)
    model = bench.compiled(with_probed_head(own, given), 0.0, batch_norm_momentum=None)
    model.save(folder / "dense.keras")
    stored = accuracy(model, given)
    tune(model, batches)
    return {"accuracy": stored, "tuned": accuracy(model, given)}


def run(config: dict, folder: Path) -> dict[str, Any]:
    """Prunes the network in each pattern."""
    model = keras.saving.load_model(folder.with_name(config["after"]) / "dense.keras")
    given, dense, result = images(config), model.get_weights(), {}
    batches = calibration(config, given)
    for name, pattern in PATTERNS.items():
        model.set_weights(dense)
        began = time.perf_counter()
        report = METHODS[config["method"]](model, batches, **pattern)
        seconds = time.perf_counter() - began
        result[name] = {"sparsity": report.sparsity, "seconds": seconds}
        result[name]["pruned"] = accuracy(model, given)
        if config["statistics"] == "own":
            tune(model, batches)
            result[name]["tuned"] = accuracy(model, given)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**result, "peak_memory_mib": peak}


def told(found: list[dict], keys: Sequence[str]) -> str:
    """Means and, of several, spreads in percent, one behind the other."""
    parts = []
    for key in keys:
        values = [100 * one[key] for one in found if key in one]
        if values:
            spread = f" ± {bench.spread(values):.1f}" if len(values) > 1 else ""
            parts.append(f"{bench.mean(values):.1f}{spread}")
    return " → ".join(parts)


def _at(pattern: str) -> bench.Cell:
    return lambda runs: told([run[pattern] for run in runs], ("pruned", "tuned"))


def describe(content: dict) -> bench.Document:
    runs, config = content["results"], content["config"]
    blocks: list[str | bench.Table] = []
    curves = {}
    places = [p for p in PATTERNS if p != BLOCKS]
    shown = "tuned" if config["statistics"] == "own" else "pruned"
    for data in config["datasets"]:
        columns = {name: _at(name) for name in PATTERNS}
        columns["seconds"] = bench.cell(lambda run: run["50%"]["seconds"], ".0f")
        columns["peak MiB"] = bench.cell("peak_memory_mib", ".0f", max)
        of_data = {m: runs[f"{m}, {data}"] for m in config["methods"]}
        dense = runs[f"dense, {data}"]
        title = f"{data}, dense {told(dense, ['accuracy'])} %"
        after = f"{title}; with statistics of the calibration images {told(dense, ['tuned'])} %:"
        blocks += [after, bench.by_variant(title, "method", columns, of_data)]
        curves[title] = {
            method: [bench.mean([run[p][shown] for run in found]) for p in places]
            for method, found in of_data.items()
        }
    title = "EfficientNet-Lite0 pruned in one shot"
    picture = bench.lines(curves, "pattern", places, title)
    seeds = len(dense)
    several = f"Means and sample standard deviations of {seeds} runs, each with its own"
    told_of = several if seeds > 1 else "One run with"
    blocks.append(ABOUT.format(**config, tuning=TUNING[config["statistics"]], runs=told_of))
    return bench.Document(title, blocks, picture, f"accuracy by pattern, {shown}")


if __name__ == "__main__":
    script = bench.Script(
        __doc__,
        choices={"datasets": DATA, "methods": METHODS, "statistics": STATISTICS},
        pretrained=str,
        images=3000,
        test=500,
        calibration=256,
        seeds=2,
        statistics="stored",
        datasets=DATA,
        methods=tuple(name for name in METHODS if name != "SparseGPT, one after another"),
    )
    args = script.args
    config = {
        "images": args.images,
        "test": args.test,
        "calibration": args.calibration,
        "statistics": args.statistics,
    }
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
    study = bench.Study(variants, range(args.seeds), run)
    script.study(
        study,
        describe,
        {**config, "datasets": list(args.datasets), "methods": list(args.methods)},
        name="pretrained_one_shot" + ("_own" if args.statistics == "own" else ""),
    )
