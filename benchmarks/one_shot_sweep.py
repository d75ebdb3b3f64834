"""Seconds that `one_shot_sweep` takes for ResNet-20 and the test images of CIFAR-10.

    python benchmarks/one_shot_sweep.py

Eight sparsities, each evaluated on 10,000 images after batch-norm tuning on 1,000, and once more
with evaluations before the tuning too (`evaluate_untuned=True`). What it takes does not depend on
the weights, which are those of a new model. Each repeat is a process of its own with all the
machine's cores, from the compiled model to the finished table and picture.
"""

import shutil
import statistics
import time
from pathlib import Path

import keras

import keras_sparse as ks
from keras_sparse.experiments.document import Document, Script, Table
from keras_sparse.experiments.study import Study, Variant

HERE = Path(__file__).parent
SPARSITIES = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
CALIBRATION = 1000


def run(config: dict, folder: Path) -> dict[str, float]:
    """One sweep: seconds by the wall's clock and by the processor's."""
    cifar = ks.data.load("cifar10", limit=CALIBRATION)
    model = ks.models.resnet20(width=config["width"], seed=0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"])
    wall, processor = time.perf_counter(), time.process_time()
    ks.one_shot_sweep(
        model,
        cifar.test,
        sparsities=SPARSITIES,
        calibration=cifar.x_train,
        evaluate_untuned=config["untuned"],
        path=folder / "sweep.png",
        verbose=False,
    )
    return {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - processor,
    }


def describe(content: dict) -> Document:
    rows = []
    for name, runs in content["results"].items():
        seconds = [run["seconds"] for run in runs]
        cpu = statistics.median(run["cpu_seconds"] for run in runs)
        shown = (statistics.median(seconds), min(seconds), max(seconds), cpu)
        rows.append((name, *(f"{value:.0f}" for value in shown)))
    repeats = len(next(iter(content["results"].values())))
    width = content["config"]["width"]
    title = f"one_shot_sweep, ResNet-20 of width {width}, medians of {repeats}"
    return Document(title, [Table(title, ("evaluated", "seconds", "least", "most", "CPU s"), rows)])


def main() -> None:
    script = Script(__doc__, HERE / "results", width=16, repeats=3)
    args = script.parser.parse_args()
    variants = {
        name: Variant({"width": args.width, "untuned": untuned})
        for name, untuned in {"tuned": False, "before and after tuning": True}.items()
    }
    build = HERE / "build" / "one_shot_sweep"

    def measure() -> dict:
        shutil.rmtree(build, ignore_errors=True)  # Seconds of another day are no repeats.
        results = Study(variants, range(args.repeats), run).make(build, processes=1, threads=None)
        medians = {n: statistics.median(r["seconds"] for r in runs) for n, runs in results.items()}
        config = {"width": args.width, "sparsities": SPARSITIES, "calibration": CALIBRATION}
        return {"config": config, "results": results, "median_seconds": medians}

    script.write(args, "one_shot_sweep", measure, describe)


if __name__ == "__main__":
    main()
