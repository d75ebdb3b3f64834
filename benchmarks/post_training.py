"""Pruning a trained LeNet-300-100 without training it further: accuracy, time, memory.

The committed results are those of

    python benchmarks/post_training.py

One dense model is trained on MNIST; each method then prunes it in a process of its own, with 1,000
training images for calibration. Seconds are those of the pruning alone, memory is the peak of the
whole process with TensorFlow and the data.
"""

import resource
import time
from pathlib import Path
from typing import Any

import keras
from networks import compiled

import keras_sparse as ks
from keras_sparse.experiments.document import Document, Script, Table
from keras_sparse.experiments.pictures import lines
from keras_sparse.experiments.study import Study, Variant

HERE = Path(__file__).parent
METHODS = {
    "magnitude": lambda model, data, sparsity: ks.prune(model, sparsity),
    "OBD": ks.obd,
    "WoodFisher": ks.woodfisher,
    "M-FAC": ks.mfac,
    "OBC": ks.obc,
    "SparseGPT": ks.sparsegpt,
    "AdaPrune": ks.adaprune,
    "global AdaPrune": ks.global_adaprune,
}
CALIBRATION = 1000
SPARSITIES = (0.5, 0.8, 0.9, 0.95)


def train(config: dict, folder: Path) -> dict[str, float]:
    """Trains the dense model."""
    mnist = ks.data.load("mnist", limit=config["images"])
    keras.utils.set_random_seed(0)
    model = ks.models.lenet_300_100()
    decay_steps = config["epochs"] * -(-config["images"] // 64)
    rate = keras.optimizers.schedules.CosineDecay(0.05, decay_steps)
    compiled(model, rate)
    model.fit(*mnist.train, batch_size=64, epochs=config["epochs"], verbose=2)
    model.save(folder / "dense.keras")
    return {"accuracy": float(model.evaluate(*mnist.test, batch_size=500, verbose=0)[1])}


def run(config: dict, folder: Path) -> dict[str, Any]:
    """Prunes the trained model to each sparsity."""
    mnist = ks.data.load("mnist", limit=config["images"])
    data = mnist.x_train[:CALIBRATION], mnist.y_train[:CALIBRATION]
    result: dict[str, Any] = {"accuracy": [], "sparsity": [], "seconds": []}
    for sparsity in SPARSITIES:
        model = keras.saving.load_model(folder.with_name(config["after"]) / "dense.keras")
        began = time.perf_counter()
        report = METHODS[config["method"]](model, data, sparsity=sparsity)
        result["seconds"].append(time.perf_counter() - began)
        result["sparsity"].append(report.sparsity)
        result["accuracy"].append(float(model.evaluate(*mnist.test, batch_size=500, verbose=0)[1]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**result, "peak_memory_mib": peak}


def describe(content: dict) -> Document:
    dense, config = content["dense_accuracy"], content["config"]
    title = f"LeNet-300-100 pruned after training (dense: {dense:.2%})"
    zeros = [f"{sparsity:.0%}" for sparsity in content["sparsities"]]
    rows = [
        (
            method,
            *(f"{accuracy:.2%}" for accuracy in result["accuracy"]),
            f"{result['seconds'][-1]:.1f}",
            f"{result['peak_memory_mib']:.0f}",
        )
        for method, result in content["results"].items()
    ]
    images, epochs = f"{config['images']:,}", config["epochs"]
    about = f"""\
One seed, {images} training images, {epochs} epochs; test accuracy on all 10,000 test
images right after pruning, by {CALIBRATION:,} training images, without any fine-tuning. Seconds are
those of the pruning, memory is the peak of the whole process. OBC, SparseGPT and AdaPrune give
each layer the same sparsity, as is their default; the others rank all weights together."""
    accuracies = {name: result["accuracy"] for name, result in content["results"].items()}
    curves = {"dense": [dense] * len(zeros), **accuracies}
    table = Table(title, ("method", *zeros, f"seconds at {zeros[-1]}", "peak MiB"), rows)
    picture = lines({"test accuracy": curves}, "sparsity", zeros, title)
    return Document(title, [table, about], picture, "accuracy by sparsity")


def main() -> None:
    script = Script(__doc__, HERE / "results", images=20000, epochs=10)
    args = script.parser.parse_args()
    config = {"images": args.images, "epochs": args.epochs}
    variants = {"dense": Variant(config, train)}
    variants |= {m: Variant({**config, "method": m}, after="dense") for m in METHODS}

    def measure() -> dict:
        # One at a time, on all cores, as its seconds are compared.
        results = Study(variants, [0], run).make(HERE / "build" / "post_training", 1, None)
        (dense,) = results.pop("dense")
        return {
            "config": {**config, "calibration": CALIBRATION},
            "dense_accuracy": dense["accuracy"],
            "sparsities": SPARSITIES,
            "results": {method: runs[0] for method, runs in results.items()},
        }

    script.write(args, "post_training", measure, describe)


if __name__ == "__main__":
    main()
