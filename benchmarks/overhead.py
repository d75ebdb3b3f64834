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

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import overhead_report
import writing
from processes import HERE, run_script, tfmot_versions
from rich.console import Console

STARTS = {"keras_sparse": ("plain", "acdc", "gmp"), "tfmot": ("plain", "tfmot")}
AT_FULL_BATCH = ("acdc", "gmp", "sam", "cram")
SCRIPTS = {"keras_sparse": "overhead_run.py", "tfmot": "overhead_tfmot.py"}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=16, help="filters of the first stage")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--blocks", type=int, default=20, help="turns")
    parser.add_argument("--steps", type=int, default=1, help="steps in a turn")
    parser.add_argument("--small-batch", type=int, default=8)
    parser.add_argument("--small-blocks", type=int, default=200, help="turns with the small batch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="width 4, batch 16, few turns")
    parser.add_argument("--without-tfmot", action="store_true")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--report-only", action="store_true", help="report the last result anew")
    parser.add_argument("--tfmot-python", default=sys.executable, help="interpreter with tfmot")
    args = parser.parse_args()
    if args.quick:
        args.width, args.batch, args.blocks, args.small_blocks = 4, 16, 4, 8
    return args


def measure(side: str, args: argparse.Namespace, *more: str) -> Any:
    """Runs one measurement in a process of its own and returns what it wrote."""
    shared = ("width", "batch", "blocks", "steps", "threads")
    words = [word for name in shared for word in (f"--{name}", str(getattr(args, name)))]
    with tempfile.TemporaryDirectory() as folder:
        written, log_path = Path(folder) / "result.json", Path(folder) / "log"
        legacy = args.tfmot_python if side == "tfmot" else None
        with log_path.open("w") as log:
            status = run_script(
                SCRIPTS[side], [*words, *more, "--write", str(written)], log, legacy_python=legacy
            )
        if status:
            raise SystemExit(f"{SCRIPTS[side]} failed:\n{log_path.read_text()[-3000:]}")
        return json.loads(written.read_text())


def measure_all(args: argparse.Namespace) -> dict[str, Any]:
    """Everything that the report is made of."""
    console = Console()
    raw: dict[str, Any] = {"steps": {}, "small_steps": {}, "starts": {}}
    small = ("--batch", str(args.small_batch), "--blocks", str(args.small_blocks))
    for side in ("keras_sparse",) if args.without_tfmot else ("keras_sparse", "tfmot"):
        console.print(f"Steps of {side} and of plain training in turn ...")
        few = ("--methods", *AT_FULL_BATCH) if side == "keras_sparse" else ()
        raw["steps"][side] = measure(side, args, "--measure", "steps", *few)
        raw["small_steps"][side] = measure(side, args, "--measure", "steps", *small)
        raw["starts"][side] = {}
        for method in STARTS[side]:
            console.print(f"First step and memory: {side}, {method} ...")
            words = ("--measure", "start", "--method", method)
            raw["starts"][side][method] = measure(side, args, *words)
    return raw


def main() -> None:
    args = arguments()
    if args.report_only:
        last = json.loads((args.out / "overhead.json").read_text())
        overhead_report.write(last["raw"], last["config"], last["versions"], args.out)
        return
    others = {} if args.without_tfmot else tfmot_versions(args.tfmot_python)
    raw = measure_all(args)
    names = ("width", "batch", "blocks", "small_batch", "small_blocks", "steps", "threads")
    config = {name: getattr(args, name) for name in names}
    args.out.mkdir(parents=True, exist_ok=True)
    overhead_report.write(raw, config, writing.versions(**others), args.out)


if __name__ == "__main__":
    main()
