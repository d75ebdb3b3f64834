"""How fast the losses of i-SpaSP and greedy forward selection fall, on matrices made for it.

    python benchmarks/selection_rates.py

i-SpaSP (Wolfe 2023, Figure 8, C.1.1): hidden activations of 100 samples whose ordered row sums use
up 1 / j^(1/p), a next layer of Gaussian weights, all sizes. Beside it the largest row sums, random
units, and the bound of Theorem 3; and how the bound is approached iteration by iteration. Greedy
forward selection (Theorem 1): the loss over the picks for labels inside of the hull of neurons.
"""

import itertools
from pathlib import Path
from typing import Any

import numpy as np

import keras_sparse as ks
from keras_sparse.analysis.bounds.i_spasp import fit_compressibility, residual_bound
from keras_sparse.experiments import benchmark as bench
from keras_sparse.plots import pretraining_curve

SAMPLES, ITERATIONS, SHOWN = 100, 20, 20
POWERS, WIDTHS, SIZES = (0.3, 0.5, 0.7, 0.9), (100, 200), (5, 10, 20, 40, 60, 80, 95)
NEURONS, OUTPUTS, PICKS = 1000, 50, 300
ABOUT = f"""\
{ITERATIONS} iterations. Residuals are Frobenius norms of what the pruned outputs miss. The slope is
that of the squared residual over the size, both as logarithms, of sizes up to 40 of 100 and 80 of
200; Theorem 3 has 2 (1 - 1/p). p is fitted to the row sums as `fit_compressibility` does."""


def hidden(random: np.random.Generator, width: int, p: float) -> np.ndarray:
    """Activations at least 0 of units whose sums use up 1 / j^(1/p), shuffled, (samples, units)."""
    left = np.arange(1, width + 1) ** (-1 / p)
    rows = np.zeros((width, SAMPLES))
    for i in range(SAMPLES):
        rows[:, i] = random.uniform(0, left)
        left = left - rows[:, i]
    return random.permutation(rows).T


def run(config: dict, folder: Path) -> dict[str, Any]:
    """What one seed comes to."""
    random = np.random.default_rng(config["seed"])
    found = {label(w, p): pursued(random, w, p) for w in WIDTHS for p in POWERS}
    return {**found, "greedy": picked(random)}


def pursued(random: np.random.Generator, width: int, p: float) -> dict[str, Any]:
    """Residuals for one matrix of activations."""
    weights = random.normal(size=(width, width)) * (2 / width) ** 0.5
    activations = hidden(random, width, p)
    sums = activations.sum(axis=0)

    def missed(units: np.ndarray) -> float:
        return float(
            np.linalg.norm(np.delete(activations, units, 1) @ np.delete(weights, units, 0))
        )

    found: dict[str, Any] = {"i-SpaSP": [], "largest sums": [], "random": [], "bound": []}
    for part in SIZES:
        size = part * width // 100
        kept = ks.structured.i_spasp_units(activations, weights, size, iterations=ITERATIONS)
        found["i-SpaSP"].append(missed(kept.indices))
        found["largest sums"].append(missed(np.argsort(-sums)[:size]))
        found["random"].append(missed(random.permutation(width)[:size]))
        found["bound"].append(residual_bound(sums, weights, size, ITERATIONS))
    size = SHOWN * width // 100
    course = ks.structured.i_spasp_units(activations, weights, size, iterations=ITERATIONS)
    bounds = [residual_bound(sums, weights, size, t + 1) for t in range(ITERATIONS)]
    few = [at for at, part in enumerate(SIZES) if part <= 40]
    slope = np.polyfit(
        np.log([SIZES[i] for i in few]), np.log([found["i-SpaSP"][i] for i in few]), 1
    )
    return {
        **found,
        "slope": 2 * float(slope[0]),
        "p": fit_compressibility(sums).p,
        "course": course.residuals.tolist(),
        "course bound": bounds,
    }


def picked(random: np.random.Generator) -> dict[str, Any]:
    """How fast the loss of greedy forward selection falls over the picks."""
    phi = np.tanh(random.normal(size=(NEURONS, OUTPUTS)))
    inside = random.dirichlet(np.ones(NEURONS)) @ phi
    losses = ks.structured.select_vertices(phi, inside, size=PICKS).losses
    first = PICKS // 10
    at = np.arange(first, PICKS) + 1
    return {"slope": float(np.polyfit(np.log(at), np.log(losses[first:]), 1)[0])}


def describe(content: dict) -> bench.Document:
    (seeds,) = content["results"].values()
    results = {name: [one[name] for one in seeds] for name in seeds[0]}
    greedy = results.pop("greedy")
    verdict = {True: "holds", False: "does not hold"}
    rows, steep, below, course, far = [], {}, True, True, []
    for width, p in itertools.product(WIDTHS, POWERS):
        runs = results[label(width, p)]
        slope = bench.mean([one["slope"] for one in runs])
        steep[width, p] = slope
        at = SIZES.index(SHOWN)
        cells = [
            f"{bench.mean([one[kind][at] for one in runs]):.3g}"
            for kind in ("i-SpaSP", "largest sums", "random", "bound")
        ]
        fitted = bench.mean([one["p"] for one in runs])
        rows.append(
            (str(width), f"{p:g}", f"{fitted:.2f}", f"{slope:.2f}", f"{2 - 2 / p:.2f}", *cells)
        )
        for one in runs:
            below = below and all(np.less_equal(one["i-SpaSP"], one["bound"]))
            course = course and all(np.less_equal(one["course"], one["course bound"]))
            if p == POWERS[1]:
                far.append(one["random"][at] / one["i-SpaSP"][at])
    ordered = all(
        steep[width, a] < steep[width, b] for width in WIDTHS for a, b in itertools.pairwise(POWERS)
    )
    greedy_slope = bench.mean([one["slope"] for one in greedy])
    lines = [
        f"The more compressible, the faster the residual falls: {verdict[ordered]}.",
        f"All residuals are below the bound, at each size: {verdict[below]}; at each iteration: "
        f"{verdict[course]}.",
        f"Random units miss 100 times as much at p = {POWERS[1]:g} and {SHOWN} % of the units "
        f"({min(far):,.0f} times at least): {verdict[min(far) >= 100]}.",
        f"Greedy forward selection's loss falls as k^{greedy_slope:.2f} from {PICKS // 10} to "
        f"{PICKS} picks, for labels in the hull; -0.8 or steeper: {verdict[greedy_slope <= -0.8]}.",
        f"Means over {len(greedy)} seeds.",
    ]
    header = ("units", "p", "p, fitted", "slope", "the theorem's")
    shares = (f"{kind}, {SHOWN} %" for kind in ("i-SpaSP", "largest sums", "random", "bound"))
    curves = {
        f"p = {p:g}, {WIDTHS[0]} units": (
            SIZES,
            np.mean([one["i-SpaSP"] for one in results[label(WIDTHS[0], p)]], axis=0).tolist(),
        )
        for p in POWERS
    }
    picture = pretraining_curve(
        curves, label="residual of i-SpaSP", xlabel="units kept, %", logarithmic=True
    )
    blocks = [ABOUT, bench.Table("Residuals", (*header, *shares), rows), bench.notes(lines)]
    title = "How fast selection takes the loss down"
    return bench.Document(title, blocks, picture, "residual of i-SpaSP by units kept")


def label(width: int, p: float) -> str:
    """The name of one kind of matrices."""
    return f"{width} units, p = {p:g}"


if __name__ == "__main__":
    script = bench.Script(__doc__, seeds=3)
    variants = {"matrices": bench.Variant({})}
    script.study(bench.Study(variants, range(script.args.seeds), run), describe)
