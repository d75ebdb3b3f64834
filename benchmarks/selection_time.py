"""How long greedy selection takes: all candidates of 512 channels, and two workers against one.

    python benchmarks/selection_time.py

Each worker is a process of one thread. CPU seconds are those of the worker that has most; wall
clock time depends on what else the machine does.
"""

import json
import os
import sys
import time
from pathlib import Path

import keras
import numpy as np

import keras_sparse as ks
from keras_sparse.experiments.document import Document, Script, Table, notes
from keras_sparse.experiments.pool import CHILD
from keras_sparse.experiments.study import Study, Variant
from keras_sparse.experiments.summary import mean_and_spread

HERE = Path(__file__).parent
SAMPLES, CHANNELS, PICKS = 1000, 512, 3
WORK = {"units": 4000, "features": 784, "samples": 4000, "picks": 50}
VARIANTS = {
    "512 units, 10 classes": {"kind": "units"},
    "512 channels of 4 x 4, then a 3 x 3 convolution to 512": {"kind": "channels"},
    "one worker": {"kind": "workers", "count": 1, **WORK},
    "two workers": {"kind": "workers", "count": 2, **WORK},
}


def scored(kind: str, seed: int) -> ks.structured.GreedySelection:
    """A few picks among all of the channels, by the loss of the network."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 10, SAMPLES)
    head = keras.layers.Dense(10, activation="softmax")
    if kind == "units":
        x = generator.random((SAMPLES, CHANNELS)).astype("float32")
        head.build(x.shape)
        return ks.structured.select_channels(x, labels, lambda z: z, PICKS, consumer=head)
    x = generator.random((SAMPLES, 4, 4, CHANNELS)).astype("float32")
    consumer = keras.layers.Conv2D(CHANNELS, 3, padding="same", activation="relu")
    consumer.build(x.shape)
    head.build((None, CHANNELS))

    def rest(maps: object) -> object:
        return head(keras.ops.mean(maps, axis=(1, 2)))

    return ks.structured.select_channels(x, labels, rest, PICKS, consumer=consumer)


def run(config: dict, folder: Path) -> dict | None:
    """Seconds of one selection; of two workers starts them, and worker 0 returns the result."""
    if config.get("count", 1) > 1 and "TF_CONFIG" not in os.environ:
        status = ks.distribute.launch(CHILD, [str(folder)], config["count"], threads=1)
        return sys.exit(status) if status else None
    began, cpu = time.perf_counter(), time.process_time()
    if config["kind"] != "workers":
        seconds = scored(config["kind"], config["seed"]).seconds.tolist()
        return {"wall": seconds[-1] - seconds[0], "cpu": time.process_time() - cpu, "floats": 0}
    workers = ks.distribute.connect() if config["count"] > 1 else ks.distribute.alone()
    generator = np.random.default_rng(config["seed"])
    x = generator.normal(size=(config["samples"], config["features"]))
    kernel = generator.normal(size=(config["features"], config["units"])) / 28
    weights, y = generator.normal(size=config["units"]), generator.normal(size=config["samples"])
    workers.exchange()
    began, cpu = time.perf_counter(), time.process_time()
    found = ks.structured.distributed_selection(workers, x, kernel, weights, y, config["picks"])
    spent = time.perf_counter() - began, time.process_time() - cpu
    everyone = [json.loads(each) for each in workers.exchange(json.dumps(spent).encode())]
    wall, cpu = (max(side) for side in zip(*everyone, strict=True))
    picks = found.picks.tolist()
    return (
        None if workers.rank else {"wall": wall, "cpu": cpu, "floats": found.floats, "picks": picks}
    )


def describe(content: dict) -> Document:
    found, rows = content["results"], []
    for name, runs in found.items():
        times = [mean_and_spread([one[side] for one in runs])[0] for side in ("wall", "cpu")]
        rows.append((name, *(f"{each:.2f}" for each in times), str(runs[0]["floats"] or "")))
    one, two = found["one worker"], found["two workers"]
    ratios = [
        np.median([b[s] / a[s] for a, b in zip(one, two, strict=True)]) for s in ("wall", "cpu")
    ]
    same = all(a["picks"] == b["picks"] for a, b in zip(one, two, strict=True))
    lines = [
        f"512 units and channels: {SAMPLES:,} samples; wall-clock time of {PICKS - 1} picks after "
        "the first, each of all candidates, and CPU time of everything, compilation included.",
        f"Workers: {WORK['units']:,} units, {WORK['samples']:,} samples, {WORK['picks']} picks, "
        f"activations included; the picks are {'equal' if same else 'not equal'}.",
        f"Two workers take {ratios[0]:.2f} times the wall-clock and {ratios[1]:.2f} times the CPU "
        "time of one (medians of pairs).",
    ]
    header = ("selection", "wall s", "CPU s", "numbers told")
    return Document("The time of greedy selection", [Table("Seconds", header, rows), notes(lines)])


def main() -> None:
    script = Script(__doc__, HERE / "results", repeats=3)
    args = script.parser.parse_args()
    variants = {name: Variant(config) for name, config in VARIANTS.items()}

    def measure() -> dict:
        study = Study(variants, range(args.repeats), run)
        return {"results": study.make(HERE / "build" / "selection_time", 1)}

    script.write(args, "selection_time", measure, describe)


if __name__ == "__main__":
    main()
