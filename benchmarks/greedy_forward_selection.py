"""Subnetworks of a two-layer network on MNIST, before and after they are trained on.

    python benchmarks/greedy_forward_selection.py

Greedy forward selection against i-SpaSP, the most active units, the largest incoming weights and
random ones (Wolfe 2023, 3.6.2 and 4.6.2), fresh batches of 512 for each pick and iteration. Sizes
are picks; greedy forward selection may pick a unit again and keep fewer.
"""

import time
from pathlib import Path

import keras
import numpy as np

import keras_sparse as ks
from keras_sparse.experiments.claims import CLAIM_HEADER, Claim, checked
from keras_sparse.experiments.document import Document, Script, Table, notes
from keras_sparse.experiments.study import Study, Variant
from keras_sparse.experiments.summary import mean_and_spread
from keras_sparse.plots import pretraining_curve

HERE = Path(__file__).parent
SETTINGS = {"units": 1000, "images": 10000, "epochs": 10, "further": 5, "rate": 0.01}
SIZES = (10, 20, 50, 100)
BATCH = 512
CLAIMS = (
    *(Claim("greedy, before", f"{name}, before", 10.0, 20) for name in ("i-SpaSP", "random")),
    *(Claim("i-SpaSP, after", "random, after", 2.0, size) for size in (10, 20)),
    *(Claim("i-SpaSP, after", "greedy without gains, after", 0.0, size) for size in (20, 50)),
)


def trained(model: keras.Model, x: np.ndarray, y: np.ndarray, epochs: int, rate: float) -> None:
    optimizer = keras.optimizers.SGD(rate, 0.9)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=epochs, batch_size=128, verbose=0)


def choices(model: keras.Model, x: np.ndarray, y: np.ndarray, seed: int) -> tuple[dict, dict]:
    """Units and gains by method and size, and the seconds that they took."""
    generator = np.random.default_rng(seed)
    kernel = np.asarray(model.layers[0].kernel)
    batch = x[generator.choice(len(x), BATCH, replace=False)]
    hidden = np.maximum(batch @ kernel + np.asarray(model.layers[0].bias), 0)
    ranked = {
        "most active": -hidden.sum(axis=0),
        "largest weights": -np.abs(kernel).sum(axis=0),
        "random": generator.random(len(hidden[0])),
    }
    found = {(name, s): (np.argsort(r)[:s], None) for name, r in ranked.items() for s in SIZES}
    seconds = {}
    for name, again in (("greedy", True), ("greedy, each unit once", False)):
        given = {"batch_size": BATCH, "replacement": again, "seed": seed}
        made = ks.structured.greedy_forward_selection(model, (x, y), max(SIZES), **given)
        for s in SIZES:
            kept, counts = np.unique(made.picks[:s], return_counts=True)
            found[name, s] = kept, len(made.alpha) * counts / s
            if again:
                found["greedy without gains", s] = kept, None
            seconds[name, s] = float(made.seconds[s - 1])
    for s in SIZES:
        began = time.perf_counter()
        found["i-SpaSP", s] = ks.structured.i_spasp(model, x, s, seed=seed).indices, None
        seconds["i-SpaSP", s] = time.perf_counter() - began
    return found, seconds


def run(config: dict, folder: Path) -> dict:
    """Test accuracy of all subnetworks of one network."""
    data = ks.data.load("mnist", limit=config["images"], seed=config["seed"], flatten=True)
    keras.utils.set_random_seed(config["seed"])
    stack = [keras.layers.Dense(config["units"], "relu"), keras.layers.Dense(10, "softmax")]
    model = keras.Sequential([keras.Input((784,)), *stack])
    trained(model, *data.train, config["epochs"], config["rate"])
    found, seconds = choices(model, *data.train, config["seed"])
    rows = []
    for (name, size), (kept, gains) in found.items():
        small = ks.structured.smaller_model(model, kept, gains)
        accuracies = []
        for epochs in (0, config["further"]):
            trained(small, *data.train, epochs, config["rate"])
            accuracies.append(small.evaluate(*data.test, batch_size=500, verbose=0)[1])
        rows.append([name, size, len(kept), *accuracies, seconds.get((name, size))])
    return {"dense": model.evaluate(*data.test, batch_size=500, verbose=0)[1], "rows": rows}


def describe(content: dict) -> Document:
    table: dict = {}
    for made in content["runs"]:
        for name, size, *values in made["rows"]:
            table.setdefault((name, size), []).append(values)
    table = {key: list(zip(*values, strict=True)) for key, values in table.items()}

    def accuracies(label: str, size: int) -> tuple:
        name, _, when = label.rpartition(", ")
        return table[name, size][1 + (when == "after")]

    rows = []
    for (name, size), (units, before, after, spent) in sorted(table.items(), key=lambda i: i[0][1]):
        cells = [str(size), f"{np.mean(units):.0f}", f"{np.mean(before):.2%}"]
        cells += [f"{np.mean(after):.2%}", f"{100 * mean_and_spread(after)[1]:.2f}"]
        rows.append((name, *cells, "" if None in spent else f"{np.mean(spent):.2f}"))
    header = ("units of", "size", "units", "before", "after", "spread", "seconds")
    told = [
        (f"{claim.better} over {claim.worse}, size {claim.at}", *cells)
        for claim, cells in checked(CLAIMS, accuracies)
    ]
    ratios = [np.mean(table["greedy", s][3]) / np.mean(table["i-SpaSP", s][3]) for s in SIZES]
    faster = "holds" if ratios[-1] >= 10 else "does not hold"
    lines = [
        f"Test accuracy; dense {np.mean([made['dense'] for made in content['runs']]):.2%}. After: "
        f"{SETTINGS['further']} more epochs. Spread of that, in points.",
        "Greedy without gains: its units with the weights that they have.",
        f"i-SpaSP is {min(ratios):.1f} to {max(ratios):.1f} times as fast as greedy forward "
        f"selection; at least 10 times at size {SIZES[-1]}: {faster}.",
    ]
    names = dict.fromkeys(name for name, _ in table)
    curves = {n: (SIZES, [np.mean(table[n, s][1]) for s in SIZES]) for n in names}
    picture = pretraining_curve(curves, label="test accuracy", xlabel="size")
    blocks = [Table("Accuracy", header, rows), Table("Claims", ("claim", *CLAIM_HEADER), told)]
    title = "Subnetworks of a two-layer network on MNIST"
    return Document(title, [*blocks, notes(lines)], picture, "accuracy before further training")


def main() -> None:
    script = Script(__doc__, HERE / "results", seeds=3)
    args = script.parser.parse_args()

    def measure() -> dict:
        study = Study({"mnist": Variant(SETTINGS)}, range(args.seeds), run)
        made = study.make(HERE / "build" / "greedy_forward_selection", args.processes)
        return {"settings": SETTINGS, "runs": made["mnist"]}

    script.write(args, "greedy_forward_selection", measure, describe)


if __name__ == "__main__":
    main()
