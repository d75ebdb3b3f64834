"""What sparse training costs a step: keras_sparse over plain Keras, tfmot over plain tf_keras.

The committed results are those of

    python benchmarks/overhead.py

ResNet-20 on synthetic images of CIFAR's shape. In one process for each Keras, plain training and
the methods take steps in turn, and each step is compared with the plain step of the same turn, so
that what else the machine does hits both. What a method adds to a step does not depend on the
batch, so it is measured in milliseconds of CPU time at a small one, where it stands out from the
noise: the table has the median over all turns, and the interval in which 95 % of the medians of
resampled turns lie. Steps with a mask update and steps without are timed apart, and combined for
updates at every 10th and 100th step. AC/DC, GMP and tfmot are also timed at the full batch, and
only there the methods that take two gradients a step. Time to the first step and peak memory are
measured in a fresh process each. `tfmot` needs `pip install keras-sparse[tfmot]`, here or where
`--tfmot-python` points.
"""

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tfmot
from matplotlib.figure import Figure
from stepping import Trial, measured
from timed_methods import METHODS, TWO_GRADIENTS

import keras_sparse as ks
from keras_sparse.experiments.document import Document, Script, Table, notes
from keras_sparse.experiments.study import Study, Variant
from keras_sparse.plots.drawing import BLUE, RED, new_figure

HERE = Path(__file__).parent
STARTS = {"keras_sparse": ("plain", "acdc", "gmp"), "tfmot": ("plain", "tfmot")}
AT_FULL_BATCH = ("acdc", "gmp", "sam", "cram")
CLOCKS = ("wall", "cpu")
LABELS = {"acdc": "AC/DC", "gmp": "GMP", "sam": "SAM", "cram": "CrAM+"}
# Steps between mask updates.
INTERVALS = (100, 10, 1)
# There is no step on which the masks or gates of these stay as they are.
AT_EVERY_STEP = ("deep_r", "str", "l0", "sparse_vd", "edge_popup")
KERAS = {"keras_sparse": "Keras", "tfmot": "tf_keras"}
TARGET = 5.0


def run(config: dict, folder: Path) -> dict[str, Any]:
    known = METHODS | TWO_GRADIENTS

    def trial(name: str) -> Trial:
        keras.utils.set_random_seed(0)
        model = ks.models.resnet20(width=config["width"], seed=0)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss, metrics=["accuracy"])
        steps = 3 + config["blocks"] * config["steps"] + 1000
        method, _, update = name.partition("+")
        callbacks = []
        if method != "plain":
            timed = known[method]
            callbacks = [timed.busy() if update and timed.busy else timed.quiet(f"{steps}st")]
        return Trial(keras, model, callbacks, config["batch"], steps)

    names = ["plain"]
    for method in config["methods"]:
        names += [method, f"{method}+update"] if known[method].busy else [method]
    return measured(config, trial, names)


def median(values: np.ndarray) -> dict[str, float]:
    """The median, and the interval of 95 % of the medians of resampled values."""
    draw = np.random.default_rng(0)
    medians = np.median(draw.choice(values, (2000, len(values))), axis=1)
    low, high = np.percentile(medians, (2.5, 97.5))
    return {"median": float(np.median(values)), "low": float(low), "high": float(high)}


def by_clock(values: np.ndarray) -> dict[str, dict[str, float]]:
    quartiles = np.percentile(values, (25, 50, 75), axis=0)
    return {
        clock: dict(zip(("q1", "median", "q3"), quartiles[:, i].tolist(), strict=True))
        for i, clock in enumerate(CLOCKS)
    }


def methods_of(trials: dict) -> list[tuple[str, np.ndarray, np.ndarray, np.ndarray | None]]:
    """Of each method its steps, the plain ones, and what an update adds."""
    plain, found = np.array(trials["plain"]), []
    for name in trials:
        if name != "plain" and "+" not in name:
            quiet, busy = np.array(trials[name]), trials.get(f"{name}+update")
            found.append((name, quiet, plain, None if busy is None else np.array(busy) - quiet))
    return found


def summed_up(raw: dict[str, Any]) -> dict[str, Any]:
    """CPU milliseconds that are added, percents of a plain step, and ratios to it in each turn."""
    whole = {side: by_clock(1000 * np.array(t["plain"])) for side, t in raw["steps"].items()}
    added: dict[str, Any] = {}
    for side, trials in raw["small_steps"].items():
        unit = whole[side]["cpu"]["median"]
        for name, quiet, plain, extra in methods_of(trials):
            step = 1000 * (quiet - plain)[:, 1]
            percent = {"1" if name in AT_EVERY_STEP else "none": median(100 * step / unit)}
            added[name] = {"side": side, "step": median(step), "percent": percent}
            if extra is not None:
                update = 1000 * extra[:, 1]
                added[name]["update"] = median(update)
                for every in INTERVALS:
                    percent[str(every)] = median(100 * (step + update / every) / unit)
    ratios: dict[str, Any] = {}
    for trials in raw["steps"].values():
        for name, quiet, plain, extra in methods_of(trials):
            ratios[name] = {"none": by_clock(quiet / plain)}
            if extra is not None:
                ratios[name] = {
                    str(every): by_clock((quiet + extra / every) / plain) for every in INTERVALS
                }
    return {"added": added, "ratios": ratios, "plain_step_ms": whole}


def named(interval: str) -> str:
    return {"none": "none", "1": "every step"}.get(interval, f"every {interval} steps")


def added_table(title: str, summary: dict) -> Table:
    def cells(times: dict | None) -> tuple[str, str]:
        if times is None:
            return "", ""
        return f"{times['median']:.2f}", f"{times['low']:.2f} to {times['high']:.2f}"

    shown = ("none", *map(str, INTERVALS))
    rows = []
    for name, added in summary["added"].items():
        of = added["percent"]
        percents = (f"{of[i]['median']:+.2f} %" if i in of else "" for i in shown)
        update = cells(added.get("update"))
        rows.append((LABELS.get(name, name), *cells(added["step"]), *update, *percents))
    measured = ("each step, ms", "95 % interval", "each mask update, ms", "95 % interval")
    header = ("method", *measured, "no update", "every 100", "every 10", "every step")
    return Table(title, header, rows)


def paired_table(summary: dict) -> Table:
    def percent(ratio: float) -> str:
        return f"{100 * (ratio - 1):+.1f} %"

    rows = [
        (
            LABELS.get(name, name),
            named(interval),
            percent(ratio["cpu"]["median"]),
            f"{percent(ratio['cpu']['q1'])} to {percent(ratio['cpu']['q3'])}",
            percent(ratio["wall"]["median"]),
        )
        for name, ratios in summary["ratios"].items()
        for interval, ratio in ratios.items()
    ]
    header = ("method", "mask updates", "paired steps, CPU", "quartiles", "paired steps, wall")
    return Table("The same at the full batch", header, rows)


def starts_table(starts: dict) -> Table:
    rows = [
        (
            f"plain {KERAS[side]}" if method == "plain" else LABELS.get(method, method),
            f"{values['first_step_s']:.1f}",
            f"{values['first_step_cpu_s']:.1f}",
            f"{values['peak_memory_mib']:.0f}",
        )
        for side, methods in starts.items()
        for method, values in methods.items()
    ]
    header = ("training", "first step, s", "first step, CPU s", "peak memory, MiB")
    return Table("Beginning, in a fresh process", header, rows)


def picture(summary: dict, title: str) -> Figure:
    bars = [
        (name, interval, added["percent"][interval])
        for name, added in summary["added"].items()
        for interval in (("100", "10", "1") if name in ("gmp", "tfmot") else added["percent"])
        if name in ("gmp", "tfmot") or interval == next(iter(added["percent"]))
    ]
    figure, axes = new_figure(9, 1.2 + 0.27 * len(bars))
    for place, (name, _, value) in enumerate(bars):
        reach = [[value["median"] - value["low"]], [value["high"] - value["median"]]]
        color = RED if name == "tfmot" else BLUE
        bar = axes.barh(place, value["median"], xerr=reach, color=color, capsize=2, ecolor="0.35")
        axes.bar_label(bar, fmt="%.2f", padding=3)
    axes.set_yticks(
        range(len(bars)), [f"{LABELS.get(n, n)}, updates: {named(i)}" for n, i, _ in bars]
    )
    axes.invert_yaxis()
    axes.axvline(0, color="black", lw=0.8)
    axes.axvline(TARGET, color="C1", ls="--", label="target: at most 5 %")
    axes.set(xlabel="CPU time added to a step of plain fit (%)", title=title)
    axes.legend(loc="best")
    return figure


def describe(content: dict) -> Document:
    summary, config = content["summary"], content["config"]
    title = "Step time over plain fit: ResNet-20, width {width}, batch {batch}".format(**config)
    tables = (
        added_table(title, summary),
        paired_table(summary),
        starts_table(content["raw"]["starts"]),
    )
    plain = ", ".join(
        f"{step['cpu']['median']:.0f} ms of CPU time in {KERAS[side]}"
        for side, step in summary["plain_step_ms"].items()
    )
    about = (
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
    blocks = [block for table in tables for block in (f"**{table.title}**", table)]
    shown = picture(summary, title)
    return Document(
        "What sparse training costs a step", [*blocks, notes(about)], shown, "step time"
    )


def main() -> None:
    script = Script(
        __doc__,
        HERE / "results",
        width=16,
        batch=128,
        blocks=20,
        small_batch=8,
        small_blocks=200,
        steps=1,
        threads=1,
        quick=False,
        without_tfmot=False,
        tfmot_python=sys.executable,
    )
    args = script.parser.parse_args()
    if args.quick:
        args.width, args.batch, args.blocks, args.small_blocks = 4, 16, 4, 8
    sides = ("keras_sparse",) if args.without_tfmot else ("keras_sparse", "tfmot")
    full = {name: getattr(args, name) for name in ("width", "batch", "blocks", "steps", "threads")}
    small = {**full, "batch": args.small_batch, "blocks": args.small_blocks}
    variants = {}
    for side in sides:
        configs = {f"steps {side}": full, f"small_steps {side}": small}
        configs |= {f"starts {side} {method}": full | {"start": method} for method in STARTS[side]}
        for name, config in configs.items():
            own = {**config, "methods": AT_FULL_BATCH if config is full else tuple(METHODS)}
            legacy = tfmot.variant("overhead_tfmot.py:run", own, args.tfmot_python)
            variants[name] = legacy if side == "tfmot" else Variant(own)

    def measure() -> dict:
        versions = {} if args.without_tfmot else tfmot.versions(args.tfmot_python)
        found = Study(variants, [0], run).timed(HERE / "build" / "overhead", args.threads)
        raw: dict[str, Any] = {kind: {} for kind in ("steps", "small_steps", "starts")}
        for name, result in found.items():
            kind, side, *method = name.split()
            raw[kind][side] = (raw[kind].get(side, {}) | {method[0]: result}) if method else result
        config = {**full, "small_batch": args.small_batch, "small_blocks": args.small_blocks}
        return {"versions": versions, "config": config, "summary": summed_up(raw), "raw": raw}

    script.write(args, "overhead", measure, describe)


if __name__ == "__main__":
    main()
