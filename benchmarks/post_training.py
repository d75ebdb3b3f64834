"""Pruning a trained LeNet-300-100 without training it further: accuracy, time, memory.

    python benchmarks/post_training.py

One dense model is trained on MNIST, which each method then prunes in a process of its own.
"""

import resource
import time
from pathlib import Path
from typing import Any

import keras

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench

METHODS = {
    "magnitude": lambda model, data, sparsity: ks.prune(model, sparsity),
    **{"OBD": ks.obd, "WoodFisher": ks.woodfisher, "M-FAC": ks.mfac, "OBC": ks.obc},
    **{"SparseGPT": ks.sparsegpt, "AdaPrune": ks.adaprune, "global AdaPrune": ks.global_adaprune},
}
CALIBRATION = 1000
SPARSITIES = (0.5, 0.8, 0.9, 0.95)
ABOUT = """\
One seed, {images:,} training images, {epochs} epochs; test accuracy on all 10,000 test
images right after pruning, by {calibration:,} training images, without any fine-tuning. Seconds are
those of the pruning, memory is the peak of the whole process. OBC, SparseGPT and AdaPrune give
each layer the same sparsity, as is their default; the others rank all weights together."""


def train(config: dict, folder: Path) -> dict[str, float]:
    """Trains the dense model."""
    mnist = ks.data.load("mnist", limit=config["images"])
    keras.utils.set_random_seed(0)
    steps = config["epochs"] * -(-config["images"] // 64)
    model = bench.compiled(ks.models.lenet_300_100(), bench.warm_cosine(0.05, steps))
    model.fit(*mnist.train, batch_size=64, epochs=config["epochs"], verbose=2)
    model.save(folder / "dense.keras")
    return {"accuracy": bench.accuracy(model, mnist.test)}


def run(config: dict, folder: Path) -> dict[str, Any]:
    """Prunes the trained model to each sparsity."""
    mnist = ks.data.load("mnist", limit=config["images"])
    data = mnist.x_train[:CALIBRATION], mnist.y_train[:CALIBRATION]
    result = {"accuracy": [], "sparsity": [], "seconds": []}
    for sparsity in SPARSITIES:
        model = keras.saving.load_model(folder.with_name(config["after"]) / "dense.keras")
        began = time.perf_counter()
        report = METHODS[config["method"]](model, data, sparsity=sparsity)
        result["seconds"].append(time.perf_counter() - began)
        result["sparsity"].append(report.sparsity)
        result["accuracy"].append(bench.accuracy(model, mnist.test))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**result, "peak_memory_mib": peak}


def describe(content: dict) -> bench.Document:
    dense, results = content["dense_accuracy"], content["results"]
    title = f"LeNet-300-100 pruned after training (dense: {dense:.2%})"
    zeros = [f"{sparsity:.0%}" for sparsity in content["sparsities"]]
    columns = {
        at: bench.cell(lambda run, i=i: run["accuracy"][i], ".2%") for i, at in enumerate(zeros)
    }
    columns[f"seconds at {zeros[-1]}"] = bench.cell(lambda run: run["seconds"][-1], ".1f")
    columns["peak MiB"] = bench.cell("peak_memory_mib", ".0f")
    table = bench.by_variant(title, "method", columns, {name: [results[name]] for name in results})
    curves = {"dense": [dense] * len(zeros), **{m: results[m]["accuracy"] for m in results}}
    picture = bench.lines({"test accuracy": curves}, "sparsity", zeros, title)
    blocks = [table, ABOUT.format(**content["config"])]
    return bench.Document(title, blocks, picture, "accuracy by sparsity")


def kept(found: bench.Results) -> dict[str, Any]:
    (dense,), results = found["dense"], {method: found[method][0] for method in METHODS}
    return {"dense_accuracy": dense["accuracy"], "sparsities": SPARSITIES, "results": results}


if __name__ == "__main__":
    script = bench.Script(__doc__, images=20000, epochs=10)
    config = script.chosen({"images": None, "epochs": None, "calibration": CALIBRATION})
    variants = {"dense": bench.Variant(config, train)}
    variants |= {m: bench.Variant({**config, "method": m}, after="dense") for m in METHODS}
    # One at a time, on all cores, as its seconds are compared.
    study = bench.Study(variants, [0], run)
    script.study(study, describe, config, kept, processes=1, threads=None)
