"""Table and picture of `gap.py`."""

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import writing
from gap_run import TIMED, VARIANTS, lengths
from matplotlib.ticker import PercentFormatter

from keras_sparse.experiments.study import mean_and_spread
from keras_sparse.plots.drawing import BLUE, GREY, RED, new_figure, written

HEADER = (
    "method",
    "accuracy",
    "spread",
    "sparsity",
    "FLOPs",
    "peak density",
    "epochs",
    "node epochs",
    "traffic",
    "CPU s",
)
CLAIM_HEADER = ("claim", *writing.CLAIM_HEADER)
COLORS = {"cyclic": BLUE, "parallel": RED}


class Claim(NamedTuple):
    """That one variant is better than another by some points of accuracy, in the mean over seeds.

    Args:
        better: the one.
        worse: the other.
        margin: points by which it is better; negative if it may be that much worse.
    """

    better: str
    worse: str
    margin: float


# What a small network can show of Ma et al. (2022).
CLAIMS = (
    Claim("cyclic4", "static", 8.0),
    Claim("cyclic4", "oneshot", 1.5),
    Claim("global4", "cyclic4", -0.5),
    Claim("cyclic4", "parallel4", 0.0),
    Claim("parallel4_8", "parallel4", 4.0),
)


def result_path(name: str, seed: int, folder: Path) -> Path:
    """Where a finished run leaves its outcome."""
    return folder / f"{name}-seed{seed}" / "result.json"


def read(names: Sequence[str], seeds: int, folder: Path) -> dict[str, list[dict]]:
    """The results of what is finished, by variant."""
    found: dict[str, list[dict]] = {}
    for name in names:
        paths = [result_path(name, seed, folder) for seed in range(seeds)]
        results = [json.loads(path.read_text()) for path in paths if path.exists()]
        if results:
            found[name] = results
    return found


def timing(plan: dict, folder: Path, repeats: int) -> dict | None:
    """How long two workers took for what one does, in the median of several pairs."""
    results = read(list(TIMED), repeats, folder)
    if len(results) < len(TIMED):
        return None
    one = next(iter(TIMED.values()))
    timed: dict = {"images": plan["images"], "rounds": one.rounds, **lengths(one, plan)}
    for kind, key in (("wall", "fit_seconds"), ("cpu", "longest_cpu_seconds")):
        cyclic, parallel = ([run[key] for run in results[name]] for name in TIMED)
        ratios = [p / c for p, c in zip(parallel, cyclic, strict=False)]
        timed |= {f"cyclic_{kind}_seconds": cyclic, f"parallel_{kind}_seconds": parallel}
        timed |= {f"{kind}_ratios": ratios, f"median_{kind}_ratio": statistics.median(ratios)}
    return timed


def write(
    names: Sequence[str], seeds: int, plan: dict, folder: Path, timed: dict | None, stem: Path
) -> None:
    """Writes what is finished as JSON, Markdown and PNG of this name, and prints the table."""
    results = read(names, seeds, folder)
    if not results:
        return
    title = _title(plan)
    rows = [_row(VARIANTS[name].label, runs) for name, runs in results.items()]
    claims = [line for claim in CLAIMS for line in _claim(claim, results)]
    notes = _notes(plan, seeds, timed)
    content = {
        "command": writing.command(),
        "machine": writing.machine(),
        "versions": writing.versions(),
        "config": plan,
        "notes": notes,
        "timing": timed,
        "results": results,
    }
    writing.write_json(stem.with_suffix(".json"), content)
    lines = [f"# {title}", "", f"`{writing.command()}` on {writing.machine()}.", ""]
    lines += [writing.markdown_table(HEADER, rows), "", *(f"- {note}" for note in notes), ""]
    lines += ["## One over another", "", writing.markdown_table(CLAIM_HEADER, claims), ""]
    lines += [f"![accuracy of each method]({stem.name}.png)", ""]
    stem.with_suffix(".md").write_text("\n".join(lines))
    _picture(results, title, stem.with_suffix(".png"))
    writing.print_table(title, HEADER, rows)
    writing.print_table("One over another", CLAIM_HEADER, claims)


def _row(label: str, runs: list[dict]) -> tuple[str, ...]:
    def mean(key: str) -> float:
        return mean_and_spread([run[key] for run in runs])[0]

    accuracy, spread = mean_and_spread([run["test_accuracy"] for run in runs])
    peak, traffic = mean("peak_density"), mean("traffic")
    return (
        label,
        f"{accuracy:.2%}",
        "" if math.isnan(spread) else f"{100 * spread:.2f}",
        f"{mean('sparsity'):.2%}",
        f"{mean('inference_flops_ratio'):.1%}",
        "" if math.isnan(peak) else f"{peak:.1%}",
        f"{runs[0]['epochs']}",
        f"{mean('node_epochs'):.0f}",
        f"{traffic:,.0f}" if traffic else "",
        f"{mean('cpu_seconds'):.0f}",
    )


def _claim(claim: Claim, results: dict[str, list[dict]]) -> list[tuple[str, ...]]:
    """A line of the table, none if a variant was not run from the same seeds."""
    better, worse = (
        100 * np.array([run["test_accuracy"] for run in results.get(name, ())])
        for name in (claim.better, claim.worse)
    )
    if not len(better) or len(better) != len(worse):
        return []
    labels = f"{VARIANTS[claim.better].label} over {VARIANTS[claim.worse].label}"
    return [(labels, *writing.claim_cells(claim.margin, better - worse))]


def _title(plan: dict) -> str:
    width = plan["width"]
    small = f"Five convolutions of width {width} and {2 * width}"
    network = f"ResNet-20 of width {width}" if plan["data"] == "cifar10" else small
    return (
        f"{network} on {plan['data']}, {plan['images']:,} training "
        f"images, {plan['epochs']} epochs, {plan['sparsity']:.0%} sparsity"
    )


def _notes(plan: dict, seeds: int, timed: dict | None) -> list[str]:
    notes = [
        f"{seeds} seed{'s' if seeds > 1 else ''}; accuracy of the last epoch on all test images, "
        "mean, and sample standard deviation in points. First and last layer stay dense.",
        "Each layer has the same sparsity, unless it is one ranking of all weights. All see as "
        "many images; epochs are those of a worker, node epochs those of all workers together.",
        "FLOPs are those of an inference, relative to the dense model. Peak density is the "
        "largest fraction of prunable weights that were not pruned at once, on one machine. "
        "Traffic are the bytes that all workers received in the rounds.",
        "CPU seconds are those of `fit` on all workers, compilation included, one thread each.",
    ]
    return notes + ([timing_note(timed)] if timed else [])


def timing_note(timed: dict) -> str:
    """What `timing` found, in words."""
    keys = ("parallel_wall_seconds", "cyclic_wall_seconds")
    seconds = " and ".join(f"{statistics.median(timed[key]):.1f} s" for key in keys)
    return (
        "Two workers of one thread and core each against one, as many epochs for each partition "
        f"({timed['images']:,} images, {timed['rounds']} rounds of {timed['epochs_per_step']} "
        f"epochs, fine-tuning in {timed['finetune_epochs']}): "
        f"{seconds}, {timed['median_wall_ratio']:.2f} times as long, and "
        f"{timed['median_cpu_ratio']:.2f} times the CPU seconds in the worker that has most "
        f"(medians of {len(timed['wall_ratios'])} pairs of runs, compilation included)."
    )


def _picture(results: dict[str, list[dict]], title: str, path: Path) -> None:
    names = list(results)[::-1]
    figure, axes = new_figure(8, 1.2 + 0.34 * len(names))
    for at, name in enumerate(names):
        values = [run["test_accuracy"] for run in results[name]]
        color = COLORS.get(VARIANTS[name].kind, GREY)
        axes.plot(values, [at] * len(values), "o", color=color, alpha=0.5, markersize=5)
        axes.plot([statistics.mean(values)], [at], "|", color=color, markersize=16, mew=2.5)
    axes.set_yticks(range(len(names)), [VARIANTS[name].label for name in names])
    axes.set(xlabel="test accuracy: each run, and the mean")
    axes.set_title(title, fontsize="small")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(axis="x", alpha=0.3)
    written(figure, path)
