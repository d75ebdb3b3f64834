"""How long selection takes: greedy among 512 channels, by two workers, and in all of ResNet-20.

    python benchmarks/selection_time.py

Each worker is a process of one thread. CPU seconds are those of the worker that has most; wall
clock time depends on what else the machine does. In ResNet-20 half the filters inside of each block
stay: i-SpaSP looks at all samples, greedy forward selection at few of them and of the candidates.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_sparse as ks
from keras_sparse.experiments.document import Document, Script, Table, notes
from keras_sparse.experiments.pool import CHILD
from keras_sparse.experiments.study import Study, Variant
from keras_sparse.experiments.summary import mean_and_spread

HERE = Path(__file__).parent
SIZES = {"samples": 1000, "channels": 512}
SHARED = {"samples": 500, "channels": 256, "kind": "channels"}
VARIANTS = {
    "512 units, 10 classes": {**SIZES, "kind": "units"},
    "512 channels of 4 x 4, then a 3 x 3 convolution to 512": {**SIZES, "kind": "channels"},
    "256 channels, one worker": {**SHARED, "workers": 1},
    "256 channels, two workers": {**SHARED, "workers": 2},
}
NETWORK = {"samples": 1000, "width": 16, "keep": 0.5, "candidates": 16, "drawn": 128}
NETWORKS = {
    f"ResNet-20, {name}": {**NETWORK, "kind": name}
    for name in ("i-SpaSP", "greedy forward selection")
}
PICKS = 5


def selected(config: dict, picks: int, workers: ks.distribute.Communicator) -> dict:
    """Picks among all of the channels, by the loss of the network, and what they took."""
    generator = np.random.default_rng(config["seed"])
    keras.utils.set_random_seed(config["seed"])
    samples, channels = config["samples"], config["channels"]
    labels = generator.integers(0, 10, samples)
    head = consumer = keras.layers.Dense(10, activation="softmax")
    x = generator.random((samples, channels)).astype("float32")
    head.build(x.shape)
    if config["kind"] == "channels":
        x = generator.random((samples, 4, 4, channels)).astype("float32")
        consumer = keras.layers.Conv2D(channels, 3, padding="same", activation="relu")
        consumer.build(x.shape)

    def rest(made: Any) -> Any:
        return made if consumer is head else head(keras.ops.mean(made, axis=(1, 2)))

    shared = workers if workers.count > 1 else None
    began, cpu = time.perf_counter(), time.process_time()
    found = ks.structured.select_channels(x, labels, rest, picks, consumer=consumer, workers=shared)
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    return {"wall": wall, "cpu": cpu, "picks": found.picks.tolist(), "floats": found.floats}


def pruned(config: dict) -> dict:
    """Seconds of pruning a whole network."""
    generator = np.random.default_rng(config["seed"])
    model = ks.models.resnet20(width=config["width"], seed=config["seed"])
    x = generator.normal(size=(config["samples"], 32, 32, 3)).astype("float32")
    y = generator.integers(0, 10, config["samples"])
    method: Any = ks.structured.ISpaSP()
    if config["kind"] != "i-SpaSP":
        method = ks.structured.GreedyForwardSelection(
            num_candidates=config["candidates"], samples=config["drawn"], seed=config["seed"]
        )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    began, cpu = time.perf_counter(), time.process_time()
    ks.structured.prune_layerwise(model, (x, y), method, keep=config["keep"], loss=loss)
    return {"wall": time.perf_counter() - began, "cpu": time.process_time() - cpu}


def run(config: dict, folder: Path) -> dict | None:
    """Seconds of a network or a pick; of two workers starts them, and worker 0 returns them."""
    if "keep" in config:
        return pruned(config)
    several = config.get("workers", 1) > 1
    if several and "TF_CONFIG" not in os.environ:
        status = ks.distribute.launch(CHILD, [str(folder)], config["workers"], threads=1)
        return sys.exit(status) if status else None
    workers = ks.distribute.connect() if several else ks.distribute.alone()
    _, one, more = (selected(config, picks, workers) for picks in (1, 1, 1 + PICKS))
    spent = [(more[side] - one[side]) / PICKS for side in ("wall", "cpu")]
    everyone = [json.loads(each) for each in workers.exchange(json.dumps(spent).encode())]
    wall, cpu = (max(side) for side in zip(*everyone, strict=True))
    return None if workers.rank else {**more, "wall": wall, "cpu": cpu}


def describe(content: dict) -> Document:
    found = content["results"]

    def table(title: str, first: str, names: Any) -> Table:
        rows = []
        for name in names:
            runs = found[name]
            times = [mean_and_spread([one[side] for one in runs])[0] for side in ("wall", "cpu")]
            told = str(runs[0].get("floats") or "")
            rows.append((name, *(f"{each:.2f}" for each in times), told))
        return Table(title, (first, "wall s", "CPU s", "numbers told"), rows)

    def ratio(one: str, two: str, side: str) -> float:
        pairs = zip(found[one], found[two], strict=True)
        return float(np.median([b[side] / a[side] for a, b in pairs]))

    *_, one, two = VARIANTS
    fast, slow = NETWORKS
    pairs = list(zip(found[one], found[two], strict=True))
    ratios = [ratio(one, two, side) for side in ("wall", "cpu")]
    faster = ratio(fast, slow, "cpu")
    same = all(a["picks"] == b["picks"] for a, b in pairs)
    lines = [
        f"Seconds of one pick among all channels, mean of {PICKS}: without what is done once, such "
        "as compiling. 512 channels are scored on 1,000 samples, 256 on 500.",
        f"Two workers take {ratios[0]:.2f} times the wall-clock and {ratios[1]:.2f} times the CPU "
        f"time of one (medians of pairs); their picks are {'equal' if same else 'not equal'}. At "
        f"most 0.6 of the CPU time: {'holds' if ratios[1] <= 0.6 else 'does not hold'}.",
        f"Seconds of ResNet-20 of width {NETWORK['width']} are those of all of its layers, with "
        f"{NETWORK['keep']:.0%} of the filters inside of blocks kept on {NETWORK['samples']:,} "
        f"samples; greedy forward selection compares {NETWORK['candidates']} random filters on "
        f"{NETWORK['drawn']} samples for each pick.",
        f"i-SpaSP takes {faster:.1f} times less CPU time (median of pairs). At least 10 times: "
        f"{'holds' if faster >= 10 else 'does not hold'}.",
    ]
    blocks = [table("Seconds of a pick", "selection", VARIANTS)]
    blocks.append(table("Seconds of a network", "network", NETWORKS))
    return Document("The time of selection", [*blocks, notes(lines)])


def main() -> None:
    script = Script(__doc__, HERE / "results", repeats=3)
    args = script.parser.parse_args()
    variants = {name: Variant(config) for name, config in {**VARIANTS, **NETWORKS}.items()}

    def measure() -> dict:
        study = Study(variants, range(args.repeats), run)
        return {"results": study.make(HERE / "build" / "selection_time", 1)}

    script.write(args, "selection_time", measure, describe)


if __name__ == "__main__":
    main()
