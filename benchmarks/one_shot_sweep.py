"""Seconds that `one_shot_sweep` takes for ResNet-20 and the test images of CIFAR-10.

    python benchmarks/one_shot_sweep.py

Eight sparsities, each evaluated on 10,000 images after batch-norm tuning on 1,000, and once more
with evaluations before the tuning too (`evaluate_untuned=True`). What it takes does not depend on
the weights, which are those of a new model. Each repeat is a process of its own with all the
machine's cores, from the compiled model to the finished table and picture.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import writing
from processes import HERE, run_script
from rich.progress import track

import keras_sparse as ks

NAME = "one_shot_sweep"
SPARSITIES = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
CALIBRATION = 1000


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=16, help="filters of the first stage")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--untuned", action="store_true", help="(internal)")
    parser.add_argument("--folder", type=Path, help="where one repeat writes (used internally)")
    return parser.parse_args()


def measure(width: int, untuned: bool, folder: Path) -> dict[str, float]:
    """One sweep: seconds by the wall's clock and by the processor's."""
    cifar = ks.data.load("cifar10", limit=CALIBRATION)
    model = ks.models.resnet20(width=width, seed=0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"])
    wall, processor = time.perf_counter(), time.process_time()
    ks.one_shot_sweep(
        model,
        cifar.test,
        sparsities=SPARSITIES,
        calibration=cifar.x_train,
        evaluate_untuned=untuned,
        path=folder / "sweep.png",
        verbose=False,
    )
    return {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - processor,
    }


def one(width: int, untuned: bool) -> dict[str, float]:
    """One sweep in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        words = ["--folder", name, "--width", str(width), *(["--untuned"] if untuned else [])]
        log = Path(name) / "log"
        with log.open("w") as file:
            if run_script(f"{NAME}.py", words, file):
                sys.exit(log.read_text()[-3000:])
        return json.loads((Path(name) / "result.json").read_text())


def median(runs: list[dict[str, float]], key: str) -> float:
    return statistics.median(run[key] for run in runs)


def write(results: dict[str, list[dict[str, float]]], args: argparse.Namespace) -> None:
    """Writes what is measured so far."""
    content = {
        "command": writing.command(),
        "machine": writing.machine(),
        "versions": writing.versions(),
        "config": {"width": args.width, "sparsities": SPARSITIES, "calibration": CALIBRATION},
        "results": results,
        "median_seconds": {name: median(runs, "seconds") for name, runs in results.items()},
    }
    args.out.mkdir(parents=True, exist_ok=True)
    writing.write_json(args.out / f"{NAME}.json", content)


def main() -> None:
    args = arguments()
    if args.folder:
        result = measure(args.width, args.untuned, args.folder)
        (args.folder / "result.json").write_text(json.dumps(result))
        return
    results: dict[str, list[dict[str, float]]] = {"tuned": [], "before and after tuning": []}
    turns = [(name, i) for i in range(args.repeats) for name in results]
    for name, _ in track(turns, "sweeping"):
        results[name].append(one(args.width, name != "tuned"))
        write({name: runs for name, runs in results.items() if runs}, args)
    header = ("evaluated", "seconds", "least", "most", "CPU s")
    rows = []
    for name, runs in results.items():
        seconds = [run["seconds"] for run in runs]
        shown = (median(runs, "seconds"), min(seconds), max(seconds), median(runs, "cpu_seconds"))
        rows.append((name, *(f"{value:.0f}" for value in shown)))
    title = f"one_shot_sweep, ResNet-20 of width {args.width}, medians of {args.repeats}"
    writing.print_table(title, header, rows)


if __name__ == "__main__":
    main()
