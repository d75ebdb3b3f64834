"""What the buffer, decompression and augmentation cost beside a step of ResNet-20.

    python benchmarks/streaming_speed.py

CIFAR-10 sized images, 6 bits and 66 % of the area, B = 100. CPU seconds of one process on two
threads, the parts of each step side by side; a step on two cores takes half of its CPU seconds.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import keras_sparse as ks
from keras_sparse.experiments.benchmark import Document, Script, Study, Table, Variant

HERE = Path(__file__).parent
AUGMENTS = {
    "none": None,
    "crop and flip": ks.streaming.StreamingAugment(
        policy=None, mixup_alpha=None, cutmix_alpha=None
    ),
    "all": ks.streaming.StreamingAugment(),
}


def run(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """CPU seconds of making, learning and storing each batch."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (config["steps"] + 200, 32, 32, 3), dtype=np.uint8)
    learner = ks.streaming.StreamingLearner(
        ks.models.resnet20(seed=0),
        capacity=1000,
        compression=ks.streaming.ImageCompression(bits=6, area=0.66),
        augment=AUGMENTS[config["augment"]],
        standardize=(127, 64),
    )
    batches = learner.batches
    for number in range(200):
        batches.store(images[number], number % 10)
    times: dict[str, list[float]] = {"making": [], "step": [], "storing": []}
    for number, image in enumerate(images[200:]):
        began = time.process_time()
        batch = batches.batch(image, number % 10)
        made = time.process_time()
        learner._step(*batch)
        learned = time.process_time()
        batches.store(image, number % 10)
        parts = (made - began, learned - made, time.process_time() - learned)
        for name, seconds in zip(times, parts, strict=True):
            times[name].append(seconds)
    return {name: float(np.median(values[3:])) for name, values in times.items()}


def describe(content: Mapping[str, Any]) -> Document:
    rows = []
    whole = {name: sum(times.values()) for name, times in content["seconds"].items()}
    for name, times in content["seconds"].items():
        beside, step = times["making"] + times["storing"], times["step"] / 2
        rows.append(
            (
                name,
                *(f"{1e3 * times[part]:.1f}" for part in ("making", "storing", "step")),
                f"{beside / step:.0%}",
                f"{1 / (beside + step):.2f}",
                f"{whole['none'] / whole[name]:.2f}",
            )
        )
    header = (
        "augmentation",
        "making a batch, ms",
        "storing, ms",
        "step, ms",
        "beside a step on two cores",
        "examples a second",
        "throughput over none",
    )
    return Document("What streaming costs beside a step", [Table("Cost", header, rows)])


def main() -> None:
    script = Script(__doc__, HERE / "results", steps=15)
    args = script.parser.parse_args()
    variants = {name: Variant({"augment": name, "steps": args.steps}) for name in AUGMENTS}

    def measure() -> dict[str, Any]:
        found = Study(variants, [0], run).timed(HERE / "build" / "streaming_speed", 2)
        return {"seconds": found}

    script.write(args, "streaming_speed", measure, describe)


if __name__ == "__main__":
    main()
