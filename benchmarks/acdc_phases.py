"""AC/DC in short runs: phases of one epoch, as the source's proportions give them, or of two.

    python benchmarks/acdc_phases.py

Two networks on MNIST, equal epochs. Where phases are held to two epochs, the epochs that do not
divide into cycles go to the last compressed phase or to the dense warm-up.
"""

from pathlib import Path

import keras
from networks import five_convolutions

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench

BATCH = 64
NETWORKS = {
    "convolutions": {"images": 3000, "rate": 0.1, "keep_dense": ("first", "last")},
    "LeNet-300-100": {"images": 5000, "rate": 0.05, "keep_dense": ()},
}
SHORTEST = {"one epoch": 1, "two epochs, long end": 2, "two epochs, long warm-up": 2}
COLUMNS = {
    "test accuracy": bench.cell(float, ".2%"),
    "spread": bench.cell(float, ".2%", bench.spread),
}


def phases(kind: str, epochs: int) -> str:
    """The source's proportions, no phase shorter than so many epochs."""
    least = SHORTEST[kind]
    warmup, last_dense, last_sparse = (max(least, round(s * epochs)) for s in (0.1, 0.1, 0.15))
    phase = max(least, round(0.05 * epochs))
    spare = (epochs - warmup - last_dense - last_sparse - phase) % (2 * phase)
    if kind.endswith("warm-up"):
        warmup += spare
    else:
        last_sparse += spare
    return ks.acdc_schedule(epochs, warmup, phase, phase, last_dense, last_sparse)


def run(config: dict, folder: Path) -> dict:
    """Trains from one seed."""
    seed, epochs = config["seed"], config["epochs"]
    keras.utils.set_random_seed(seed)
    mnist = ks.data.load("mnist", limit=config["images"], seed=seed)
    small = config["network"] == "convolutions"
    model = five_convolutions(8, seed) if small else ks.models.lenet_300_100(seed=seed)
    steps = -(-config["images"] // BATCH)
    rate = bench.warm_cosine(config["rate"], epochs * steps, warmup=steps)
    bench.compiled(model, rate, weight_decay=5e-4, clipnorm=1.0)
    shared = {"allocation": "uniform", "keep_dense": config["keep_dense"]}
    acdc = ks.ACDC(0.95, phases(config["phases"], epochs), **shared)
    fit = {"epochs": epochs, "batch_size": BATCH, "seed": seed, "callbacks": [acdc]}
    return bench.trained(model, mnist, folder, **fit)


def describe(content: dict) -> bench.Document:
    rows, drawn, of_kind = {}, {}, {}
    for name, accuracies in content["accuracies"].items():
        network, epochs, kind = name.split(" | ")
        rows[f"{network}, {epochs} epochs", kind, phases(kind, int(epochs))] = accuracies
        drawn[f"{network}, {epochs} epochs, {kind}"] = accuracies
        of_kind.setdefault(kind, []).append(bench.mean(accuracies))
    title = "AC/DC's phases in short runs, 95 % zeros"
    table = bench.by_variant(title, ("network", "phases", ""), COLUMNS, rows)
    means = "; ".join(f"{kind} {bench.mean(found):.2%}" for kind, found in of_kind.items())
    blocks = [table, f"Mean over networks and lengths: {means}."]
    picture = bench.points(drawn, "test accuracy", {})
    return bench.Document(title, blocks, picture, "test accuracy of each run, and the means")


if __name__ == "__main__":
    script = bench.Script(__doc__, seeds=3, epochs=[10, 20])
    variants = {
        f"{network} | {epochs} | {kind}": bench.Variant(
            {**NETWORKS[network], "network": network, "epochs": epochs, "phases": kind}
        )
        for network in NETWORKS
        for epochs in script.args.epochs
        for kind in SHORTEST
    }

    def kept(found: bench.Results) -> dict:
        return {"accuracies": {n: [run["test_accuracy"] for run in found[n]] for n in found}}

    script.study(bench.Study(variants, range(script.args.seeds), run), describe, content=kept)
