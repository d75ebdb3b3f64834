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
# What is compared: the side, the trial without mask updates, the trial with one at every step,
# and the intervals between updates. AC/DC's are dozens of epochs apart.
METHODS: dict[str, tuple[str, str, str, tuple[int | None, ...]]] = {
    "AC/DC": ("keras_sparse", "acdc", "acdc", (None,)),
    "GMP": ("keras_sparse", "gmp_no_update", "gmp_every_step", (100, 10, 1)),
    "tfmot": ("tfmot", "tfmot_no_update", "tfmot_every_step", (100, 10, 1)),
}
COLORS = {"AC/DC": "C0", "GMP": "C1", "tfmot": "C2"}
KERAS = {"keras_sparse": "Keras", "tfmot": "tf_keras"}
TARGET = 5.0
STEP_HEADER = (
    "method",
    "mask updates",
    "by added ms",
    "paired steps, CPU",
    "quartiles",
    "paired steps, wall",
)
COST_HEADER = ("method", "each step, ms", "quartiles", "each mask update, ms", "quartiles")
START_HEADER = ("training", "first step, s", "first step, CPU s", "peak memory, MiB")


def write(raw: dict[str, Any], config: dict, versions: dict, out: Path) -> None:
    """Writes JSON, Markdown and PNG, and prints the tables.

    Args:
        raw: seconds of steps (`steps` and `small_steps`, by side and trial) and `starts`.
        config: the options that matter.
        versions: versions of what was measured.
        out: a folder.
    """
    summary = {
        "ratios": _ratios(raw["steps"]),
        "added_ms": _added(raw["small_steps"]),
        "plain_step_ms": {
            side: _by_clock(1000 * np.array(trials["plain"]))
            for side, trials in raw["steps"].items()
        },
    }
    tables = (
        (_title(config), STEP_HEADER, _step_rows(summary)),
        ("CPU time that a method adds", COST_HEADER, _cost_rows(summary)),
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


def _of_side(trials: dict, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times of plain steps, steps without and steps with a mask update, `(turns, clocks)`."""
    _, without, every, _ = METHODS[name]
    return tuple(np.array(trials[key]) for key in ("plain", without, every))


def _ratios(steps: dict) -> dict[str, dict[str, Any]]:
    """Ratios to the plain step of the same turn, for each interval between mask updates."""
    ratios: dict[str, dict[str, Any]] = {}
    for name, (side, *_, intervals) in METHODS.items():
        if side in steps:
            plain, quiet, busy = _of_side(steps[side], name)
            ratios[name] = {
                str(interval): _by_clock((quiet + (busy - quiet) * _share(interval)) / plain)
                for interval in intervals
            }
    return ratios


def _share(interval: int | None) -> float:
    return 0.0 if interval is None else 1 / interval


def _added(steps: dict) -> dict[str, dict[str, Any]]:
    """Milliseconds that a method adds to a plain step, and a mask update to the method's step."""
    added: dict[str, dict[str, Any]] = {}
    for name, (side, *_) in METHODS.items():
        if side in steps:
            plain, quiet, busy = _of_side(steps[side], name)
            added[name] = {"step": _by_clock(1000 * (quiet - plain))}
            if name != "AC/DC":
                added[name]["update"] = _by_clock(1000 * (busy - quiet))
    return added


def _by_clock(values: np.ndarray) -> dict[str, dict[str, float]]:
    quartiles = np.percentile(values, (25, 50, 75), axis=0)
    return {
        clock: dict(zip(("q1", "median", "q3"), quartiles[:, i].tolist(), strict=True))
        for i, clock in enumerate(CLOCKS)
    }


def _by_added(summary: dict, name: str, interval: str) -> float:
    """Percent of a plain step that the added milliseconds make."""
    added, plain = summary["added_ms"][name], summary["plain_step_ms"][METHODS[name][0]]
    update = added["update"]["cpu"]["median"] if "update" in added else 0.0
    share = _share(None if interval == "None" else int(interval))
    return 100 * (added["step"]["cpu"]["median"] + share * update) / plain["cpu"]["median"]


def _title(config: dict) -> str:
    return "Step time over plain fit: ResNet-20, width {width}, batch {batch}".format(**config)


def _interval(interval: str) -> str:
    return {"None": "none", "1": "every step"}.get(interval, f"every {interval} steps")


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f} %"


def _rows_of(summary: dict) -> list[tuple[str, str, dict]]:
    return [
        (name, interval, ratio)
        for name, ratios in summary["ratios"].items()
        for interval, ratio in ratios.items()
    ]


def _step_rows(summary: dict) -> list[tuple[str, ...]]:
    return [
        (
            name,
            _interval(interval),
            f"{_by_added(summary, name, interval):+.1f} %",
            _percent(ratio["cpu"]["median"]),
            f"{_percent(ratio['cpu']['q1'])} to {_percent(ratio['cpu']['q3'])}",
            _percent(ratio["wall"]["median"]),
        )
        for name, interval, ratio in _rows_of(summary)
    ]


def _cost_rows(summary: dict) -> list[tuple[str, ...]]:
    def cells(times: dict | None) -> tuple[str, str]:
        if times is None:
            return "", ""
        cpu = times["cpu"]
        return f"{cpu['median']:.1f}", f"{cpu['q1']:.1f} to {cpu['q3']:.1f}"

    return [
        (name, *cells(added["step"]), *cells(added.get("update")))
        for name, added in summary["added_ms"].items()
    ]


def _start_rows(starts: dict) -> list[tuple[str, ...]]:
    labels = {"acdc": "AC/DC", "gmp": "GMP"}
    return [
        (
            f"plain {KERAS[side]}" if method == "plain" else labels.get(method, method),
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
        f"Added milliseconds are medians over {config['small_blocks']} turns at batch "
        f"{config['small_batch']}: work on masks does not depend on the batch, and shows there.",
        f"Paired steps are medians of ratios over {config['blocks']} turns at batch "
        f"{config['batch']}; their noise is some percent.",
        "Steps with and without a mask update were timed; those of every 10 and every 100 steps "
        "are put together from the two.",
        "CPU time does not count what a step waits for others on a shared machine.",
    )
    return "\n".join((*lines, *(f"- {n}" for n in notes), "", f"![step time]({NAME}.png)", ""))


def _picture(summary: dict, config: dict, path: Path) -> None:
    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    rows = _rows_of(summary)
    for place, (name, interval, ratio) in enumerate(rows):
        cpu = {key: 100 * (value - 1) for key, value in ratio["cpu"].items()}
        value = _by_added(summary, name, interval)
        bar = axes.barh(place, value, color=COLORS[name], alpha=0.85)
        axes.bar_label(bar, fmt="%.1f", padding=3)
        axes.plot([cpu["q1"], cpu["q3"]], [place + 0.28] * 2, color="0.35", lw=1)
        axes.plot(cpu["median"], place + 0.28, "d", color="0.35", ms=5)
    axes.set_yticks(range(len(rows)), [f"{n}, updates: {_interval(i)}" for n, i, _ in rows])
    axes.invert_yaxis()
    axes.axvline(0, color="black", lw=0.8)
    axes.axvline(TARGET, color="C3", ls="--", label="target: at most 5 %")
    axes.plot([], [], "d-", color="0.35", ms=5, lw=1, label="paired steps: median and quartiles")
    axes.set(xlabel="CPU time added to a step of plain fit (%)", title=_title(config))
    axes.legend(loc="best")
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=120)
    plt.close(figure)
