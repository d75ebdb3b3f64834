"""ResNet-20 on CIFAR-10 at half its operations: units chosen in six ways, then tuned alike.

    python benchmarks/resnet20_structured.py

All methods keep the same part of the filters inside of each residual block, so that the smaller
networks differ in their weights alone. Each is tuned for as many epochs; the one from scratch is
trained for those of the dense network as well. What was interrupted goes on from its last epoch.
"""

import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench
from keras_sparse.experiments.benchmark import Claim

SETTINGS = {
    **{"images": 10000, "width": 8, "epochs": 10, "tuning": 3, "batch": 128, "flops": 0.5},
    **{"learning_rate": 0.1, "tuning_rate": 0.02, "samples": 1280, "candidates": 16, "drawn": 128},
}
WHEN = ("before", "after")
METHODS = ("i-SpaSP", "greedy", "L1", "FPGM", "random", "scratch")
# Residual streams stay: neither i-SpaSP nor greedy forward selection is defined for them.
INNER = {"scope": "group", "exclude": "stem"}
CLAIMS = (
    Claim("greedy, before", "i-SpaSP, before", 0.0),
    Claim("greedy, before", "random, before", 10.0),
    *(Claim("i-SpaSP, after", f"{name}, after", -2.0) for name in ("greedy", "L1", "FPGM")),
    *(Claim(f"{name}, after", "random, after", 0.0) for name in ("i-SpaSP", "greedy")),
    *(Claim(f"{name}, after", "scratch, after", 0.0) for name in ("i-SpaSP", "greedy")),
)
ABOUT = """\
Test accuracy in percent on all test images, before and after {tuning} epochs of tuning; means and
standard deviations over seeds. {images:,} training images; the dense network of width {width} was
trained for {epochs} epochs, that from scratch for {all}. i-SpaSP looks at {samples:,} of them,
greedy forward selection compares {candidates} random filters for each pick on {drawn} that are
drawn for it, out of {samples:,}. CPU seconds are those of choosing; milliseconds those of an
inference with LiteRT at batch size 1."""


def smaller(method: str, model: keras.Model, data: Any, config: dict) -> keras.Model:
    """The network with the filters that a method chooses, its shape with new weights of none."""
    criteria: dict[str, Any] = {name: name.lower() for name in ("L1", "FPGM", "random")}
    criteria["i-SpaSP"] = "i_spasp"
    criteria["greedy"] = ks.structured.GreedyForwardSelection(
        num_candidates=config["candidates"], samples=config["drawn"], seed=config["seed"]
    )
    given = {"flops": config["flops"], "data": data, "seed": config["seed"], **INNER}
    made = ks.structured.prune(model, criterion=criteria.get(method, "random"), **given)
    return keras.models.clone_model(made) if method == "scratch" else made


def measured(model: keras.Model, test: tuple[np.ndarray, np.ndarray], folder: Path) -> dict:
    """What an inference costs, and how often it is right."""
    file = folder / "model.tflite"
    ks.deploy.to_litert(model, file, sparse=False, inputs=test[0][:16], tolerance=1e-3)
    return {
        "after": bench.accuracy(model, test),
        "flops": ks.report(model).dense_flops,
        "parameters": model.count_params(),
        "bytes": file.stat().st_size,
        "latency": ks.deploy.litert_latency(model, runs=100),
    }


def run(config: dict, folder: Path) -> dict[str, Any]:
    """Trains the dense network, or tunes one that a method has made of it."""
    method, seed, epochs = config["method"], config["seed"], config["epochs"]
    keras.utils.set_random_seed(seed)
    dataset = ks.data.load("cifar10", limit=config["images"], seed=0)
    fit = {"batch_size": config["batch"], "seed": seed, "augment": True}
    steps = -(-config["images"] // config["batch"])
    spent, peak = 0.0, config["learning_rate"]
    if method == "dense":
        model = ks.models.resnet20(width=config["width"], seed=seed)
    else:
        model = keras.models.load_model(folder.parent / config["after"] / "dense.keras")
        data = tuple(side[: config["samples"]] for side in dataset.train)
        began = time.process_time()
        model = smaller(method, model, data, config)
        spent = time.process_time() - began
        scratch = method == "scratch"
        epochs = config["tuning"] + (epochs if scratch else 0)
        peak = peak if scratch else config["tuning_rate"]
    rate = bench.warm_cosine(peak, epochs * steps, warmup=steps // 2)
    bench.compiled(model, rate, weight_decay=5e-4)
    before = bench.accuracy(model, dataset.test)
    bench.trained(model, dataset, folder, epochs=epochs, **fit)
    if method == "dense":
        model.save(folder / "dense.keras")
    found = measured(model, dataset.test, folder)
    return {"before": before, "choosing": spent, **found}


def describe(content: dict) -> bench.Document:
    runs, config = content["results"], content["config"]
    columns = {
        "before": lambda of: bench.percent([one["before"] for one in of]),
        "after": lambda of: bench.percent([one["after"] for one in of]),
        "CPU s": bench.cell("choosing", ".1f"),
        "MFLOPs": bench.cell(lambda one: one["flops"] / 1e6, ".1f"),
        "parameters": bench.cell("parameters", ",.0f"),
        "kB": bench.cell(lambda one: one["bytes"] / 1e3, ".0f"),
        "ms": bench.cell(lambda one: one["latency"] * 1e3, ".2f"),
    }

    def accuracies(label: str, _: Any) -> list[float]:
        name, _, when = label.rpartition(", ")
        return [one[when] for one in runs.get(name, [])]

    title = "ResNet-20 on CIFAR-10 at half its operations"
    first = {"claim": lambda claim: f"{claim.better} over {claim.worse}"}
    labels = [f"{name}, {when}" for name in runs for when in WHEN]
    colors = {f"{name}, after": f"C{i}" for i, name in enumerate(runs)}
    picture = bench.points({x: accuracies(x, 0) for x in labels}, "test accuracy", colors, title)
    blocks = [
        bench.by_variant(title, "filters", columns, runs),
        ABOUT.format(**config, all=config["epochs"] + config["tuning"]),
        bench.claims_table("Claims", first, CLAIMS, accuracies),
    ]
    return bench.Document(title, blocks, picture, "test accuracy before and after tuning")


if __name__ == "__main__":
    script = bench.Script(__doc__, images=int, epochs=int, tuning=int, width=int, seeds=2)
    config = script.chosen(SETTINGS)
    variants = {"dense": bench.Variant({**config, "method": "dense"})}
    for name in METHODS:
        variants[name] = bench.Variant({**config, "method": name}, after="dense")
    study = bench.Study(variants, range(script.args.seeds), run)
    script.study(study, describe, config)
