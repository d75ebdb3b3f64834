"""What approximate isometry and a signal report take, in seconds and memory.

    python benchmarks/isometry_time.py

The kernels of ResNet-50 at 90 % zeros, chosen at random over all layers, from Keras's own weights
at random; and a report of ResNet-20 on 100 images. Each is a process of its own, which may use all
cores. Seconds of the processor are beside those of the clock, which count what else the machine
does.
"""

import resource
import time
from pathlib import Path

import keras
import numpy as np

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench


def isometry() -> dict[str, float]:
    """Prunes ResNet-50 at random, and makes it isometric."""
    model = keras.applications.ResNet50(weights=None)
    generator = np.random.default_rng(0)
    for variable in model.trainable_variables:
        if variable.name == "kernel":
            value = np.asarray(variable)
            variable.assign(np.where(generator.random(value.shape) < 0.1, value, 0))
    spent = clock()
    report = ks.enforce_isometry(model, verbose=False)
    found = {"before": report.before, "after": report.after}
    return {**since(spent), **found, "kernels": len(report.rows)}


def signals() -> dict[str, float]:
    """Reports on ResNet-20."""
    model = ks.models.get("resnet20", seed=0)
    x = np.random.default_rng(0).normal(size=(100, 32, 32, 3)).astype("float32")
    spent = clock()
    report = ks.signal_report(model, x)
    found = {"before": report.orthogonality, "after": report.orthogonality}
    return {**since(spent), **found, "kernels": len(report.rows)}


RUNS = {"isometry": isometry, "signals": signals}
SHOWN = {
    "isometry": ("isometry of ResNet-50's kernels at 90 %", 180, 2.0),
    "signals": ("signal report of ResNet-20 on 100 images", 30, None),
}


def clock() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def since(began: tuple[float, float]) -> dict[str, float]:
    wall, processor = began
    return {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - processor,
        "bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def run(config: dict, folder: Path) -> dict[str, float]:
    """Seconds, and the most memory that the process has had, with TensorFlow and the model."""
    return RUNS[config["what"]]()


def describe(content: dict) -> bench.Document:
    rows = []
    for name, found in content["results"].items():
        title, seconds, gibibytes = SHOWN[name]
        allowed = f"{seconds} s" + (f", {gibibytes:g} GiB" if gibibytes else "")
        memory = found["bytes"] / 2**30
        quick = found["seconds"] <= seconds and (not gibibytes or memory <= gibibytes)
        rows.append(
            (
                title,
                f"{found['kernels']}",
                f"{found['seconds']:.0f}",
                f"{found['cpu_seconds']:.0f}",
                f"{memory:.2f}",
                f"{found['before']:.2f} -> {found['after']:.2f}" if name == "isometry" else "",
                allowed,
                "holds" if quick else "does not hold",
            )
        )
    header = ("what", "kernels", "seconds", "of processor", "GiB", "score", "allowed", "")
    text = (
        "The memory is the most that the whole process had, TensorFlow and the model included. "
        "Other work on the machine makes the seconds of the clock more, not those of the processor."
    )
    return bench.Document("What isometry takes", [bench.Table("Time", header, rows), text])


if __name__ == "__main__":
    script = bench.Script(__doc__)
    study = bench.Study({name: bench.Variant({"what": name}) for name in RUNS}, [0], run)

    def measure() -> dict:
        return {"results": study.timed(script.build, threads=None)}

    script.write(script.args, script.path.stem, measure, describe)
