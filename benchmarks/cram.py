"""One dense model for many compressions: SGD, SAM, CrAM, CrAM+-Multi, C-SAM and Top-K+.

    python benchmarks/cram.py --data mnist
    python benchmarks/cram.py --data cifar10

Each model is trained once and compressed in one shot to several sparsities, to 2:4 and to few bits.
SGD also trains for twice the epochs, with as many gradients as the others take. MNIST is LeNet-5 (8
and 16 filters, 120 and 84 units, with batch normalization), CIFAR-10 is ResNet-20. What was
interrupted goes on from its last epoch.
"""

from pathlib import Path
from typing import Any

from networks import lenet5

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench
from keras_sparse.experiments.benchmark import Claim

COMMON = {"batch": 128, "calibration": 1000, "tested": 10000}
SETTINGS = {
    "mnist": {
        **{**COMMON, "images": 10000, "epochs": 10, "learning_rate": 0.05, "seeds": 3},
        **{"levels": (0.5, 0.7, 0.9), "rho": 0.1, "sam_rho": 0.05},
    },
    "cifar10": {
        **{**COMMON, "images": 20000, "epochs": 20, "learning_rate": 0.1, "seeds": 1, "width": 8},
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
# What a small network can show of the source's tables (Peste 2023, chapter 5).
CLAIMS = (
    *(
        Claim("CrAM+-Multi", worse, margin, label)
        for worse in ("SGD", LONGER)
        for label, margin in (("dense", -0.5), ("90%", 4.0), ("95%", 20.0))
    ),
    Claim("CrAM+-Multi", "SAM", 15.0, "95%"),
)
ABOUT = """\
Test accuracy in percent on {tested:,} images, right after compression -> after
batch-norm tuning on {calibration:,} training images; means over {seeds} seed(s)
with the standard deviation after tuning where there are several. {images:,} training
images, {epochs} epochs of two gradients a step; SGD takes one, and is also given
{longer} epochs. CrAM's rho is {rho}, that of SAM and C-SAM
{sam_rho}; "Multi" draws from
{drawn}; CrAM+-Multi masks gradients.
Sparsities rank all layers together; 2:4 leaves the first layer dense; bits round weights only. CPU
seconds are those of the training, without what an interrupted run had done before."""


def run(config: dict, folder: Path) -> dict[str, Any]:
    """Trains one method from one seed, and compresses what it has trained."""
    seed, on_mnist = config["seed"], config["data"] == "mnist"
    dataset = ks.data.load(config["data"], limit=config["images"], seed=0)
    epochs = config["epochs"] * (2 if config["method"] == LONGER else 1)
    steps = epochs * -(-config["images"] // config["batch"])
    model = lenet5(seed) if on_mnist else ks.models.resnet20(width=config["width"], seed=seed)
    rate = bench.warm_cosine(config["learning_rate"], steps, warmup=steps // 10)
    bench.compiled(model, rate, weight_decay=5e-4)
    fit = {"epochs": epochs, "batch_size": config["batch"], "seed": seed, "augment": not on_mnist}
    fit["callbacks"] = METHODS[config["method"]](config)
    spent = bench.trained(model, dataset, folder, **fit)["cpu_seconds"]
    sweep = {"calibration": dataset.x_train[: config["calibration"]], "evaluate_untuned": True}
    sweep |= {"data": dataset.test, "verbose": False}
    ranked = ks.one_shot_sweep(model, sparsities=SPARSITIES, operators=["8bit", "4bit"], **sweep)
    first = next(layer for layer in model.layers if layer.trainable_weights)
    two = ks.one_shot_sweep(model, sparsities=(), operators=["2:4"], exclude=first, **sweep)
    rows = [*ranked.rows[:-2], two.rows[1], *ranked.rows[-2:]]
    told = [{"label": row.label, "before": row.before, "after": row.after} for row in rows]
    return {"method": config["method"], "seed": seed, "cpu_seconds": spent, "rows": told}


def measured(runs: list[dict], label: str, when: str = "after") -> list[float]:
    """Accuracies of one compression before or after tuning; the dense model is not tuned."""
    rows = [row for run in runs for row in run["rows"] if row["label"] == label]
    return [row["before"] if row[when] is None else row[when] for row in rows]


def column(label: str) -> bench.Cell:
    """Accuracy in percent right after a compression, and after tuning."""

    def told(runs: list[dict]) -> str:
        before = 100 * bench.mean(measured(runs, label, "before"))
        after = bench.percent(measured(runs, label))
        return f"{before:.2f}" if label == "dense" else f"{before:.1f} -> {after}"

    return told


def describe(content: dict) -> bench.Document:
    config, runs = content["config"], {}
    for run in content["results"]:
        runs.setdefault(run["method"], []).append(run)
    labels = [row["label"] for row in content["results"][0]["rows"]]
    model = "LeNet-5" if config["data"] == "mnist" else f"ResNet-20 of width {config['width']}"
    title = f"{model} on {config['data']}, compressed in one shot"
    columns = {label: column(label) for label in labels}
    columns["CPU s"] = bench.cell("cpu_seconds", ".0f")
    drawn = ", ".join(f"{100 * level:g} %" for level in config["levels"])
    over = "CrAM+-Multi over others, after tuning"
    first = {"over": lambda claim: claim.worse, "compression": lambda claim: claim.at}
    panels = {
        f"test accuracy {name}": {
            method: [bench.mean(measured(runs[method], label, when)) for label in labels]
            for method in runs
        }
        for when, name in (("before", "right after"), ("after", "after batch-norm tuning"))
    }
    blocks = [
        bench.by_variant(title, "method", columns, runs),
        ABOUT.format(**config, longer=2 * config["epochs"], drawn=drawn),
        f"## {over}",
        bench.claims_table(over, first, CLAIMS, lambda m, label: measured(runs.get(m, []), label)),
    ]
    picture = bench.lines(panels, "compression", labels, title)
    return bench.Document(title, blocks, picture, "accuracy by compression")


if __name__ == "__main__":
    options = {"data": "mnist", "images": int, "epochs": int, "seeds": int, "methods": METHODS}
    script = bench.Script(__doc__, choices={"data": SETTINGS}, **options)
    data = script.args.data
    config = {"data": data, **script.chosen(SETTINGS[data])}
    variants = {m: bench.Variant({**config, "method": m}) for m in script.args.methods}

    def kept(found: bench.Results) -> dict:
        return {"results": [run for runs in found.values() for run in runs]}

    study = bench.Study(variants, range(config["seeds"]), run)
    script.study(study, describe, config, kept, name=f"cram_{data}")
