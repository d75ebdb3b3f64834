"""One dense model for many compressions: SGD, SAM, CrAM, CrAM+-Multi, C-SAM and Top-K+.

    python benchmarks/cram.py --data mnist
    python benchmarks/cram.py --data cifar10

Each model is trained once and compressed in one shot to several sparsities, to 2:4 and to few bits;
accuracy is measured right after that and after batch-norm tuning on 1,000 training images. SGD also
trains for twice the epochs, with as many gradients as the others take. MNIST is LeNet-5 (8 and 16
filters, 120 and 84 units, with batch normalization), CIFAR-10 is ResNet-20. Each run is a process
of its own. What is finished is not run again and what was interrupted goes on from its last epoch,
so the command may be repeated.
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np
from networks import compiled, lenet5

import keras_sparse as ks
from keras_sparse.experiments.backup import resumable_fit
from keras_sparse.experiments.claims import CLAIM_HEADER, Claim, checked
from keras_sparse.experiments.document import Document, Script, Table
from keras_sparse.experiments.pictures import lines
from keras_sparse.experiments.study import Study, Variant

HERE = Path(__file__).parent
SETTINGS = {
    "mnist": {
        **{"images": 10000, "epochs": 10, "batch": 128, "learning_rate": 0.05, "seeds": 3},
        **{"levels": (0.5, 0.7, 0.9), "rho": 0.1, "sam_rho": 0.05},
    },
    "cifar10": {
        **{"images": 20000, "epochs": 20, "batch": 128, "learning_rate": 0.1, "seeds": 1},
        **{"levels": (0.5, 0.7, 0.8, 0.9, 0.95), "rho": 0.15, "sam_rho": 0.1},
    },
}
LONGER = "SGD, twice the epochs"
METHODS = {
    "SGD": lambda c: [],
    LONGER: lambda c: [],
    "SAM": lambda c: [ks.SAM(c["sam_rho"])],
    "CrAM-k70": lambda c: [ks.CrAM(0.7, c["rho"], plus=False)],
    "CrAM+-Multi": lambda c: [
        ks.CrAM(c["levels"], c["rho"], sparse_gradients=True, seed=c["seed"])
    ],
    "C-SAM-Multi": lambda c: [ks.CSAM(c["levels"], c["sam_rho"], seed=c["seed"])],
    "Top-K+-Multi": lambda c: [ks.TopKPlus(c["levels"], seed=c["seed"])],
}
SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95)
BITS = ("8bit", "4bit")
CALIBRATION = 1000
# What a small network can show of the source's tables (Peste 2023, chapter 5).
CLAIMS = (
    *(
        Claim("CrAM+-Multi", worse, margin, label)
        for worse in ("SGD", LONGER)
        for label, margin in (("dense", -0.5), ("90%", 4.0), ("95%", 20.0))
    ),
    Claim("CrAM+-Multi", "SAM", 15.0, "95%"),
)


def run(config: dict, folder: Path) -> dict[str, Any]:
    """Trains one method from one seed, and compresses what it has trained."""
    seed, on_mnist = config["seed"], config["data"] == "mnist"
    dataset = ks.data.load(config["data"], limit=config["images"], seed=0)
    epochs = config["epochs"] * (2 if config["method"] == LONGER else 1)
    steps, peak = epochs * -(-config["images"] // config["batch"]), config["learning_rate"]
    model = lenet5(seed) if on_mnist else ks.models.resnet20(width=config["width"], seed=seed)
    rate = keras.optimizers.schedules.CosineDecay(
        peak / 10, max(steps - steps // 10, 1), warmup_target=peak, warmup_steps=steps // 10
    )
    compiled(model, rate, weight_decay=5e-4)
    rows = resumable_fit(
        model,
        dataset.train,
        folder / "backup",
        epochs=epochs,
        batch_size=config["batch"],
        seed=seed,
        augment=not on_mnist,
        callbacks=METHODS[config["method"]](config),
    )
    tested = tuple(side[: config["tested"]] for side in dataset.test)
    calibration = dataset.x_train[:CALIBRATION]
    common = {"calibration": calibration, "evaluate_untuned": True, "verbose": False}
    ranked = ks.one_shot_sweep(model, tested, sparsities=SPARSITIES, operators=BITS, **common)
    first = next(layer for layer in model.layers if layer.trainable_weights)
    pattern = ks.one_shot_sweep(
        model, tested, sparsities=(), operators=["2:4"], exclude=first, **common
    )
    swept = [*ranked.rows[: 1 + len(SPARSITIES)], pattern.rows[1], *ranked.rows[-len(BITS) :]]
    return {
        "method": config["method"],
        "seed": seed,
        "cpu_seconds": sum(row["cpu_seconds"] for row in rows),
        "rows": [{"label": r.label, "before": r.before, "after": r.after} for r in swept],
    }


def describe(content: dict) -> Document:
    config, results = content["config"], content["results"]
    methods = list(dict.fromkeys(result["method"] for result in results))
    labels = [row["label"] for row in results[0]["rows"]]

    def measured(method: str, label: str, when: str = "after") -> list[float]:
        rows = [row for r in results if r["method"] == method for row in r["rows"]]
        # The dense model is not tuned.
        return [
            row["before"] if row[when] is None else row[when]
            for row in rows
            if row["label"] == label
        ]

    def cell(method: str, label: str) -> str:
        before, after = (100 * np.array(measured(method, label, w)) for w in ("before", "after"))
        if label == "dense":
            return f"{before.mean():.2f}"
        spread = f" ± {after.std(ddof=1):.2f}" if after.size > 1 else ""
        return f"{before.mean():.1f} -> {after.mean():.2f}{spread}"

    def cpu(method: str) -> str:
        return f"{np.mean([r['cpu_seconds'] for r in results if r['method'] == method]):.0f}"

    model = "LeNet-5" if config["data"] == "mnist" else f"ResNet-20 of width {config['width']}"
    title = f"{model} on {config['data']}, compressed in one shot"
    rows = [(m, *(cell(m, label) for label in labels), cpu(m)) for m in methods]
    about = f"""\
Test accuracy in percent on {config["tested"]:,} images, right after compression -> after
batch-norm tuning on {config["calibration"]:,} training images; means over {config["seeds"]} seed(s)
with the standard deviation after tuning where there are several. {config["images"]:,} training
images, {config["epochs"]} epochs of two gradients a step; SGD takes one, and is also given
{2 * config["epochs"]} epochs. CrAM's rho is {config["rho"]}, that of SAM and C-SAM
{config["sam_rho"]}; "Multi" draws from
{", ".join(f"{100 * level:g} %" for level in config["levels"])}; CrAM+-Multi masks gradients.
Sparsities rank all layers together; 2:4 leaves the first layer dense; bits round weights only. CPU
seconds are those of the training, without what an interrupted run had done before."""
    claims = [(claim.worse, claim.at, *cells) for claim, cells in checked(CLAIMS, measured)]
    over = "CrAM+-Multi over others, after tuning"
    panels = {
        f"test accuracy {name}": {
            m: [float(np.mean(measured(m, label, when))) for label in labels] for m in methods
        }
        for when, name in (("before", "right after"), ("after", "after batch-norm tuning"))
    }
    blocks = [Table(title, ("method", *labels, "CPU s"), rows), about, f"## {over}"]
    blocks.append(Table(over, ("over", "compression", *CLAIM_HEADER), claims))
    picture = lines(panels, "compression", labels, title)
    return Document(title, blocks, picture, "accuracy by compression")


def main() -> None:
    script = Script(
        __doc__,
        HERE / "results",
        {"data": tuple(SETTINGS), "methods": tuple(METHODS)},
        data="mnist",
        images=int,
        epochs=int,
        seeds=int,
        width=8,
        tested=10000,
        methods=tuple(METHODS),
    )
    args = script.parser.parse_args()
    given = {name: getattr(args, name) for name in ("images", "epochs", "seeds")}
    setting = SETTINGS[args.data] | {k: v for k, v in given.items() if v is not None}
    config = {"data": args.data, "calibration": CALIBRATION, **setting, "tested": args.tested}
    if args.data == "cifar10":
        config["width"] = args.width
    variants = {method: Variant({**config, "method": method}) for method in args.methods}

    def measure() -> dict:
        study = Study(variants, range(config["seeds"]), run)
        found = study.make(HERE / "build" / "cram", args.processes)
        return {"config": config, "results": [run for runs in found.values() for run in runs]}

    script.write(args, f"cram_{args.data}", measure, describe)


if __name__ == "__main__":
    main()
