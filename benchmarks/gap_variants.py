"""The variants that `gap.py` compares."""

from typing import Any


def gap(label: str, kind: str, kappa: int, rounds: int = 2, longer: int = 1, **more: Any) -> dict:
    """A variant of grow-and-prune.

    Args:
        label: its name in the table.
        kind: `"cyclic"` or `"parallel"`.
        kappa: partitions.
        rounds: how often each partition is dense.
        longer: how many times the node-epochs of the others the rounds take.
        **more: further arguments of the method.
    """
    options = {"allocation": "uniform", **more}
    planned = {"kappa": kappa, "rounds": rounds, "longer": longer, "options": options}
    return {"label": label, "kind": kind, **planned}


VARIANTS = {
    "dense": {"label": "dense", "kind": "dense"},
    "static": {"label": "static random mask", "kind": "static"},
    "oneshot": {"label": "prune from dense, at once half-way", "kind": "oneshot"},
    "gmp": {"label": "prune from dense, gradually (GMP)", "kind": "gmp"},
    "rigl": {"label": "RigL", "kind": "rigl"},
    **{f"cyclic{kappa}": gap(f"C-GaP, kappa {kappa}", "cyclic", kappa) for kappa in (1, 2, 4)},
    "random4": gap("C-GaP, kappa 4, random partitions", "cyclic", 4, order="random"),
    "global4": gap("C-GaP, kappa 4, one ranking", "cyclic", 4, allocation="global"),
    "parallel2": gap("P-GaP, kappa 2", "parallel", 2),
    "parallel4": gap("P-GaP, kappa 4", "parallel", 4),
    "parallel4_8": gap("P-GaP, kappa 4, 8 rounds", "parallel", 4, 8, longer=4),
}
# One core and as many epochs for each partition, to compare the time that they take.
TIMED = {kind: gap(kind, kind, 2, 4) for kind in ("cyclic", "parallel")}


def lengths(config: dict) -> dict[str, int]:
    """Steps, their epochs, and those of fine-tuning."""
    tuning, kappa, rounds = config["finetune_epochs"], config["kappa"], config["rounds"]
    length = (config["epochs"] - tuning) * config["longer"] // (kappa * rounds)
    steps = rounds * (1 if config["kind"] == "parallel" else kappa)
    return {"steps": steps, "epochs_per_step": length, "finetune_epochs": tuning}
