"""Tables and the picture of `overhead.py`."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import writing

NAME = "overhead"
CLOCKS = ("wall", "cpu")
LABELS = {"acdc": "AC/DC", "gmp": "GMP", "sam": "SAM", "cram": "CrAM+"}
# Steps between mask updates.
INTERVALS = (100, 10, 1)
# There is no step on which the masks or gates of these stay as they are.
AT_EVERY_STEP = ("deep_r", "str", "l0", "sparse_vd", "edge_popup")
COLORS = {"tfmot": "C3"}
KERAS = {"keras_sparse": "Keras", "tfmot": "tf_keras"}
TARGET = 5.0
ADDED_HEADER = (
    "method",
    "each step, ms",
    "95 % interval",
    "each mask update, ms",
    "95 % interval",
    "no update",
    "every 100",
    "every 10",
    "every step",
)
PAIRED_HEADER = ("method", "mask updates", "paired steps, CPU", "quartiles", "paired steps, wall")
START_HEADER = ("training", "first step, s", "first step, CPU s", "peak memory, MiB")


def write(raw: dict[str, Any], config: dict, versions: dict, out: Path) -> None:
    """Writes JSON, Markdown and PNG, and prints the tables.

    Args:
        raw: seconds of steps (`steps` and `small_steps`, by side and trial) and `starts`.
        config: the options that matter.
        versions: versions of what was measured.
        out: a folder.
    """
    plain = {
        side: _by_clock(1000 * np.array(trials["plain"])) for side, trials in raw["steps"].items()
    }
    summary = {
        "added": _added(raw["small_steps"], plain),
        "ratios": _ratios(raw["steps"]),
        "plain_step_ms": plain,
    }
    tables = (
        (_title(config), ADDED_HEADER, _added_rows(summary)),
        ("The same at the full batch", PAIRED_HEADER, _paired_rows(summary)),
        ("Beginning, in a fresh process", START_HEADER, _start_rows(raw["starts"])),
    )
    content = {
        "command": writing.command(),
        "machine": writing.machine(),
        "versions": versions,
        "config": config,
        "summary": summary,
        "raw": raw,
    }
    writing.write_json(out / f"{NAME}.json", content)
    (out / f"{NAME}.md").write_text(_markdown(tables, summary, config))
    _picture(summary, config, out / f"{NAME}.png")
    for table in tables:
        writing.print_table(*table)


def _methods(trials: dict) -> list[str]:
    return [name for name in trials if name != "plain" and "+" not in name]


def _ratios(steps: dict) -> dict[str, dict[str, Any]]:
    """Ratios to the plain step of the same turn, for each interval between mask updates."""
    ratios: dict[str, dict[str, Any]] = {}
    for trials in steps.values():
        plain = np.array(trials["plain"])
        for name in _methods(trials):
            quiet = np.array(trials[name])
            ratios[name] = {"none": _by_clock(quiet / plain)}
            if f"{name}+update" in trials:
                extra = np.array(trials[f"{name}+update"]) - quiet
                ratios[name] = {
                    str(interval): _by_clock((quiet + extra / interval) / plain)
                    for interval in INTERVALS
                }
    return ratios


def _added(steps: dict, plain_step: dict) -> dict[str, dict[str, Any]]:
    """CPU milliseconds that a method and a mask update add, and percents of a plain step."""
    added: dict[str, dict[str, Any]] = {}
    for side, trials in steps.items():
        whole = plain_step[side]["cpu"]["median"]
        plain = _cpu_ms(trials["plain"])
        for name in _methods(trials):
            quiet = _cpu_ms(trials[name])
            step = quiet - plain
            added[name] = {"side": side, "step": _median(step), "percent": {}}
            percent = added[name]["percent"]
            percent["1" if name in AT_EVERY_STEP else "none"] = _median(100 * step / whole)
            if f"{name}+update" in trials:
                update = _cpu_ms(trials[f"{name}+update"]) - quiet
                added[name]["update"] = _median(update)
                for interval in INTERVALS:
                    percent[str(interval)] = _median(100 * (step + update / interval) / whole)
    return added


def _cpu_ms(times: Any) -> np.ndarray:
    return 1000 * np.array(times)[:, CLOCKS.index("cpu")]


def _median(values: np.ndarray) -> dict[str, float]:
    """The median, and the interval of 95 % of the medians of resampled values."""
    draw = np.random.default_rng(0)
    medians = np.median(draw.choice(values, (2000, len(values))), axis=1)
    low, high = np.percentile(medians, (2.5, 97.5))
    return {"median": float(np.median(values)), "low": float(low), "high": float(high)}


def _by_clock(values: np.ndarray) -> dict[str, dict[str, float]]:
    quartiles = np.percentile(values, (25, 50, 75), axis=0)
    return {
        clock: dict(zip(("q1", "median", "q3"), quartiles[:, i].tolist(), strict=True))
        for i, clock in enumerate(CLOCKS)
    }


def _title(config: dict) -> str:
    return "Step time over plain fit: ResNet-20, width {width}, batch {batch}".format(**config)


def _first(added: dict[str, Any]) -> list[str]:
    return list(added["percent"])[:1]


def _interval(interval: str) -> str:
    return {"none": "none", "1": "every step"}.get(interval, f"every {interval} steps")


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f} %"


def _added_rows(summary: dict) -> list[tuple[str, ...]]:
    def cells(times: dict | None) -> tuple[str, str]:
        if times is None:
            return "", ""
        return f"{times['median']:.2f}", f"{times['low']:.2f} to {times['high']:.2f}"

    def percent(of: dict, interval: str) -> str:
        return f"{of[interval]['median']:+.2f} %" if interval in of else ""

    return [
        (
            LABELS.get(name, name),
            *cells(added["step"]),
            *cells(added.get("update")),
            *(percent(added["percent"], i) for i in ("none", *map(str, INTERVALS))),
        )
        for name, added in summary["added"].items()
    ]


def _paired_rows(summary: dict) -> list[tuple[str, ...]]:
    return [
        (
            LABELS.get(name, name),
            _interval(interval),
            _percent(ratio["cpu"]["median"]),
            f"{_percent(ratio['cpu']['q1'])} to {_percent(ratio['cpu']['q3'])}",
            _percent(ratio["wall"]["median"]),
        )
        for name, ratios in summary["ratios"].items()
        for interval, ratio in ratios.items()
    ]


def _start_rows(starts: dict) -> list[tuple[str, ...]]:
    return [
        (
            f"plain {KERAS[side]}" if method == "plain" else LABELS.get(method, method),
            f"{values['first_step_s']:.1f}",
            f"{values['first_step_cpu_s']:.1f}",
            f"{values['peak_memory_mib']:.0f}",
        )
        for side, methods in starts.items()
        for method, values in methods.items()
    ]


def _markdown(tables: Any, summary: dict, config: dict) -> str:
    lines = ["# What sparse training costs a step", ""]
    lines += [f"`{writing.command()}` on {writing.machine()}.", ""]
    for title, header, rows in tables:
        lines += [f"**{title}**", "", writing.markdown_table(header, rows), ""]
    plain = ", ".join(
        f"{step['cpu']['median']:.0f} ms of CPU time in {KERAS[side]}"
        for side, step in summary["plain_step_ms"].items()
    )
    notes = (
        f"A plain step takes {plain}; keras_sparse is compared with the one, tfmot with the other.",
        f"Milliseconds of CPU time are medians over {config['small_blocks']} turns at batch "
        f"{config['small_batch']}: work on masks does not depend on the batch, and shows there. "
        "Percents relate them to the plain step above, for masks that are never updated, and "
        "updated at every 100th, 10th and every step.",
        f"The second table has medians of ratios over {config['blocks']} turns at batch "
        f"{config['batch']}; their noise is some percent. SAM and CrAM+ take two gradients a step, "
        "and what they add depends on the batch.",
        "CPU time does not count what a step waits for others on a shared machine.",
    )
    return "\n".join((*lines, *(f"- {n}" for n in notes), "", f"![step time]({NAME}.png)", ""))


def _picture(summary: dict, config: dict, path: Path) -> None:
    bars = [
        (name, interval, added["percent"][interval])
        for name, added in summary["added"].items()
        for interval in (("100", "10", "1") if name in ("gmp", "tfmot") else _first(added))
    ]
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.27 * len(bars)), layout="constrained")
    for place, (name, _, value) in enumerate(bars):
        reach = [[value["median"] - value["low"]], [value["high"] - value["median"]]]
        color = COLORS.get(name, "C0")
        bar = axes.barh(place, value["median"], xerr=reach, color=color, capsize=2, ecolor="0.35")
        axes.bar_label(bar, fmt="%.2f", padding=3)
    labels = [f"{LABELS.get(n, n)}, updates: {_interval(i)}" for n, i, _ in bars]
    axes.set_yticks(range(len(bars)), labels)
    axes.invert_yaxis()
    axes.axvline(0, color="black", lw=0.8)
    axes.axvline(TARGET, color="C1", ls="--", label="target: at most 5 %")
    axes.set(xlabel="CPU time added to a step of plain fit (%)", title=_title(config))
    axes.legend(loc="best")
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=120)
    plt.close(figure)
