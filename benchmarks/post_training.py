"""Pruning a trained LeNet-300-100 without training it further: accuracy, time, memory.

The committed results are those of

    python benchmarks/post_training.py

One dense model is trained on MNIST; each method then prunes it in a process of its own, with 1,000
training images for calibration. Seconds are those of the pruning alone, memory is the peak of the
whole process with TensorFlow and the data.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import writing
from processes import HERE, run_script
from rich.progress import track

import keras_sparse as ks

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
NAME = "post_training"
CALIBRATION = 1000
SPARSITIES = (0.5, 0.8, 0.9, 0.95)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=20000, help="training images")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--method", choices=METHODS, help="measure one method (used internally)")
    parser.add_argument("--folder", type=Path, help="where its model and result lie")
    return parser.parse_args()


def train(images: int, epochs: int, folder: Path) -> float:
    """Trains the dense model, leaves it in a folder and returns its accuracy."""
    mnist = ks.data.load("mnist", limit=images)
    keras.utils.set_random_seed(0)
    model = ks.models.lenet_300_100()
    steps = -(-images // 64)
    model.compile(
        keras.optimizers.SGD(
            keras.optimizers.schedules.CosineDecay(0.05, epochs * steps), momentum=0.9
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(*mnist.train, batch_size=64, epochs=epochs, verbose=2)
    model.save(folder / "dense.keras")
    return float(model.evaluate(*mnist.test, batch_size=500, verbose=0)[1])


def measure(method: str, folder: Path, images: int) -> dict[str, Any]:
    """Prunes the model of a folder to each sparsity."""
    mnist = ks.data.load("mnist", limit=images)
    data = mnist.x_train[:CALIBRATION], mnist.y_train[:CALIBRATION]
    result: dict[str, Any] = {"accuracy": [], "sparsity": [], "seconds": []}
    for sparsity in SPARSITIES:
        model = keras.saving.load_model(folder / "dense.keras")
        began = time.perf_counter()
        report = METHODS[method](model, data, sparsity=sparsity)
        result["seconds"].append(time.perf_counter() - began)
        result["sparsity"].append(report.sparsity)
        result["accuracy"].append(float(model.evaluate(*mnist.test, batch_size=500, verbose=0)[1]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**result, "peak_memory_mib": peak}


def write(results: dict[str, Any], dense: float, args: argparse.Namespace) -> None:
    """Writes JSON, Markdown and PNG, and prints the table."""
    title = f"LeNet-300-100 pruned after training (dense: {dense:.2%})"
    zeros = [f"{sparsity:.0%}" for sparsity in SPARSITIES]
    header = ("method", *zeros, f"seconds at {zeros[-1]}", "peak MiB")
    rows = [
        (
            method,
            *(f"{accuracy:.2%}" for accuracy in result["accuracy"]),
            f"{result['seconds'][-1]:.1f}",
            f"{result['peak_memory_mib']:.0f}",
        )
        for method, result in results.items()
    ]
    config = {"images": args.images, "epochs": args.epochs, "calibration": CALIBRATION}
    content = {
        "command": writing.command(),
        "machine": writing.machine(),
        "versions": writing.versions(),
        "config": config,
        "dense_accuracy": dense,
        "sparsities": SPARSITIES,
        "results": results,
    }
    writing.write_json(args.out / f"{NAME}.json", content)
    text = f"""# {title}

`{writing.command()}` on {writing.machine()}.

{writing.markdown_table(header, rows)}

One seed, {args.images:,} training images, {args.epochs} epochs; test accuracy on all 10,000 test
images right after pruning, by {CALIBRATION:,} training images, without any fine-tuning. Seconds are
those of the pruning, memory is the peak of the whole process. OBC, SparseGPT and AdaPrune give
each layer the same sparsity, as is their default; the others rank all weights together.

![accuracy by sparsity]({NAME}.png)
"""
    (args.out / f"{NAME}.md").write_text(text)
    writing.print_table(title, header, rows)
    figure, axes = plt.subplots(figsize=(7.5, 4.6), layout="constrained")
    axes.axhline(dense, color="grey", linestyle="--", label="dense")
    for (method, result), marker in zip(results.items(), "osD^vP*X", strict=True):
        axes.plot(range(len(SPARSITIES)), result["accuracy"], marker=marker, label=method)
    axes.set_xticks(range(len(SPARSITIES)), zeros)
    axes.set(xlabel="sparsity", ylabel="test accuracy", title=title)
    axes.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(args.out / f"{NAME}.png", dpi=120)


def main() -> None:
    args = arguments()
    if args.method:
        result = measure(args.method, args.folder, args.images)
        (args.folder / "result.json").write_text(json.dumps(result))
        return
    results = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dense = train(args.images, args.epochs, folder)
        for method in track(METHODS, "pruning"):
            words = ["--method", method, "--folder", name, "--images", str(args.images)]
            with (folder / "log").open("w") as log:
                if run_script(f"{NAME}.py", words, log):
                    sys.exit(f"{method} failed:\n{(folder / 'log').read_text()[-3000:]}")
            results[method] = json.loads((folder / "result.json").read_text())
    write(results, dense, args)


if __name__ == "__main__":
    main()
