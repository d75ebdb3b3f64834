"""Table, picture and files of `cram.py`."""

from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import writing

Rows = dict[str, dict[str, dict[str, list[float]]]]
CLAIMS_HEADER = ("over", "compression", *writing.CLAIM_HEADER)


class Claim(NamedTuple):
    """That CrAM+-Multi is better than a method by some points, after batch-norm tuning.

    Args:
        worse: the method.
        label: the compression.
        margin: points by which CrAM+-Multi is better; negative if it may be that much worse.
    """

    worse: str
    label: str
    margin: float


# What a small network can show of the source's tables (Peste 2023, chapter 5).
CLAIMS = (
    Claim("SGD", "dense", -0.5),
    Claim("SGD", "90%", 4.0),
    Claim("SGD", "95%", 20.0),
    Claim("SGD, twice the epochs", "dense", -0.5),
    Claim("SGD, twice the epochs", "90%", 4.0),
    Claim("SGD, twice the epochs", "95%", 20.0),
    Claim("SAM", "95%", 15.0),
)


def write(results: list[dict[str, Any]], config: dict[str, Any], out: Path) -> None:
    """Writes JSON, Markdown and PNG, and prints the table.

    Args:
        results: what each run left: its method, seed, CPU seconds and rows.
        config: the setting of them all.
        out: the folder.
    """
    name = f"cram_{config['data']}"
    grouped: Rows = {}
    for result in results:
        rows = grouped.setdefault(result["method"], {})
        for row in result["rows"]:
            measured = rows.setdefault(row["label"], {"before": [], "after": []})
            for key, values in measured.items():
                if row[key] is not None:
                    values.append(row[key])
    content = {
        "command": writing.command(),
        "machine": writing.machine(),
        "versions": writing.versions(),
        "config": config,
        "results": results,
    }
    writing.write_json(out / f"{name}.json", content)
    labels = list(next(iter(grouped.values())))
    header = ("method", *labels, "CPU s")
    table = [
        (
            method,
            *(_cell(rows[label]) for label in labels),
            f"{np.mean([r['cpu_seconds'] for r in results if r['method'] == method]):.0f}",
        )
        for method, rows in grouped.items()
    ]
    model = "LeNet-5" if config["data"] == "mnist" else f"ResNet-20 of width {config['width']}"
    title = f"{model} on {config['data']}, compressed in one shot"
    (out / f"{name}.md").write_text(
        f"""# {title}

`{writing.command()}` on {writing.machine()}.

{writing.markdown_table(header, table)}

Test accuracy in percent on {config["tested"]:,} images, right after compression -> after
batch-norm tuning on {config["calibration"]:,} training images; means over {config["seeds"]} seed(s)
with the standard deviation after tuning where there are several. {config["images"]:,} training
images, {config["epochs"]} epochs of two gradients a step; SGD takes one, and is also given
{2 * config["epochs"]} epochs. CrAM's rho is {config["rho"]}, that of SAM and C-SAM
{config["sam_rho"]}; "Multi" draws from
{", ".join(f"{100 * level:g} %" for level in config["levels"])}; CrAM+-Multi masks gradients.
Sparsities rank all layers together; 2:4 leaves the first layer dense; bits round weights only. CPU
seconds are those of the training, without what an interrupted run had done before.

## CrAM+-Multi over others, after tuning

{writing.markdown_table(CLAIMS_HEADER, [line for c in CLAIMS for line in _claim(c, grouped)])}

![accuracy by compression]({name}.png)
"""
    )
    writing.print_table(title, header, table)
    _draw(grouped, labels, title, out / f"{name}.png")


def _claim(claim: Claim, grouped: Rows) -> list[tuple[str, ...]]:
    """A line of the table, none if a method was not run."""
    runs = [grouped.get(name, {}).get(claim.label) for name in ("CrAM+-Multi", claim.worse)]
    if not all(runs):
        return []
    better, worse = (100 * np.array(run["after"] or run["before"]) for run in runs if run)
    return [(claim.worse, claim.label, *writing.claim_cells(claim.margin, better - worse))]


def _cell(measured: dict[str, list[float]]) -> str:
    before, after = (100 * np.array(measured[key]) for key in ("before", "after"))
    if not after.size:
        return f"{before.mean():.2f}"
    spread = f" ± {after.std(ddof=1):.2f}" if after.size > 1 else ""
    return f"{before.mean():.1f} -> {after.mean():.2f}{spread}"


def _draw(grouped: Rows, labels: list[str], title: str, path: Path) -> None:
    figure, both = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained", sharey=True)
    places = np.arange(len(labels))
    for axes, key, name in zip(
        both, ("before", "after"), ("right after", "after batch-norm tuning"), strict=True
    ):
        for (method, rows), marker in zip(grouped.items(), "osD^vP*X", strict=False):
            # The dense model is not tuned: it stands in both pictures as it is.
            means = [np.mean(rows[label][key] or rows[label]["before"]) for label in labels]
            axes.plot(places, means, marker=marker, label=method)
        axes.set_xticks(places, labels, rotation=45)
        axes.set(xlabel="compression", title=name)
        axes.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1))
        axes.grid(alpha=0.3)
    both[0].set_ylabel("test accuracy")
    both[0].legend(fontsize="small")
    figure.suptitle(title)
    figure.savefig(path, dpi=120)
