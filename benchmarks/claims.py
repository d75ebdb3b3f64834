"""What the sources say of the methods, held against a comparison of one's own.

After `keras-sparse compare`, as `table.md` of the folder says it:

    python benchmarks/acdc_dense.py benchmarks/results/mnist_lenet300
    python benchmarks/claims.py benchmarks/results/mnist_lenet300

It reads `results.json` of the folder, and `acdc_dense.json` if there is one, and writes
`claims.md` into it.
"""

import argparse
import json
from pathlib import Path

from keras_sparse.experiments.benchmark import Claim, Document, claims_table, command

# Peste (2023), chapter 3, as far as a small network can show it.
CLAIMS = (
    Claim("acdc", "dense", -3.0, 0.90),
    Claim("acdc's dense model", "dense", -1.0, 0.90),
    Claim("acdc", "rigl_uniform", 1.0, 0.90),
    Claim("acdc", "rigl_uniform", 2.0, 0.95),
    Claim("acdc", "rigl", 0.5, 0.95),
    Claim("acdc", "top_kast", 1.0, 0.95),
    *(Claim("acdc", "static", 3.0, sparsity) for sparsity in (0.90, 0.95, 0.98)),
    *(Claim("acdc", "magnitude", 10.0, sparsity) for sparsity in (0.90, 0.95, 0.98)),
    Claim("acdc", "oneshot", 1.0, 0.95),
    # Lee et al. (2019), LeNet-300-100.
    Claim("snip", "dense", -0.5, 0.90),
    Claim("snip", "dense", -0.5, 0.95),
    Claim("snip", "static", 3.0, 0.98),
)
FIRST = {"claim": lambda c: f"{c.better} over {c.worse}", "zeros": lambda c: f"{c.at:.0%}"}
ABOUT = "The spread is the sample standard deviation, over seeds, of the difference."


def describe(results: list[dict], tuned: dict) -> Document:
    def accuracies(method: str, sparsity: float) -> list[float]:
        if method == "acdc's dense model":
            return [run["dense"] for run in tuned["runs"] if tuned["sparsity"] == sparsity]
        asked = None if method == "dense" else sparsity
        runs = [run for run in results if run["method"] == method]
        return [run["accuracy"] for run in runs if asked in (None, run["asked_sparsity"])]

    title = "Accuracy of one method over another, mean over seeds"
    return Document(title, [claims_table(title, FIRST, CLAIMS, accuracies), ABOUT])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", type=Path, help="what keras-sparse compare has written")
    folder = parser.parse_args().folder
    results, dense = json.loads((folder / "results.json").read_text()), folder / "acdc_dense.json"
    tuned = json.loads(dense.read_text()) if dense.exists() else {"runs": []}
    describe(results, tuned).write(folder, "claims", {"command": command()})
