"""AC/DC in short runs: phases of one epoch, as the source's proportions give them, or of two.

    python benchmarks/acdc_phases.py

Two networks on MNIST, equal epochs. Where phases are held to two epochs, the epochs that do not
divide into cycles go to the last compressed phase or to the dense warm-up.
"""

from pathlib import Path

import keras
import numpy as np
from networks import compiled, five_convolutions

import keras_sparse as ks
from keras_sparse.experiments.document import Document, Script, Table
from keras_sparse.experiments.pictures import points
from keras_sparse.experiments.study import Study, Variant
from keras_sparse.experiments.summary import mean_and_spread

HERE = Path(__file__).parent
NETWORKS = {
    "convolutions": {"images": 3000, "batch": 64, "rate": 0.1, "weight_decay": 5e-4},
    "LeNet-300-100": {"images": 5000, "batch": 64, "rate": 0.05, "weight_decay": 5e-4},
}
SHORTEST = {"one epoch": 1, "two epochs, long end": 2, "two epochs, long warm-up": 2}


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
    """Test accuracy of one run."""
    keras.utils.set_random_seed(config["seed"])
    dataset = ks.data.load("mnist", limit=config["images"], seed=config["seed"])
    small = config["network"] == "convolutions"
    build = five_convolutions if small else ks.models.lenet_300_100
    model = build(**({"width": 8} if small else {}), seed=config["seed"])
    epochs, warmup = config["epochs"], -(-config["images"] // config["batch"])
    rate = keras.optimizers.schedules.CosineDecay(
        config["rate"] / 10,
        decay_steps=(epochs - 1) * warmup,
        warmup_target=config["rate"],
        warmup_steps=warmup,
    )
    compiled(model, rate, config["weight_decay"])
    model.optimizer.global_clipnorm = 1.0
    ends = ("first", "last") if small else ()
    acdc = ks.ACDC(0.95, phases(config["phases"], epochs), allocation="uniform", keep_dense=ends)
    batches = ks.data.pipeline(*dataset.train, batch_size=config["batch"], seed=config["seed"])
    model.fit(batches, epochs=epochs, callbacks=[acdc], shuffle=False, verbose=0)
    return {"accuracy": model.evaluate(*dataset.test, batch_size=500, verbose=0)[1]}


def describe(content: dict) -> Document:
    rows, drawn = [], {}
    for name, found in content["accuracies"].items():
        network, epochs, kind = name.split(" | ")
        mean, spread = mean_and_spread(found)
        letters = phases(kind, int(epochs))
        rows.append((f"{network}, {epochs} epochs", kind, letters, f"{mean:.2%}", f"{spread:.2%}"))
        drawn[f"{network}, {epochs} epochs, {kind}"] = found
    header = ("network", "phases", "", "test accuracy", "spread")
    best = {
        kind: np.mean([np.mean(v) for k, v in content["accuracies"].items() if k.endswith(kind)])
        for kind in SHORTEST
    }
    told = "; ".join(f"{kind} {value:.2%}" for kind, value in best.items())
    picture = points(drawn, "test accuracy", {})
    title = "AC/DC's phases in short runs, 95 % zeros"
    blocks = [Table(title, header, rows), f"Mean over networks and lengths: {told}."]
    return Document(title, blocks, picture, "test accuracy of each run, and the means")


def main() -> None:
    script = Script(__doc__, HERE / "results", seeds=3, epochs=[10, 20])
    args = script.parser.parse_args()
    variants = {
        f"{network} | {epochs} | {kind}": Variant(
            {**settings, "network": network, "epochs": epochs, "phases": kind}
        )
        for network, settings in NETWORKS.items()
        for epochs in args.epochs
        for kind in SHORTEST
    }

    def measure() -> dict:
        made = Study(variants, range(args.seeds), run).make(
            HERE / "build" / "acdc_phases", args.processes
        )
        return {"accuracies": {k: [one["accuracy"] for one in v] for k, v in made.items()}}

    script.write(args, "acdc_phases", measure, describe)


if __name__ == "__main__":
    main()
