"""Seconds that a mask update takes on a model of 25 million weights.

    python benchmarks/mask_update.py

ResNet-50 for small images; GMP ranks all its weights together, RigL those of each layer. In one
process a model whose masks are updated in every step and one whose masks stay take steps in turn;
an update is the difference.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import writing
from overhead_run import METHODS
from processes import HERE, run_script
from stepping import Trial, paired, synthetic_batches

NAME = "mask_update"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", nargs="+", default=["gmp", "rigl"])
    parser.add_argument("--blocks", type=int, default=9, help="turns")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--write", type=Path, help="JSON file of one measurement (internal)")
    return parser.parse_args()


def trial(callback: Any, steps: int) -> Trial:
    keras.utils.set_random_seed(0)
    model = keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3), classes=1000)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "sparse_categorical_crossentropy")
    return Trial(keras, model, [callback], synthetic_batches(2), steps)


def measure(method: str, blocks: int) -> dict[str, Any]:
    """Seconds of updates, by the wall's clock and by the processor's, for each turn."""
    steps = 3 + blocks + 1000
    quiet = trial(METHODS[method].quiet(f"{steps}st"), steps)
    busy = trial(METHODS[method].busy(), steps)
    times = paired({"quiet": quiet, "busy": busy}, blocks, 1, lambda n: print(n, flush=True))
    updates = np.array(times["busy"]) - np.array(times["quiet"])
    weights = sum(
        mask.shape.num_elements() for mask in quiet.callbacks.callbacks[0].optimizer.masks
    )
    return {"weights": weights, "seconds": updates[:, 0].tolist(), "cpu": updates[:, 1].tolist()}


def main() -> None:
    args = arguments()
    if args.write:
        args.write.write_text(json.dumps(measure(args.methods[0], args.blocks)))
        return
    results = {}
    for method in args.methods:
        with tempfile.TemporaryDirectory() as folder:
            written, log = Path(folder) / "result.json", Path(folder) / "log"
            words = ["--methods", method, "--blocks", str(args.blocks), "--write", str(written)]
            with log.open("w") as file:
                if run_script(f"{NAME}.py", words, file, threads=args.threads):
                    sys.exit(log.read_text()[-3000:])
            results[method] = json.loads(written.read_text())
    content = {
        "command": writing.command(),
        "machine": writing.machine(),
        "versions": writing.versions(),
        "config": {"blocks": args.blocks, "threads": args.threads},
        "results": results,
    }
    args.out.mkdir(parents=True, exist_ok=True)
    writing.write_json(args.out / f"{NAME}.json", content)
    header = ("method", "weights", "seconds", "quartiles", "CPU s")
    rows = []
    for method, result in results.items():
        low, middle, high = np.percentile(result["seconds"], (25, 50, 75))
        spread, cpu = f"{low:.2f} to {high:.2f}", f"{np.median(result['cpu']):.2f}"
        rows.append((method, f"{result['weights']:,}", f"{middle:.2f}", spread, cpu))
    writing.print_table("A mask update, ResNet-50", header, rows)


if __name__ == "__main__":
    main()
