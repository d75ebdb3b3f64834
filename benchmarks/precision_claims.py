"""What is said of low precision, held against what `precision.py` measured."""

import dataclasses

import numpy as np
from precision_tasks import STATIC

from keras_sparse.experiments import benchmark as bench
from keras_sparse.precision.schedules.cyclic import SUITE


@dataclasses.dataclass
class Claims:
    """Statements on metrics of the same seeds, a row each."""

    found: dict[str, list[float]]
    rows: list[tuple[str, ...]] = dataclasses.field(default_factory=list)

    def at_least(self, says: str, better: list[float], worse: list[float], margin: float) -> None:
        """That the mean of differences, in the metric's units, is at least a margin."""
        apart = [a - b for a, b in zip(better, worse, strict=True)]
        holds = "holds" if np.mean(apart) >= margin else "does not hold"
        spread = f"{bench.spread(apart):.2f}" if len(apart) > 1 else ""
        self.rows.append((says, f"{margin:+.2f}", f"{np.mean(apart):+.2f}", spread, holds))

    def mean_of(self, names: list[str]) -> list[float]:
        """The mean over several variants, for each seed."""
        return np.mean([self.found[name] for name in names], axis=0).tolist()


FAMILIES = {
    **{f"group {n}": [s for s in SUITE if SUITE[s][3] == n] for n in ("I", "II", "III")},
    **{form: [s for s in SUITE if SUITE[s][1] == form] for form in ("repeated", "triangular")},
    "static low": ["static low"],
}


def families_of(found: dict[str, list[float]]) -> list[tuple[str, ...]]:
    """How far the mean over some schedules is from static training, in the metric's units."""
    rows = []
    for place in dict.fromkeys(
        name.removesuffix(STATIC) for name in found if name.endswith(STATIC)
    ):
        known = {name.removeprefix(place): of for name, of in found.items() if place in name}
        for family, names in FAMILIES.items():
            if all(name in known for name in (STATIC, *names)):
                means = np.mean([known[name] for name in names], axis=0)
                apart = (means - known[STATIC]).tolist()
                spread = f"{bench.spread(apart):.2f}" if len(apart) > 1 else ""
                rows.append((f"{place}{family}", f"{np.mean(apart):+.2f}", spread))
    return rows


def claims_of(part: str, setting: dict, found: dict[str, list[float]]) -> list[tuple[str, ...]]:
    """What the source and the specification state, of percent or perplexity."""
    claims = Claims(found)
    cyclic = [name for name in found if name in SUITE]
    groups = {
        group: [name for name in cyclic if SUITE[name][3] == group] for group in ("I", "II", "III")
    }
    static = found.get(STATIC, [])
    if part == "digits":
        one, two, three = (claims.mean_of(groups[group]) for group in ("I", "II", "III"))
        claims.at_least("group III above group I", three, one, 0.4)
        claims.at_least("group II not below group I", two, one, 0.0)
        claims.at_least("group III near static", three, static, -0.5)
        for name in cyclic:
            claims.at_least(f"{name} above static low", found[name], found["static low"], 2.0)
    if part == "noisy":
        for name in cyclic:
            claims.at_least(f"{name} near static", found[name], static, -1.0)
        claims.at_least("mean of all near static", claims.mean_of(cyclic), static, -0.3)
    if part in ("periods", "graph_periods"):
        unit = setting["steps"] // 2
        short, long = found[f"deficit {unit}"], found[f"deficit {4 * unit}"]
        early, late = found["window 0"], found[f"window {3 * unit // 2}"]
        claims.at_least(f"no deficit above one of {unit}", found["no deficit"], short, 0.3)
        claims.at_least(f"one of {unit} above {4 * unit}", short, long, 0.0)
        claims.at_least("late window not worse", late, early, -0.3)
    if part == "graphs":
        for graph in ("cora", "citeseer"):
            full, rounded = (
                {name: found.get(f"{graph} {way} {name}") for name in (STATIC, "static low")}
                for way in ("full", "quantized")
            )
            says = f"{graph}: at 8 bits, quantized aggregation within a point"
            claims.at_least(says, rounded[STATIC], full[STATIC], -1.0)
            if full["static low"]:
                says = f"{graph}: at 3 bits, full aggregation not worse"
                claims.at_least(says, full["static low"], rounded["static low"], -0.5)
    if part == "text":
        for name in cyclic:
            limit = [1.05 * value for value in static]
            claims.at_least(f"{name} within 1.05 of static", limit, found[name], 0.0)
    if part == "images":
        for name in cyclic:
            claims.at_least(f"{name} near static", found[name], static, -1.5)
        narrow = [f"{name}, at most 6" for name in cyclic]
        says = "8 bits against 6, mean over the schedules"
        claims.at_least(says, claims.mean_of(cyclic), claims.mean_of(narrow), -0.5)
    return claims.rows
