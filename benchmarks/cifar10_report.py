"""Tables and the picture of `cifar10_resnet20.py`."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import writing

import keras_sparse as ks
from keras_sparse import models

LABELS = {
    "dense": "dense",
    "acdc": "AC/DC",
    "gmp": "GMP",
    "gmp_uniform": "GMP, same in each layer",
    "tfmot": "tfmot",
    "one_shot": "one-shot, then fine-tuning",
    "random": "static random mask",
    "rigl": "RigL, ERK layers",
    "top_kast": "Top-KAST (all layers ranked together)",
    "dpf": "DPF",
    "str": "STR",
    "snip": "SNIP",
    "woodfisher": "WoodFisher, no fine-tuning",
}
PALETTE = ("black", "C0", "C1", "C5", "C2", "C4", "C3", "C6", "C7", "C8", "C9", "navy", "olive")
COLORS = dict(zip(LABELS, PALETTE, strict=True))
HEADER = (
    "method",
    "test accuracy",
    "sparsity",
    "inference FLOPs",
    "training FLOPs",
    "first layer",
    "last layer",
    "CPU s",
)


def result_path(method: str, folder: Path) -> Path:
    """Where a finished run leaves its outcome."""
    return folder / method / "result.json"


def write(methods: Sequence[str], plan: dict, folder: Path, out: Path) -> None:
    """Writes what is finished as JSON, Markdown and PNG, and prints the table.

    Args:
        methods: Methods whose runs are finished.
        plan: What the runs have in common.
        folder: Where their outcomes lie.
        out: Path of the results, without suffix.
    """
    results = {
        method: json.loads(result_path(method, folder).read_text())
        for method in LABELS
        if method in methods
    }
    if "tfmot" in results:
        results["tfmot"] |= _accounts(results["tfmot"], plan, folder / "tfmot" / "nonzeros.jsonl")
    rows = [_row(LABELS[method], result) for method, result in results.items()]
    writing.write_json(
        out.with_suffix(".json"),
        {
            "command": writing.command(),
            "machine": writing.machine(),
            "versions": writing.versions(**results.get("tfmot", {}).pop("versions", {})),
            "config": plan,
            "notes": _notes(plan, results),
            "results": results,
        },
    )
    out.with_suffix(".md").write_text(_markdown(rows, plan, results, out.name))
    _picture(results, plan, out.with_suffix(".png"))
    writing.print_table(_title(plan), HEADER, rows)


def _accounts(result: dict, plan: dict, log: Path) -> dict:
    """Sparsity and FLOPs of tfmot's run, counted as `keras_sparse` counts its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = ks.report(models.resnet20(width=plan["width"]))
    kernels = {row.path: row for row in report.rows if row.reason is None}
    sizes = {path: row.nonzeros for path, row in kernels.items()}
    if sizes.keys() != result["nonzeros"].keys():
        raise ValueError(f"tfmot pruned {sorted(result['nonzeros'])}, not {sorted(sizes)}.")
    total = sum(row.dense_flops for row in kernels.values())

    def ratio(nonzeros: dict[str, int]) -> float:
        flops = sum(kernels[p].dense_flops * n / sizes[p] for p, n in nonzeros.items())
        return flops / total

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    epochs = {line["epoch"]: ratio(line["nonzeros"]) for line in lines}
    # Its gradients are dense: two passes on the nonzero weights and one on all of them.
    training = sum(2 * left + 1 for left in epochs.values()) / (3 * len(epochs))
    return {
        "sparsity": 1 - sum(result["nonzeros"].values()) / sum(sizes.values()),
        "layer_sparsity": {path: 1 - n / sizes[path] for path, n in result["nonzeros"].items()},
        "inference_flops_ratio": ratio(result["nonzeros"]),
        "train_flops_ratio": training,
    }


def _row(label: str, result: dict) -> tuple[str, ...]:
    layers = result["layer_sparsity"]
    return (
        label,
        f"{result['test_accuracy']:.2%}",
        f"{result['sparsity']:.2%}",
        f"{result['inference_flops_ratio']:.1%}",
        f"{result['train_flops_ratio']:.1%}",
        f"{layers['stem/kernel']:.1%}",
        f"{layers['logits/kernel']:.1%}",
        f"{result['cpu_seconds']:.0f}",
    )


def _title(plan: dict) -> str:
    return (
        "CIFAR-10, ResNet-20 of width {width}, {images:,} training images, "
        "{epochs} epochs, {sparsity:.0%} sparsity"
    ).format(**plan)


def _accuracy(results: dict, method: str) -> float:
    return results[method]["test_accuracy"]


def _notes(plan: dict, results: dict) -> list[str]:
    notes = [
        "One seed. Test accuracy is that of the last epoch on all 10,000 test images; its "
        "standard error from the test set alone is about half a point.",
        "Sparsity is counted over the same kernels for all: every convolution and the classifier, "
        "first and last layer included. FLOPs are relative to the dense model and its training.",
        "All share initial weights, batches, augmentation, learning rates and weight decay. "
        "keras_sparse ranks all weights together unless it says otherwise; tfmot "
        "(prune_low_magnitude with PolynomialDecay, at GMP's steps) knows only the same sparsity "
        "in each layer, the first and the last included.",
        "CPU seconds are those of training and of the tests after each epoch, compilation "
        "included, one thread a run.",
    ]
    if plan["images"] < 50000 or plan["epochs"] < 100:
        notes.append(
            "The run is short (steps in all: {steps}) to fit a small machine; accuracies are far "
            "from converged. Without options the script trains the full recipe: width 16, 50,000 "
            "images, 100 epochs.".format(**plan)
        )
    if {"dense", "random"} <= results.keys() and _accuracy(results, "random") > _accuracy(
        results, "dense"
    ):
        notes.append(
            "The static random mask did better than dense training, so what is compared here is "
            "how fast a network learns in its first steps, not what pruning costs one that has "
            "learnt: do not rank the methods by this table."
        )
    if "str" in results:
        notes.append("STR's sparsity follows from the weight decay of its thresholds.")
    if "woodfisher" in results:
        notes.append(
            "WoodFisher prunes the dense model at once with 1,000 training images, on which batch "
            "normalization is tuned afterwards; its CPU seconds come after those of the dense run."
        )
    return notes


def _markdown(rows: Sequence[Sequence[str]], plan: dict, results: dict, name: str) -> str:
    return "\n".join(
        (
            f"# {_title(plan)}",
            "",
            f"`{writing.command()}` on {writing.machine()}.",
            "",
            writing.markdown_table(HEADER, rows),
            "",
            *(f"- {note}" for note in _notes(plan, results)),
            "",
            f"![accuracy and sparsity by epoch]({name}.png)",
            "",
        )
    )


def _picture(results: dict, plan: dict, path: Path) -> None:
    figure, axes = plt.subplot_mosaic(
        [["accuracy", "final"], ["sparsity", "final"]],
        figsize=(12, 6),
        height_ratios=(3, 1.3),
        width_ratios=(1.5, 1),
        layout="constrained",
    )
    figure.suptitle(_title(plan))
    for method, result in results.items():
        epochs = [row["epoch"] + 1 for row in result["history"]]
        style = {"label": LABELS[method], "color": COLORS[method], "marker": ".", "lw": 1.8}
        if not epochs:
            continue
        axes["accuracy"].plot(epochs, [r["val_accuracy"] for r in result["history"]], **style)
        zeros = [row.get("sparsity", 0.0) for row in result["history"]]
        axes["sparsity"].plot(epochs, zeros, **style)
    axes["accuracy"].set_ylabel(f"accuracy on {plan['monitored']:,} test images")
    axes["accuracy"].legend(fontsize="small", ncols=2, loc="lower right")
    axes["sparsity"].set(xlabel="epoch", ylabel="sparsity", ylim=(-0.05, 1))
    for name in ("accuracy", "sparsity"):
        axes[name].grid(alpha=0.3)
    _bars(axes["final"], results)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _bars(axes: plt.Axes, results: dict) -> None:
    order = sorted(results, key=lambda method: results[method]["test_accuracy"])
    values = [100 * results[method]["test_accuracy"] for method in order]
    bars = axes.barh(
        [LABELS[method] for method in order], values, color=[COLORS[m] for m in order], alpha=0.85
    )
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.set(xlabel="test accuracy after the last epoch (%)", xlim=(0, 1.12 * max(values)))
