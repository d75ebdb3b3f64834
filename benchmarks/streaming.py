"""Cold-start streaming and its rivals: digits, and a subset of Fashion-MNIST.

    python benchmarks/streaming.py --part digits
    python benchmarks/streaming.py --part fashion_mnist

Omega is the mean over the testing events of the accuracy by that of a model that was trained
offline, from the same seed, on all that had come. Rivals are initialized on the first two classes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_sparse.experiments.benchmark import (
    Claim,
    Document,
    Script,
    Study,
    Variant,
    claims_table,
    lines,
    notes,
)
from keras_sparse.experiments.stream_run import stream_run
from keras_sparse.experiments.stream_summary import omegas, stream_table

HERE = Path(__file__).parent
RIVALS = ("slda", "exstream", "remind", "remind-extra", "icarl", "e2eil")
COMMON: dict[str, dict[str, Any]] = {
    "digits": {"data": "digits", "model": "mlp", "limit": 1000, "capacity": 300},
    "fashion_mnist": {
        "data": "fashion_mnist",
        "model": "small-conv",
        "limit": 600,
        "test_limit": 500,
        "capacity_mb": 0.1,
        "augment": "mix",
        "base_epochs": 20,
        "offline_epochs": 20,
    },
}
# They pass over each batch as often; the source's 70 epochs would take most of the study's time.
FEWER = {"icarl": {"base_epochs": 20}, "e2eil": {"base_epochs": 20}}
NOISY = {"noise": 96.0, "capacity": 60}
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "digits": {
        "offline": {"method": "offline"},
        "CSSL": {},
        "CSSL, pre-trained": {"method": "cssl-pretrained"},
        "CSSL, 90 % zeros": {"method": "sparse-cssl"},
        "no replay": {"method": "fine-tuning"},
        **{f"capacity {c}": {"capacity": c} for c in (30, 100, 1000)},
        "reservoir": {"eviction": "reservoir"},
        "uniform eviction": {"eviction": "uniform"},
        "Mixup instead of eviction": {"eviction": "mixup"},
        "4 bit": {"bits": 4},
        "2 bit": {"bits": 2},
        "frozen but for the last layer": {"method": "frozen", "frozen": "features"},
        "frozen but for the last two": {"method": "frozen", "frozen": "middle"},
        "full augmentation": {"augment": "full"},
        "offline, noisy": {"method": "offline", "offline_epochs": 20, **NOISY},
        "noisy, balanced": NOISY,
        "noisy, reservoir": {**NOISY, "eviction": "reservoir"},
        "noisy, uniform": {**NOISY, "eviction": "uniform"},
        **{name: {"method": name, **FEWER.get(name, {})} for name in RIVALS},
    },
    "fashion_mnist": {
        "offline": {"method": "offline"},
        "CSSL": {},
        "CSSL, pre-trained": {"method": "cssl-pretrained"},
        "CSSL, 90 % zeros": {"method": "sparse-cssl"},
        "no replay": {"method": "fine-tuning"},
        **{f"augmentation: {a}": {"augment": a} for a in ("none", "crop", "full")},
        "6 bit, 66 % area": {"bits": 6, "area": 0.66},
        **{name: {"method": name} for name in RIVALS[:3]},
    },
}
CLAIMS = {
    "digits": (
        Claim("CSSL", "no replay", 50),
        Claim("CSSL", "frozen but for the last layer", 8),
        Claim("CSSL", "capacity 30", 3),
        Claim("noisy, balanced", "noisy, uniform", 5),
        Claim("4 bit", "CSSL", -2),
        Claim("CSSL", "CSSL, pre-trained", -3),
        Claim("remind-extra", "remind", 0),
    ),
    "fashion_mnist": (
        Claim("CSSL", "augmentation: crop", -2),
        Claim("6 bit, 66 % area", "CSSL", -1),
        Claim("CSSL", "no replay", 30),
    ),
}


def describe(content: Mapping[str, Any]) -> Document:
    results = content["results"]
    other = {name: "offline, noisy" for name in results if name.startswith("noisy")}
    table = stream_table("Omega", results, other)

    def of(name: str, _: Any) -> list[float]:
        runs = results.get(name, [])
        return omegas(runs, results[other.get(name, "offline")]) if runs else []

    claimed = CLAIMS[content["config"]["data"]]
    first = {"better": lambda claim: claim.better, "than": lambda claim: claim.worse}
    seeds = len(results["offline"])
    shown = [name for name in ("offline", "CSSL", "no replay", *RIVALS) if name in results]
    curves = {
        name: [
            sum(run["accuracies"][i] for run in results[name]) / len(results[name])
            for i in range(len(results[name][0]["accuracies"]))
        ]
        for name in shown
    }
    return Document(
        f"Streaming {content['config']['data']}",
        [
            notes(
                [f"{name}: {value}" for name, value in content["config"].items()]
                + [f"seeds: {seeds}"]
            ),
            table,
            "Claims are in points of Omega.",
            claims_table("Claims", first, claimed, of),
        ],
        lines({"accuracy on the classes met": curves}, "testing event"),
        "Accuracy at each testing event.",
    )


def main() -> None:
    script = Script(
        __doc__, HERE / "results", choices={"part": tuple(COMMON)}, part="digits", seeds=3
    )
    part = script.args.part
    common = COMMON[part]
    variants = {name: Variant({**common, **own}) for name, own in VARIANTS[part].items()}
    study = Study(variants, range(script.args.seeds), stream_run)
    script.study(study, describe, common, name=f"streaming_{part}")


if __name__ == "__main__":
    main()
