"""Seconds that `one_shot_sweep` takes for ResNet-20 and the test images of CIFAR-10.

    python benchmarks/one_shot_sweep.py

Eight sparsities, each evaluated on 10,000 images after batch-norm tuning on 1,000, and once more
with evaluations before the tuning too (`evaluate_untuned=True`). What it takes does not depend on
the weights, which are those of a new model. Each repeat has all the machine's cores, from the
compiled model to the finished table and picture.
"""

import statistics
import time
from pathlib import Path

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench

SPARSITIES = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
CALIBRATION = 1000
EVALUATED = {"tuned": False, "before and after tuning": True}
COLUMNS = {
    "seconds": bench.cell("seconds", ".0f", statistics.median),
    "least": bench.cell("seconds", ".0f", min),
    "most": bench.cell("seconds", ".0f", max),
    "CPU s": bench.cell("cpu_seconds", ".0f", statistics.median),
}


def run(config: dict, folder: Path) -> dict[str, float]:
    """One sweep: seconds by the wall's clock and by the processor's."""
    cifar = ks.data.load("cifar10", limit=CALIBRATION)
    model = bench.compiled(ks.models.resnet20(width=config["width"], seed=0), rate=0.01)
    options = {"calibration": cifar.x_train, "evaluate_untuned": config["untuned"]}
    shown = {"path": folder / "sweep.png", "verbose": False}
    wall, cpu = time.perf_counter(), time.process_time()
    ks.one_shot_sweep(model, cifar.test, sparsities=SPARSITIES, **options, **shown)
    return {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}


def describe(content: dict) -> bench.Document:
    width, repeats = content["config"]["width"], len(content["results"]["tuned"])
    title = f"one_shot_sweep, ResNet-20 of width {width}, medians of {repeats}"
    table = bench.by_variant(title, "evaluated", COLUMNS, content["results"])
    return bench.Document(title, [table])


if __name__ == "__main__":
    script = bench.Script(__doc__, width=16, repeats=3)
    width = script.args.width
    variants = {n: bench.Variant({"width": width, "untuned": u}) for n, u in EVALUATED.items()}
    study = bench.Study(variants, range(script.args.repeats), run)
    config = {"width": width, "sparsities": SPARSITIES, "calibration": CALIBRATION}
    script.study(study, describe, config, anew=True, processes=1, threads=None)
