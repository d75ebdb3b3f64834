r"""ResNet-20 on CIFAR-10: sparse training methods at equal epochs.

The committed results are those of

    python benchmarks/cifar10_resnet20.py --width 8 --images 20000 --epochs 20
    python benchmarks/cifar10_resnet20.py --width 8 --images 20000 --epochs 20 --sparsity 0.95 \
        --name cifar10_resnet20_95 --methods dense acdc gmp rigl top_kast dpf str snip \
        one_shot woodfisher tfmot

Each run is a process of its own; two run side by side, one thread each. What is finished is not
run again and what was interrupted goes on from its last epoch, so the command may be repeated.
`tfmot` needs `pip install keras-sparse[tfmot]`, here or in an environment whose interpreter
`--tfmot-python` names. CIFAR-10 is looked for as `keras_sparse.data.load` does.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cifar10_report
import numpy as np
from cifar10_run import AFTER_DENSE
from processes import HERE, run_script, tfmot_versions
from rich.console import Console

from keras_sparse import data, models
from keras_sparse.data import batches

METHODS = ("acdc", "dense", "gmp", "tfmot", "one_shot", "random", "gmp_uniform")
OTHERS = ("rigl", "top_kast", "dpf", "str", "snip", *AFTER_DENSE)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=16, help="filters of the first stage")
    parser.add_argument("--images", type=int, default=50000, help="training images")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--sparsity", type=float, default=0.9)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", nargs="+", choices=METHODS + OTHERS, default=METHODS)
    parser.add_argument("--threads", type=int, default=1, help="of each run")
    parser.add_argument("--parallel", type=int, default=2, help="runs at a time")
    parser.add_argument("--monitored", type=int, default=1000, help="test images for the curves")
    parser.add_argument("--name", default="cifar10_resnet20", help="of the files of results")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--tfmot-python", default=sys.executable, help="interpreter with tfmot")
    parser.add_argument("--report-only", action="store_true", help="report what is finished")
    return parser.parse_args()


def make_plan(args: argparse.Namespace) -> dict:
    """Everything that the runs must have in common."""
    batch = 128
    per_epoch = -(-args.images // batch)
    steps = args.epochs * per_epoch
    every = max(1, min(100, steps // 20))
    begin = steps // 5 // every * every
    updates = int(0.6 * steps) // every  # a whole number of intervals: tfmot counts so
    times = {
        "begin": begin,
        "end": begin + updates * every,
        "every": every,
        "one_shot": round(0.7 * args.epochs) * per_epoch,
    }
    return {
        "model": "resnet20",
        "width": args.width,
        "images": args.images,
        "epochs": args.epochs,
        "batch": batch,
        "steps": steps,
        "sparsity": args.sparsity,
        "learning_rate": 0.1,
        "learning_rate_schedule": "cosine to 0",
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "weight_decay_form": "decoupled (the optimizer's argument), on all variables",
        "batch_norm_momentum": 0.9,
        "augmentation": "pad 4, random crop, horizontal flip",
        "schedule": times,
        "seed": args.seed,
        "monitored": args.monitored,
        "threads": args.threads,
        "parallel": args.parallel,
    }


def prepare(plan: dict) -> Path:
    """Writes plan, data and initial weights for the runs, in a folder named by the plan."""
    name = "resnet20-w{width}-n{images}-e{epochs}-s{seed}-p{sparsity}".format(**plan)
    folder = HERE / "build" / "cifar10" / name
    folder.mkdir(parents=True, exist_ok=True)
    # tfmot's process takes the pipeline from its file, and so the same batches, crops and flips.
    (folder / "plan.json").write_text(json.dumps({**plan, "pipeline": batches.__file__}, indent=1))
    if (folder / "initial_weights.npz").exists():
        return folder
    cifar = data.load("cifar10", limit=plan["images"], seed=plan["seed"])
    np.savez(
        folder / "data.npz",
        x_train=cifar.x_train,
        y_train=cifar.y_train,
        x_test=cifar.x_test,
        y_test=cifar.y_test,
    )
    model = models.resnet20(width=plan["width"], seed=plan["seed"])
    # By layer and place, as the two Kerases may order a model's variables differently.
    weights = {
        f"{layer.name}/{i}": value
        for layer in model.layers
        for i, value in enumerate(layer.get_weights())
    }
    np.savez(folder / "initial_weights.npz", **weights)
    return folder


def run(method: str, folder: Path, tfmot_python: str) -> tuple[str, int, float]:
    """Runs a method to its end; its output goes to a log file."""
    began = time.perf_counter()
    words = ["--plan", str(folder / "plan.json")]
    with (folder / f"{method}.log").open("a") as log:
        if method == "tfmot":
            status = run_script("legacy_tfmot.py", words, log, legacy_python=tfmot_python)
        else:
            status = run_script("cifar10_run.py", [*words, "--method", method], log)
    return method, status, time.perf_counter() - began


def finished(method: str, folder: Path) -> bool:
    return cifar10_report.result_path(method, folder).exists()


def run_all(args: argparse.Namespace, folder: Path) -> None:
    console = Console()
    todo = [method for method in args.methods if not finished(method, folder)]
    if "tfmot" in todo:
        tfmot_versions(args.tfmot_python)  # says now, not in an hour, if it is missing
    console.print(f"To run: {', '.join(todo) or 'nothing'}; logs are in {folder}")
    trainings = [method for method in todo if method not in AFTER_DENSE]
    with ThreadPoolExecutor(args.parallel) as pool:
        runs = pool.map(lambda m: run(m, folder, args.tfmot_python), trainings)
        show(console, runs)
    if finished("dense", folder):
        show(console, (run(m, folder, args.tfmot_python) for m in todo if m in AFTER_DENSE))


def show(console: Console, runs: Iterable[tuple[str, int, float]]) -> None:
    """Says of each run how it ended, as it ends."""
    for method, status, seconds in runs:
        state = "finished" if status == 0 else f"failed with status {status}, see {method}.log"
        console.print(f"{method} {state} after {seconds / 60:.1f} minutes")


def main() -> None:
    args = arguments()
    plan = make_plan(args)
    folder = prepare(plan)
    if not args.report_only:
        run_all(args, folder)
    done = [method for method in args.methods if finished(method, folder)]
    args.out.mkdir(parents=True, exist_ok=True)
    cifar10_report.write(done, plan, folder, args.out / args.name)
    missing = [method for method in args.methods if method not in done]
    if missing:
        raise SystemExit(
            f"Not in the report, for they are not finished: {', '.join(missing)}. "
            f"({', '.join(AFTER_DENSE)} prunes the model of the run `dense`.)"
        )


if __name__ == "__main__":
    main()
