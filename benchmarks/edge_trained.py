"""A network for phones, trained on CIFAR-10: dense, and with the zeros that XNNPACK leaves out.

    python benchmarks/edge_trained.py --arm ../shared/edge/arm64

`ks.models.mobilenet` for 32x32 images, whose 1x1 convolutions XNNPACK runs sparse on Arm; trained
dense and by GMP with granularity="xnnpack", otherwise equally, tested on all test images. Both go
to LiteRT; `--arm` names a script whose `count FILE` prints the Arm instructions of an inference.
"""

from pathlib import Path

import keras
from edge import instructions

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench

BATCH = 64
# Blocks and single weights, ranked together, would leave nothing of the last layer.
PATTERN = {"granularity": "xnnpack", "allocation": "uniform"}
COLUMNS = {
    "test accuracy": bench.cell(lambda run: run["test_accuracy"], ".2%"),
    "spread": bench.cell(lambda run: run["test_accuracy"], ".2%", bench.spread),
    "MB": bench.cell(lambda run: run["bytes"] / 1e6, ".2f"),
    "M Arm instructions": bench.cell(
        lambda run: (run["instructions"] or float("nan")) / 1e6, ".2f"
    ),
}


def run(config: dict, folder: Path) -> dict:
    """Trains from one seed and exports."""
    seed, epochs, zeros = config["seed"], config["epochs"], config["zeros"]
    keras.utils.set_random_seed(seed)
    data = ks.data.load("cifar10", limit=config["images"], seed=seed)
    model = ks.models.mobilenet(config["alpha"], (32, 32, 3), seed=seed)
    steps = epochs * -(-config["images"] // BATCH)
    rate = bench.warm_cosine(0.1, steps, warmup=steps // epochs)
    bench.compiled(model, rate, weight_decay=5e-4, clipnorm=1.0)
    callbacks = [ks.GMP(zeros, **PATTERN)] if zeros else []
    fit = {"epochs": epochs, "batch_size": BATCH, "seed": seed, "callbacks": callbacks}
    found = bench.trained(model, data, folder, augment=True, **fit)
    file = folder / "model.tflite"
    report = ks.deploy.to_litert(model, file, sparse=zeros > 0, inputs=data.test[0][:32])
    counted = instructions(config["arm"], file) if config["arm"] else None
    return {**found, "bytes": report.bytes, "error": report.max_error, "instructions": counted}


def describe(content: dict) -> bench.Document:
    rows = content["results"]
    title = "A network for phones, trained on CIFAR-10"
    table = bench.by_variant(title, ("training",), COLUMNS, rows)
    dense, pruned = rows["dense"], rows["90 % zeros"]
    behind = bench.mean([run["test_accuracy"] for run in dense]) - bench.mean(
        [run["test_accuracy"] for run in pruned]
    )
    lines = [f"90 % zeros are {100 * behind:.2f} points behind dense (asked: at most 1.5)."]
    lines += [
        f"{what}: {dense[0][key] / pruned[0][key]:.1f} times fewer."
        for what, key in (("Bytes", "bytes"), ("Arm instructions", "instructions"))
        if dense[0][key]
    ]
    accuracies = {name: [run["test_accuracy"] for run in runs] for name, runs in rows.items()}
    picture = bench.points(accuracies, "test accuracy", {"dense": "C0"})
    return bench.Document(title, [table, bench.notes(lines)], picture, "accuracy of each seed")


if __name__ == "__main__":
    script = bench.Script(
        __doc__, arm=str, alpha=0.5, images=10000, epochs=40, zeros=[0.9], seeds=3
    )
    args = script.args
    arm = args.arm and str(Path(args.arm).resolve())
    common = {"alpha": args.alpha, "images": args.images, "epochs": args.epochs, "arm": arm}
    variants = {"dense": bench.Variant({"zeros": 0.0, **common})}
    variants |= {
        f"{100 * zeros:g} % zeros": bench.Variant({"zeros": zeros, **common})
        for zeros in args.zeros
    }
    script.study(bench.Study(variants, range(args.seeds), run), describe)
