"""Pruning a trained LeNet-300-100 without training it further: accuracy, time, memory.

    python benchmarks/post_training.py

Three dense models are trained on MNIST, each of which every method then prunes in a process of its
own, as it does by default, and those that prune layer by layer also with the same sparsity in each.
"""

import resource
import time
from pathlib import Path
from typing import Any

import keras

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench


def magnitude(model: keras.Model, data: Any, sparsity: float, **kwargs: Any) -> Any:
    return ks.prune(model, sparsity, **kwargs)


BY_LAYER = {
    "magnitude": magnitude,
    **{"Wanda": ks.wanda, "SparseGPT": ks.sparsegpt, "AdaPrune": ks.adaprune},
    **{"global AdaPrune": ks.global_adaprune, "OBC": ks.obc},
}
METHODS = {**BY_LAYER, "OBD": ks.obd, "WoodFisher": ks.woodfisher, "M-FAC": ks.mfac}
CALIBRATION = 1000
SPARSITIES = (0.5, 0.8, 0.9, 0.95)
EVENLY = 0.9
ABOUT = """\
Test accuracy in percent on all 10,000 test images right after pruning by {calibration:,} training
images, without any fine-tuning: mean and sample standard deviation over {models} models trained on
{images:,} images in {epochs} epochs. Every method has its defaults. All rank the weights of all
layers together, by their scores or, where layers are solved one by one, to share out what each of
them keeps. Seconds are those of the pruning on one thread, while the machine did other things as
well; memory is the peak of the process."""
EVEN = """\
At {evenly:.0%} zeros, the same sparsity in each layer against the default:"""


def train(config: dict, folder: Path) -> dict[str, float]:
    """Trains a dense model."""
    keras.utils.set_random_seed(config["seed"])
    mnist = ks.data.load("mnist", limit=config["images"])
    steps = config["epochs"] * -(-config["images"] // 64)
    model = bench.compiled(ks.models.lenet_300_100(), bench.warm_cosine(0.05, steps))
    model.fit(*mnist.train, batch_size=64, epochs=config["epochs"], verbose=2)
    model.save(folder / "dense.keras")
    return {"accuracy": bench.accuracy(model, mnist.test)}


def run(config: dict, folder: Path) -> dict[str, Any]:
    """Prunes the trained model to each sparsity."""
    mnist = ks.data.load("mnist", limit=config["images"])
    data = mnist.x_train[: config["calibration"]], mnist.y_train[: config["calibration"]]
    method, trained = METHODS[config["method"]], folder.with_name(config["after"]) / "dense.keras"
    result: dict[str, list[float]] = {"accuracy": [], "sparsity": [], "seconds": []}
    allocation = {"allocation": config["allocation"]} if config["allocation"] else {}
    for sparsity in config["sparsities"]:
        model = keras.saving.load_model(trained)
        began = time.perf_counter()
        report = method(model, data, sparsity=sparsity, **allocation)
        result["seconds"].append(time.perf_counter() - began)
        result["sparsity"].append(report.sparsity)
        result["accuracy"].append(bench.accuracy(model, mnist.test))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**result, "peak_memory_mib": peak}


def _at(place: int) -> bench.Cell:
    return lambda runs: bench.percent([run["accuracy"][place] for run in runs])


def describe(content: dict) -> bench.Document:
    runs, config = content["results"], content["config"]
    dense = [run["accuracy"] for run in runs["dense"]]
    title = f"LeNet-300-100 pruned after training (dense: {bench.percent(dense)} %)"
    zeros = [f"{sparsity:.0%}" for sparsity in SPARSITIES]
    columns = {at: _at(i) for i, at in enumerate(zeros)}
    columns[f"seconds at {zeros[-1]}"] = bench.cell(lambda run: run["seconds"][-1], ".1f")
    columns["peak MiB"] = bench.cell("peak_memory_mib", ".0f")
    table = bench.by_variant(title, "method", columns, {name: runs[name] for name in METHODS})
    place = SPARSITIES.index(EVENLY)
    rows = [(name, _at(0)(runs[f"{name}, evenly"]), _at(place)(runs[name])) for name in BY_LAYER]
    even = bench.Table("Evenly over layers", ("method", "evenly", "default"), rows)
    curves = {"dense": [bench.mean(dense)] * len(zeros)}
    curves |= {
        name: [bench.mean([run["accuracy"][i] for run in runs[name]]) for i in range(len(zeros))]
        for name in METHODS
    }
    picture = bench.lines({"test accuracy": curves}, "sparsity", zeros, title)
    about = ABOUT.format(models=len(dense), **config)
    blocks = [table, about, EVEN.format(evenly=EVENLY), even]
    return bench.Document(title, blocks, picture, "accuracy by sparsity")


if __name__ == "__main__":
    script = bench.Script(__doc__, images=20000, epochs=10, models=3)
    config = script.chosen({"images": None, "epochs": None, "calibration": CALIBRATION})
    pruning = {**config, "sparsities": SPARSITIES, "allocation": None}
    evenly = {**config, "sparsities": [EVENLY], "allocation": "uniform"}
    variants = {"dense": bench.Variant(config, train)}
    variants |= {m: bench.Variant({**pruning, "method": m}, after="dense") for m in METHODS}
    variants |= {
        f"{m}, evenly": bench.Variant({**evenly, "method": m}, after="dense") for m in BY_LAYER
    }
    # One at a time, as its seconds are compared.
    study = bench.Study(variants, range(script.args.models), run)
    script.study(study, describe, config, processes=1)
