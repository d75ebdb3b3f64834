"""How much pre-training is enough: pruned copies of a network in training, by the data's size.

    python benchmarks/pretraining.py

A two-layer network learns whether a digit of MNIST is below 5, from sub-datasets of three sizes.
Every so many steps greedy forward selection, by fresh batches (Wolfe 2023, Algorithm 6), makes a
subnetwork of a copy, which is not trained any further. Its accuracy is that on the sub-dataset.
"""

from pathlib import Path

import keras
import numpy as np

import keras_sparse as ks
from keras_sparse.analysis.bounds.fits import fit_contraction, fit_growth
from keras_sparse.experiments.claims import CLAIM_HEADER, Claim, checked
from keras_sparse.experiments.document import Document, Script, Table, notes
from keras_sparse.experiments.study import Study, Variant
from keras_sparse.experiments.summary import mean_and_spread
from keras_sparse.plots.pretraining import pretraining_curve

HERE = Path(__file__).parent
SETTINGS = {"units": 1000, "picks": 50, "steps": 2000, "every": 100, "batch": 128, "rate": 0.01}


def pruned(model: keras.Model, data: tuple, size: int) -> keras.Model:
    found = ks.structured.greedy_forward_selection(model, data, size, batch_size=512)
    return ks.structured.smaller_model(model, found.indices, found.gains)


def run(config: dict, folder: Path) -> dict:
    """What the probes of one training found."""
    dataset = ks.data.load("mnist", limit=config["samples"], seed=config["seed"], flatten=True)
    x, y = dataset.x_train, (dataset.y_train >= 5).astype("float32")
    keras.utils.set_random_seed(config["seed"])
    hidden = keras.layers.Dense(config["units"], activation="relu")
    output = keras.layers.Dense(1, activation="sigmoid")
    model = keras.Sequential([keras.Input(x.shape[1:]), hidden, output])
    model.compile(keras.optimizers.SGD(config["rate"], momentum=0.9), "binary_crossentropy")
    probe = ks.PretrainingProbe(
        (x, y), config["picks"], every=f"{config['every']}st", pruner=pruned
    )
    rows = np.random.default_rng(config["seed"])
    drawn = rows.integers(0, len(x), (config["steps"], config["batch"])).ravel()
    model.fit(
        x[drawn], y[drawn], batch_size=config["batch"], verbose=0, shuffle=False, callbacks=[probe]
    )
    return {"history": [list(each) for each in probe.history]}


def first_hits(results: dict) -> dict[str, list[float]]:
    """For each size the first step as good as the best subnetwork of the largest one, by seed."""
    history = {size: np.array([one["history"] for one in runs]) for size, runs in results.items()}
    targets = list(history.values())[-1][..., 4].max(axis=1)
    return {
        size: [
            ks.structured.pretraining_report(h[:, 0], h[:, 4], h[:, 3], target=t).first_hit
            for h, t in zip(found, targets, strict=True)
        ]
        for size, found in history.items()
    }


def describe(content: dict) -> Document:
    results, every = content["results"], content["settings"]["every"]
    history = {size: np.array([one["history"] for one in runs]) for size, runs in results.items()}
    hits = first_hits(results)
    means = {size: float(np.mean(values)) for size, values in hits.items()}
    rows, best, curves = [], {}, {}
    for size, found in history.items():
        at, mean = found[0, :, 0], found.mean(axis=0)
        best[size] = (found[:, 0, 4], found[..., 4].max(axis=1))
        reports = [ks.structured.pretraining_report(h[:, 0], h[:, 4], h[:, 3]) for h in found]
        fit = fit_contraction(at, mean[:, 1])
        told = fit.reason or f"{fit.threshold(content['settings']['picks']):.0f}"
        shown = [f"{mean_and_spread(side)[0]:.2%}" for side in (*best[size], found[:, -1, 3])]
        plateau = np.mean([each.plateau for each in reports])
        tickets = [each.winning_ticket for each in reports]
        ticket = "never" if None in tickets else f"{np.mean(tickets):.0f}"
        rows.append(
            (f"{int(size):,}", *shown, f"{means[size]:.0f}", f"{plateau:.0f}", ticket, told)
        )
        curves[f"{int(size):,} images, pruned"] = (at, mean[:, 2])
        curves[f"{int(size):,} images, dense"] = (at, mean[:, 1])
    header = ("images", "pruned at step 0", "best pruned", "dense at the end", "first hit")
    header += ("plateau", "winning ticket", "log k / -log rho")
    claims = [Claim("best", "at step 0", 3.0, size) for size in history]
    cells = checked(claims, lambda name, size: best[size][name == "best"])
    checks = [
        (f"best pruned over pruned at step 0, {int(c.at):,} images", *row) for c, row in cells
    ]
    steps, sizes = list(means.values()), [int(size) for size in means]
    rising = all(b >= a - every for a, b in zip(steps, steps[1:], strict=False))
    rates = np.diff(steps) / np.diff(np.log2(sizes))
    flat = rates[-1] < rates[0]
    growth = fit_growth(sizes, np.maximum(steps, 1))
    lines = [
        f"First hit: the first probe whose subnetwork is as good on its sub-dataset as the best one "
        f"of {sizes[-1]:,} images is there. Plateau: within a point of its own best. Winning ticket: "
        "as good as the dense network at the end. Means over seeds, in steps.",
        f"First hits do not fall with the size: {'holds' if rising else 'does not hold'} "
        f"({', '.join(f'{step:.0f}' for step in steps)}; one probe's distance is allowed).",
        f"Each doubling adds less at the end than at the beginning: "
        f"{'holds' if flat else 'does not hold'} ({rates[0]:.0f} and {rates[-1]:.0f} steps).",
        f"Fits of the first hits: {growth.logarithm[0]:.0f} + {growth.logarithm[1]:.0f} log(m), error "
        f"{growth.logarithm_error:.0f}; {growth.power[0]:.3g} m^{growth.power[1]:.2f}, error "
        f"{growth.power_error:.0f}. The theorem's threshold, of unknown scale, has m^2.",
    ]
    blocks = [Table("Steps", header, rows), Table("Claims", ("claim", *CLAIM_HEADER), checks)]
    marks = {f"first hit, {int(size):,} images": step for size, step in means.items()}
    picture = pretraining_curve(curves, marks=marks, label="loss", logarithmic=True)
    title = "How much pre-training is enough: two layers on MNIST"
    return Document(title, [*blocks, notes(lines)], picture, "pruned loss by steps of pre-training")


def main() -> None:
    script = Script(__doc__, HERE / "results", samples=[1000, 4000, 16000], seeds=3)
    args = script.parser.parse_args()
    variants = {str(size): Variant({**SETTINGS, "samples": size}) for size in args.samples}

    def measure() -> dict:
        study = Study(variants, range(args.seeds), run)
        made = study.make(HERE / "build" / "pretraining", args.processes)
        return {"settings": SETTINGS, "results": made}

    script.write(args, "pretraining", measure, describe)


if __name__ == "__main__":
    main()
