"""Cold-start streaming and its rivals.

    python benchmarks/streaming.py --part digits
    python benchmarks/streaming.py --part cifar10

Parts: `digits`, `fashion_mnist` and `cifar10` have all methods; `grid` has buffers of equal bytes
and different compression, `orders` four orderings, `base` as many classes as rivals are given to
begin with, and `classes` a test after each class. Omega is the mean over the testing events of the
accuracy by that of a model that was trained offline, from the same seed, on all that had come.
Rivals are initialized on the first two classes where nothing else is said.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_sparse.experiments.benchmark import (
    Claim,
    Document,
    Script,
    Study,
    Table,
    Variant,
    by_variant,
    claims_table,
    lines,
    mean,
    notes,
    percent,
)
from keras_sparse.experiments.stream_run import stream_run
from keras_sparse.experiments.stream_summary import omegas, stream_table

HERE = Path(__file__).parent
OFFLINE = "offline"
RIVALS = ("slda", "exstream", "remind", "remind-extra", "icarl", "e2eil")
DIGITS = {"data": "digits", "model": "mlp", "limit": 1000, "capacity": 300}
IMAGES: dict[str, Any] = {
    "model": "small-conv",
    "limit": 600,
    "test_limit": 500,
    "augment": "mix",
    # Few images make few steps of an epoch: after 40 the reference knows half of Fashion-MNIST.
    "base_epochs": 200,
    "offline_epochs": 200,
    "batch_norm_momentum": 0.9,
}
COMMON: dict[str, dict[str, Any]] = {
    "digits": DIGITS,
    "fashion_mnist": {**IMAGES, "data": "fashion_mnist", "capacity_mb": 0.1},
    "cifar10": {**IMAGES, "data": "cifar10", "capacity_mb": 0.4},
    "grid": {**IMAGES, "data": "fashion_mnist", "capacity_mb": 0.1},
    "orders": DIGITS,
    "base": DIGITS,
    "classes": {**DIGITS, "events": "class"},
}
# They pass over each batch as often; the source's 70 epochs would take most of the study's time.
FEWER = {"icarl": {"base_epochs": 20}, "e2eil": {"base_epochs": 20}}
AS_SOURCE = {"icarl": {"base_epochs": 70}, "e2eil": {"base_epochs": 70}}
NOISY = {"noise": 96.0, "capacity": 60}
MAIN: dict[str, dict[str, Any]] = {
    OFFLINE: {"method": "offline"},
    "CSSL": {},
    "CSSL, pre-trained": {"method": "cssl-pretrained"},
    "CSSL, 90 % zeros": {"method": "sparse-cssl"},
    "no replay": {"method": "fine-tuning"},
}
ON_IMAGES = {
    **MAIN,
    **{f"augmentation: {a}": {"augment": a} for a in ("none", "crop", "mixup", "cutmix", "full")},
    "6 bit, 66 % area": {"bits": 6, "area": 0.66},
    **{name: {"method": name, **AS_SOURCE.get(name, {})} for name in RIVALS},
}
GRID = ((6, 1.0), (4, 1.0), (8, 0.66), (8, 0.5), (6, 0.66), (4, 0.66))
ORDERS = {"iid": "iid", "classes mixed": "class-iid"}
ORDERS |= {"instance": "instance", "class-instance": "class-instance"}
ORDERED = {OFFLINE: "offline", "CSSL": "cssl", "slda": "slda", "exstream": "exstream"}
ORDERED |= {"remind": "remind", "remind-extra": "remind-extra"}
BASES, BASE = (2, 4, 6, 8), 4
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "digits": {
        **MAIN,
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
    "fashion_mnist": ON_IMAGES,
    "cifar10": ON_IMAGES,
    "grid": {
        OFFLINE: {"method": "offline"},
        "8 bit, 100 % area": {},
        **{f"{b} bit, {a:.0%} area".replace("%", " %"): {"bits": b, "area": a} for b, a in GRID},
    },
    "orders": {
        f"{name}, {label}": {"method": method, "order": order}
        for label, order in ORDERS.items()
        for name, method in ORDERED.items()
    },
    "base": {
        OFFLINE: {"method": "offline"},
        "CSSL": {},
        **{
            f"{name}, {n} classes": {"method": name, "base_classes": n}
            for name in ("cssl-pretrained", "slda", "exstream", "remind", "remind-extra")
            for n in BASES
        },
    },
    "classes": {
        OFFLINE: {"method": "offline"},
        "CSSL": {},
        **{
            label: {"method": method, "base_classes": BASE}
            for label, method in {
                "CSSL, pre-trained": "cssl-pretrained",
                **{name: name for name in RIVALS[:4]},
            }.items()
        },
    },
}
COMPARED = ("digits", "fashion_mnist", "cifar10")
MORE_BASE = tuple(zip(BASES[1:], BASES, strict=False))
AUGMENTED = (
    Claim("CSSL", "augmentation: crop", -2),
    Claim("6 bit, 66 % area", "CSSL", -1),
    Claim("CSSL", "no replay", 30),
    Claim("CSSL", "CSSL, pre-trained", -3),
    Claim("CSSL", "remind-extra", 3),
    Claim("remind-extra", "remind", 0),
)
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
    "fashion_mnist": AUGMENTED,
    "cifar10": AUGMENTED,
    "grid": (Claim("6 bit, 66 % area", "8 bit, 100 % area", -1),),
    "orders": tuple(
        Claim(f"CSSL, {label}", f"{rival}, {label}", 0)
        for label in ORDERS
        for rival in tuple(ORDERED)[2:]
    ),
    "base": tuple(
        Claim(f"{name}, {more} classes", f"{name}, {less} classes", 0)
        for name in ("remind", "remind-extra")
        for more, less in MORE_BASE
    ),
    "classes": (Claim("CSSL", "remind", 0), Claim("CSSL, pre-trained", "remind", 0)),
}


def references(results: Mapping[str, Any]) -> dict[str, str]:
    """The offline run of each variant that has another than `"offline"`."""
    found = {name: "offline, noisy" for name in results if name.startswith("noisy")}
    for label in ORDERS:
        of_order = f"{OFFLINE}, {label}"
        found |= {name: of_order for name in results if name.endswith(f", {label}")}
    return found


def falls(results: Mapping[str, Any]) -> Table:
    """What the first class that a method was not initialized on does to its accuracy."""
    rows = []
    for name, runs in results.items():
        at = [[run["accuracies"][i] for run in runs] for i in (BASE - 1, BASE, -1)]
        fall = [after - before for before, after in zip(at[0], at[1], strict=True)]
        rows.append((name, *(percent(values) for values in (at[0], at[1], fall, at[2]))))
    header = (f"{BASE} classes, %", f"{BASE + 1} classes, %", "change, points", "all classes, %")
    return Table("First class that is new", ("method", *header), rows)


def errors(results: Mapping[str, Any]) -> Table:
    """The classes that others are taken for in the end, by when they came (Wolfe 2023, Fig. 30)."""
    share: dict[str, Callable[[np.ndarray], float]] = {
        "right of the first two": lambda counts: rights(counts)[:2].mean(),
        "right of the last two": lambda counts: rights(counts)[-2:].mean(),
        "errors to the last two": lambda counts: taken(counts)[-2:].sum(),
        "errors to the last": lambda counts: taken(counts)[-1],
    }

    def rights(counts: np.ndarray) -> np.ndarray:
        return counts.diagonal() / counts.sum(1)

    def taken(counts: np.ndarray) -> np.ndarray:
        wrong = counts - np.diag(counts.diagonal())
        return wrong.sum(0) / wrong.sum()

    def cell_of(value: Callable[[np.ndarray], float]) -> Callable[[Any], str]:
        return lambda runs: percent([value(np.array(run["confusion"])) for run in runs])

    shown = {name: runs for name, runs in results.items() if "confusion" in runs[0]}
    columns = {f"{name}, %": cell_of(value) for name, value in share.items()}
    return by_variant("Classes that came first and last", "method", columns, shown)


def describe(content: Mapping[str, Any]) -> Document:
    results, config = content["results"], content["config"]
    part = config.get("part", config["data"])
    other = references(results)
    table = stream_table("Omega", results, other)

    def of(name: str, _: Any) -> list[float]:
        runs = results.get(name, [])
        return omegas(runs, results[other.get(name, OFFLINE)]) if runs else []

    first = {"better": lambda claim: claim.better, "than": lambda claim: claim.worse}
    seeds = len(next(iter(results.values())))
    shown = {name: runs for name, runs in results.items() if name in (OFFLINE, "CSSL", *RIVALS)}
    shown |= {name: results[name] for name in ("no replay",) if name in results}
    if part == "classes":
        shown = results
    panels = {"accuracy on the classes met": _curves(shown)}
    if part == "orders":
        panels = {
            label: _curves({m: results[f"{m}, {label}"] for m in ORDERED}) for label in ORDERS
        }
    elif part in ("base", "grid"):
        panels = {
            "accuracy on the classes met": _curves(
                {n: r for n, r in results.items() if part == "grid" or n.startswith("remind,")}
            )
        }
    blocks: list[str | Table] = [
        notes([f"{name}: {value}" for name, value in config.items()] + [f"seeds: {seeds}"]),
        table,
    ]
    if part == "classes":
        blocks.append(falls(results))
    if part in COMPARED:
        blocks.append(errors({n: r for n, r in results.items() if not n.startswith("noisy")}))
    blocks += ["Claims are in points of Omega.", claims_table("Claims", first, CLAIMS[part], of)]
    title = f"Streaming {part}"
    return Document(
        title, blocks, lines(panels, "testing event"), "Accuracy at each testing event."
    )


def _curves(results: Mapping[str, Any]) -> dict[str, list[float]]:
    return {
        name: [mean(at) for at in zip(*(run["accuracies"] for run in runs), strict=True)]
        for name, runs in results.items()
    }


def main() -> None:
    script = Script(
        __doc__,
        HERE / "results",
        choices={"part": tuple(COMMON)},
        part="digits",
        seeds=3,
        limit=int,
        test_limit=int,
        base_epochs=int,
        offline_epochs=int,
        batch_norm_momentum=float,
    )
    part = script.args.part
    common = script.chosen(COMMON[part])
    variants = {name: Variant({**common, **own}) for name, own in VARIANTS[part].items()}
    study = Study(variants, range(script.args.seeds), stream_run)
    script.study(study, describe, {"part": part, **common}, name=f"streaming_{part}")


if __name__ == "__main__":
    main()
