"""Cyclic and parallel grow-and-prune against other ways to a sparse model, at equal epochs.

On MNIST, a small convolutional network from three seeds:

    python benchmarks/gap.py --timing

and, in hours rather than minutes, on CIFAR-10, ResNet-20 of width 8 from one seed:

    python benchmarks/gap.py --data cifar10

A variant is a process of its own with one thread, a parallel one a process for each partition.
All see the same number of images: the epochs of all workers of a parallel run together are those
of the others, unless its name says that it is longer. What is finished is not run again, and what
was interrupted goes on from its last epoch or round, so the command may be repeated. `--timing`
also measures how much sooner two workers are done than one, each on a core of its own (on Linux).
"""

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import gap_report
from gap_run import TIMED, VARIANTS
from processes import HERE, run_script
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from keras_sparse.distribute import launch

DEFAULTS = {
    "mnist": {"width": 8, "images": 3000, "epochs": 48, "seeds": 3},
    "cifar10": {"width": 8, "images": 20000, "epochs": 48, "seeds": 1},
}
TIMED_EPOCHS, TIMED_REPEATS = 33, 3


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", choices=DEFAULTS, default="mnist")
    parser.add_argument("--width", type=int, help="filters of the first layer, or stage")
    parser.add_argument("--images", type=int, help="training images")
    parser.add_argument("--epochs", type=int, help="of each run; a multiple of 24")
    parser.add_argument("--seeds", type=int, help="runs of each variant")
    parser.add_argument("--sparsity", type=float, default=0.95)
    parser.add_argument("--variants", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--timing", action="store_true", help="also time two workers against one")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--name", help="of the results' files; gap_mnist or gap_cifar10 by default")
    parser.add_argument("--report-only", action="store_true", help="report what is finished")
    args = parser.parse_args()
    for name, value in DEFAULTS[args.data].items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.epochs % 24:
        parser.error("--epochs is a multiple of 24: two rounds of four steps in two thirds of it")
    return args


def make_plan(args: argparse.Namespace) -> dict:
    """Everything that the runs have in common."""
    return {
        "data": args.data,
        "width": args.width,
        "images": args.images,
        "epochs": args.epochs,
        "finetune_epochs": args.epochs // 3,
        "sparsity": args.sparsity,
        "batch": 64,
        "learning_rate": 0.1,
        "learning_rate_schedule": "an epoch of warm-up and a cosine to 0, in each step anew",
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "batch_norm_momentum": 0.9,
        "augmentation": args.data == "cifar10",
    }


def prepare(plan: dict) -> Path:
    """Writes the plan in a folder named by it."""
    name = "{data}-w{width}-n{images}-e{epochs}-p{sparsity}".format(**plan)
    folder = HERE / "build" / "gap" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.json").write_text(json.dumps(plan, indent=1))
    return folder


def run(name: str, seeds: list[int], folder: Path) -> int:
    """Runs a variant from some seeds; its output goes to a log file."""
    variant = (VARIANTS | TIMED)[name]
    words = ["--plan", str(folder / "plan.json"), "--variant", name]
    words += ["--seeds", *map(str, seeds)]
    with (folder / f"{name}.log").open("a") as log:
        if variant.kind == "parallel":
            script = HERE / "gap_run.py"
            console = Console(file=log, soft_wrap=True, highlight=False)
            return launch(script, words, variant.kappa, threads=1, console=console)
        return run_script("gap_run.py", words, log, threads=1)


def run_all(todo: list[tuple[str, list[int]]], folder: Path) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn()) as progress:
        progress.console.print(f"Runs and their logs are in {folder}", soft_wrap=True)
        task = progress.add_task("variants", total=len(todo))
        for name, seeds in todo:
            progress.update(task, description=name)
            status = run(name, seeds, folder)
            if status:
                progress.console.print(f"{name} failed with status {status}, see {name}.log")
            progress.advance(task)


def unfinished(names: list[str], seeds: int, folder: Path) -> list[tuple[str, list[int]]]:
    """The seeds that each variant has not run from yet."""
    found = []
    for name in names:
        left = [s for s in range(seeds) if not gap_report.result_path(name, s, folder).exists()]
        found += [(name, left)] if left else []
    return found


def time_workers(plan: dict, report_only: bool) -> dict | None:
    """Times two workers against one, in turn, each in processes of its own."""
    timed = {**plan, "epochs": TIMED_EPOCHS, "finetune_epochs": 1, "images": 4 * plan["images"]}
    folder = prepare(timed)
    pairs = unfinished(list(TIMED), TIMED_REPEATS, folder)
    turns = [(name, [seed]) for name, seeds in pairs for seed in seeds]
    if not report_only:
        run_all(sorted(turns, key=lambda turn: turn[1]), folder)
    return gap_report.timing(timed, folder, TIMED_REPEATS)


def main() -> None:
    args = arguments()
    plan = make_plan(args)
    folder = prepare(plan)
    if not args.report_only:
        run_all(unfinished(args.variants, args.seeds, folder), folder)
    timing = time_workers(plan, args.report_only) if args.timing else None
    if timing:
        Console().print(gap_report.timing_note(timing))
    args.out.mkdir(parents=True, exist_ok=True)
    stem = args.out / (args.name or f"gap_{args.data}")
    gap_report.write(args.variants, args.seeds, plan, folder, timing, stem)
    missing = unfinished(args.variants, args.seeds, folder)
    if missing:
        raise SystemExit(f"Not finished: {', '.join(name for name, _ in missing)}")


if __name__ == "__main__":
    main()
