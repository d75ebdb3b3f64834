"""How much pre-training is enough: pruned copies of a network in training, by the data's size.

    python benchmarks/pretraining.py

A two-layer network learns whether a digit of MNIST is below 5, from sub-datasets of three sizes.
Every so many steps greedy forward selection makes a subnetwork of a copy, which is not trained any
further (Wolfe 2023, 3.6.2), by all samples or batches of 2,048. Its accuracy is that on its data.
"""

from pathlib import Path

import keras
import numpy as np

import keras_sparse as ks
from keras_sparse.analysis.bounds.fits import fit_contraction, fit_growth
from keras_sparse.experiments.claims import CLAIM_HEADER, Claim, checked
from keras_sparse.experiments.document import Document, Script, Table, notes
from keras_sparse.experiments.study import Study, Variant
from keras_sparse.plots import pretraining_curve
from keras_sparse.structured import pretraining_report

HERE = Path(__file__).parent
SETTINGS = {"units": 1000, "picks": 50, "steps": 1000, "every": 25, "batch": 128, "rate": 0.01}


def pruned(model: keras.Model, data: tuple, size: int) -> keras.Model:
    batch = min(2048, len(data[0]))
    found = ks.structured.greedy_forward_selection(model, data, size, batch_size=batch)
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
    every = f"{config['every']}st"
    probe = ks.PretrainingProbe((x, y), config["picks"], every=every, pruner=pruned)
    rows = np.random.default_rng(config["seed"])
    drawn = rows.integers(0, len(x), (config["steps"], config["batch"])).ravel()
    model.fit(
        x[drawn], y[drawn], batch_size=config["batch"], verbose=0, shuffle=False, callbacks=[probe]
    )
    return {"history": [list(each) for each in probe.history]}


def describe(content: dict) -> Document:
    settings, found = content["settings"], content["results"]
    history = {
        int(size): np.array([one["history"] for one in runs]) for size, runs in found.items()
    }
    largest = max(history)
    best = {size: h[..., 4].max(axis=1) for size, h in history.items()}
    target = history[largest].mean(axis=0)[:, 4].max()
    rows, curves, hits = [], {}, {}
    for size, made in history.items():
        at, dense_loss, pruned_loss, dense, accuracy = made.mean(axis=0).T
        report = pretraining_report(at, accuracy, dense, target=target)
        fit = fit_contraction(at, dense_loss)
        shown = [f"{value:.2%}" for value in (accuracy[0], accuracy.max(), dense[-1])]
        steps = (report.first_hit, report.plateau, report.winning_ticket)
        shown += ["never" if step is None else f"{step:.0f}" for step in steps]
        rows.append((f"{size:,}", *shown, fit.reason or f"{fit.threshold(settings['picks']):.0f}"))
        curves |= {f"{size:,} images, pruned": (at, pruned_loss)}
        curves |= {f"{size:,} images, dense": (at, dense_loss)}
        hits[size] = np.nan if report.first_hit is None else report.first_hit
    header = ("images", "pruned at step 0", "best pruned", "dense at the end", "first hit")
    header += ("plateau", "winning ticket", "log k / -log rho")
    claims = [Claim("best pruned", "pruned at step 0", 3.0, size) for size in history]
    cells = checked(
        claims, lambda name, size: best[size] if name[0] == "b" else history[size][:, 0, 4]
    )
    told = [(f"{c.better} over {c.worse}, {c.at:,} images", *row) for c, row in cells]
    needed, rates = list(hits.values()), np.diff(list(hits.values())) / np.diff(np.log2([*hits]))
    growth = fit_growth([*hits], needed)
    verdict = {True: "holds", False: "does not hold"}
    lines = [
        "First hit: the first probe as good on its sub-dataset as the best subnetwork of "
        f"{largest:,} images on its own. Plateau: within a point of its own best. Winning ticket: "
        "as good as the dense network at the end. All of accuracies that are means over seeds; in "
        "steps. The last column is the theorem's threshold with the rate at which the dense loss "
        "fell, as far as it fell exponentially.",
        f"First hits do not fall with the size, but for the distance of a probe: "
        f"{verdict[bool((np.diff(needed) >= -settings['every']).all())]}.",
        f"The last doubling adds less ({rates[-1]:.0f} steps) than the first ({rates[0]:.0f}): "
        f"{verdict[bool(rates[-1] < rates[0])]}.",
        "{:.0f} + {:.0f} log(m) has an error of {:.0f} steps, {:.3g} m^{:.2f} one of {:.0f}. The "
        "theorem's has m^2.".format(
            *growth.logarithm, growth.logarithm_error, *growth.power, growth.power_error
        ),
    ]
    blocks = [Table("Steps", header, rows), Table("Claims", ("claim", *CLAIM_HEADER), told)]
    marks = {f"first hit, {size:,} images": step for size, step in hits.items()}
    picture = pretraining_curve(curves, marks=marks, label="loss", logarithmic=True)
    title = "How much pre-training is enough: two layers on MNIST"
    return Document(title, [*blocks, notes(lines)], picture, "loss by steps of pre-training")


def main() -> None:
    script = Script(__doc__, HERE / "results", samples=[500, 2000, 8000], seeds=3)
    args = script.parser.parse_args()
    variants = {str(size): Variant({**SETTINGS, "samples": size}) for size in args.samples}

    def measure() -> dict:
        study = Study(variants, range(args.seeds), run)
        made = study.make(HERE / "build" / "pretraining", args.processes)
        return {"settings": SETTINGS, "results": made}

    script.write(args, "pretraining", measure, describe)


if __name__ == "__main__":
    main()
