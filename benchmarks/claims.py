r"""What the sources say of the methods, held against a comparison of one's own.

The comparison, and what follows from it:

    keras-sparse compare --methods acdc,gmp,oneshot,static,static_magnitude,snip,grasp,synflow,\
    set,deep_r,dsr,snfs,rigl,rigl_uniform,top_kast,iht,ste,dpf,str,l0,sparse_vd,movement,\
    edge_popup,cyclic_gap,admm,magnitude,obd,woodfisher,mfac,obc,sparsegpt,adaprune,\
    global_adaprune,sr_ste --sparsity 0.9,0.95,0.98 --data mnist --model lenet300 --limit 10000 \
        --epochs 30 --batch-size 128 --learning-rate 0.1 --out benchmarks/results/mnist_lenet300
    python benchmarks/acdc_dense.py benchmarks/results/mnist_lenet300
    python benchmarks/claims.py benchmarks/results/mnist_lenet300

It reads `results.json` of the folder, and `acdc_dense.json` if there is one, and writes
`claims.md` into it.
"""

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import writing


class Claim(NamedTuple):
    """That one method is better than another by some points of accuracy, in the mean over seeds.

    Args:
        better: the one.
        worse: the other.
        sparsity: at which sparsity; dense training has none.
        margin: points by which it is better; negative if it may be that much worse.
    """

    better: str
    worse: str
    sparsity: float
    margin: float


# Peste (2023), chapter 3, as far as a small network can show it.
CLAIMS = (
    Claim("acdc", "dense", 0.90, -3.0),
    Claim("acdc's dense model", "dense", 0.90, -1.0),
    Claim("acdc", "rigl_uniform", 0.90, 1.0),
    Claim("acdc", "rigl_uniform", 0.95, 2.0),
    Claim("acdc", "rigl", 0.95, 0.5),
    Claim("acdc", "top_kast", 0.95, 1.0),
    *(Claim("acdc", "static", sparsity, 3.0) for sparsity in (0.90, 0.95, 0.98)),
    *(Claim("acdc", "magnitude", sparsity, 10.0) for sparsity in (0.90, 0.95, 0.98)),
    Claim("acdc", "oneshot", 0.95, 1.0),
    # Lee et al. (2019), LeNet-300-100.
    Claim("snip", "dense", 0.90, -0.5),
    Claim("snip", "dense", 0.95, -0.5),
    Claim("snip", "static", 0.98, 3.0),
)


def accuracies(results: list[dict], method: str, sparsity: float) -> np.ndarray:
    """Percents, one for each seed."""
    return np.array(
        [
            100 * result["accuracy"]
            for result in results
            if result["method"] == method
            and (method == "dense" or result["asked_sparsity"] == sparsity)
        ]
    )


def dense_models(folder: Path) -> list[dict]:
    """What `acdc_dense.py` has measured, as results of a method."""
    path = folder / "acdc_dense.json"
    if not path.exists():
        return []
    measured = json.loads(path.read_text())
    return [
        {
            "method": "acdc's dense model",
            "asked_sparsity": measured["sparsity"],
            "accuracy": run["dense"],
        }
        for run in measured["runs"]
    ]


def row(claim: Claim, results: list[dict]) -> tuple[str, ...] | None:
    """A line of the table, `None` if the comparison does not have the methods."""
    better = accuracies(results, claim.better, claim.sparsity)
    worse = accuracies(results, claim.worse, claim.sparsity)
    if not len(better) or len(better) != len(worse):
        return None
    cells = writing.claim_cells(claim.margin, better - worse)
    return f"{claim.better} over {claim.worse}", f"{claim.sparsity:.0%}", *cells


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="what keras-sparse compare has written")
    folder = parser.parse_args().folder
    results = json.loads((folder / "results.json").read_text()) + dense_models(folder)
    found = [made for made in (row(claim, results) for claim in CLAIMS) if made]
    header = ("claim", "zeros", *writing.CLAIM_HEADER)
    title = "Accuracy of one method over another, mean over seeds"
    text = f"""# {title}

`{writing.command()}`

{writing.markdown_table(header, found)}

The spread is the sample standard deviation, over seeds, of the difference.
"""
    (folder / "claims.md").write_text(text)
    writing.print_table(title, header, found)


if __name__ == "__main__":
    main()
