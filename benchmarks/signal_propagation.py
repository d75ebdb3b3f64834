"""Why pruned networks train slowly, and what orthogonal starts and isometry do about it.

    python benchmarks/signal_propagation.py --part training

Parts, each after a table or figure of the source (Lee 2020, Chapter 4), on perceptrons of seven
layers of 100 units and MNIST unless said otherwise:

- `training` (Figure 4.2b): steps until the training loss is 0.3, at 90 % zeros, from orthogonal
  weights or variance scaling, pruned by connection sensitivity (CS), at random or by magnitude of
  trained weights (Mag), with approximate isometry (AI) and without; tanh and linear.
- `training_digits`: the same on scikit-learn's digits with seven layers of 64 units, without
  momentum, at 80 % and 90 %.
- `singular_values` (Figure 4.2a): the mean singular value of the Jacobian against sparsity.
- `gammas` (Table 4.1): connection sensitivity at Gaussian weights of six variances; the pruned
  network is then trained from weights of variance scaling.
- `unsupervised` (Table 4.4): losses to score with, of 3, 5 and 7 layers.
- `transfer` (Table 4.5): masks of one data set on another, LeNet-300-100 at 97 %.
- `networks` (Table 4.2): a small residual network on CIFAR-10 at 90 %, starts and isometry.
- `sculpting` (Table 4.6): wider, deeper and shallower perceptrons at one number of parameters.

Scores are those of the whole training set, in inference mode, and the squared Frobenius norm is
minimized. One process makes all variants of a seed.
"""

from pathlib import Path

from signal_propagation_runs import RUNS
from signal_propagation_tables import DESCRIBED

from keras_sparse.experiments import benchmark as bench

PARTS = {
    "training": {"steps": 3000, "rates": {"tanh": 0.1, "linear": 0.01}, "sparsity": 0.9},
    "training_digits": {
        "steps": 1500,
        "rates": {"tanh": 0.1},
        "sparsities": [0.8, 0.9],
        "width": 64,
        "every": 25,
        "momentum": 0.0,
    },
    "singular_values": {"steps": 1000, "activations": ["tanh", "linear"]},
    "gammas": {"steps": 1000, "sparsity": 0.9, "values": [1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0]},
    "unsupervised": {"steps": 1000, "sparsity": 0.9, "depths": [3, 5, 7]},
    "transfer": {"steps": 1000, "sparsity": 0.97},
    "networks": {"epochs": 4, "sparsity": 0.9, "images": 5000},
    "sculpting": {"steps": 1000},
}


def run(config: dict, folder: Path) -> dict[str, dict]:
    """All variants of a part from one seed."""
    return RUNS[config["part"]](config, config["seed"])


def describe(content: dict) -> bench.Document:
    seeds = content["runs"]
    found = {name: [run[name] for run in seeds] for name in seeds[0]}
    part = content["part"]
    made = DESCRIBED[part](content["setting"], found)
    count = f"Mean over {len(seeds)} seeds and sample standard deviation."
    return made._replace(blocks=[*made.blocks, count if len(seeds) > 1 else "One seed."])


if __name__ == "__main__":
    script = bench.Script(
        __doc__, choices={"part": PARTS}, part="training", seeds=2, steps=int, images=int
    )
    part = script.args.part
    setting = script.chosen(PARTS[part])
    seeds = range(script.args.seeds)
    study = bench.Study({part: bench.Variant({**setting, "part": part})}, seeds, run)
    script.study(
        study,
        describe,
        content=lambda made: {"part": part, "setting": setting, "runs": made[part]},
        name=f"signal_propagation_{part}",
    )
