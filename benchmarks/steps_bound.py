"""Whether the proven number of steps is enough: SGD on a noisy quadratic whose constants are known.

    python benchmarks/steps_bound.py

f(w) = L w^2 / 2 in some dimensions, the gradient of a batch of B has noise of variance beta / B
in all, and of M_V / B times the squared gradient. For each B the theorem's learning rate and steps
are taken, and the smallest squared gradient norm among these steps is averaged over runs.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench
from keras_sparse.plots.batch_size import scaling_curves

CONSTANTS = {
    "M_V = 0": {"delta": 2.0, "beta": 1.0, "smoothness": 1.0, "eps": 0.02},
    "M_V = 10": {"delta": 2.0, "beta": 1.0, "smoothness": 1.0, "eps": 0.02, "m_v": 10.0},
}
SIZES = (1, 4, 16, 64, 256, 1024)
DIMENSIONS = 4


def reached(bound: ks.scaling.StepsBound, size: int, runs: int, seed: int) -> dict[str, float]:
    """The bound at a batch size, and the steps that the mean over runs takes."""
    generator, rate = np.random.default_rng(seed), float(bound.optimal_lr(size))
    most = int(np.ceil(float(bound.steps(size))))
    w = np.zeros((runs, DIMENSIONS))
    w[:, 0] = np.sqrt(2 * bound.delta / bound.smoothness)  # f falls by delta.
    least, found = np.full(runs, np.inf), None
    for step in range(1, most + 1):
        gradient = bound.smoothness * w
        squares = np.sum(gradient**2, axis=1)
        least = np.minimum(least, squares)
        if least.mean() <= bound.eps:
            found = step
            break
        spread = np.sqrt((bound.beta + bound.m_v * squares) / (size * DIMENSIONS))
        w = w - rate * (gradient + spread[:, None] * generator.normal(size=w.shape))
    return {"bound": most, "tight": float(bound.steps(size, tight=True)), "steps": found}


def run(config: dict, folder: Path) -> dict[str, Any]:
    """All batch sizes of a problem."""
    bound = ks.scaling.StepsBound(**config["constants"])
    return {str(size): reached(bound, size, config["runs"], config["seed"]) for size in SIZES}


def describe(content: Mapping[str, Any]) -> bench.Document:
    rows, curves, holds = [], {}, True
    for name, (found,) in content["results"].items():
        for size, row in found.items():
            steps = row["steps"]
            holds = holds and steps is not None and steps <= row["bound"]
            told = "more" if steps is None else str(steps)
            rows.append((name, size, told, str(row["bound"]), f"{row['tight']:.0f}"))
        sizes = [float(size) for size in found]
        curves[f"{name}: measured"] = (sizes, [row["steps"] or np.nan for row in found.values()])
        curves[f"{name}: bound"] = (sizes, [row["bound"] for row in found.values()])
    header = ("problem", "batch size", "steps", "bound", "tight bound")
    blocks = [
        f"Means over {content['config']['runs']} runs. Steps below the bound at every batch size: "
        f"{'holds' if holds else 'does not hold'}.",
        bench.Table("Steps to a squared gradient norm of 0.02", header, rows),
    ]
    critical = {name: ks.scaling.StepsBound(**each) for name, each in CONSTANTS.items()}
    told = ", ".join(f"{each.critical_batch:g} for {name}" for name, each in critical.items())
    blocks.append(
        f"Critical batch sizes 2 T: {told}. The bound is on all functions of these constants and "
        "far above what this one takes, where scaling ends earlier."
    )
    picture = scaling_curves(curves)
    return bench.Document("The proven steps on a noisy quadratic", blocks, picture, "Steps, bound")


def main() -> None:
    script = bench.Script(__doc__, runs=200)
    config = {"runs": script.args.runs}
    variants = {
        name: bench.Variant({**config, "constants": constants})
        for name, constants in CONSTANTS.items()
    }
    script.study(bench.Study(variants, [0], run), describe, config)


if __name__ == "__main__":
    main()
