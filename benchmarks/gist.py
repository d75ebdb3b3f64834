"""GIST on Cora, CiteSeer and a block graph: what is cut, in how many blocks, for how many steps.

    PLANETOID_DIR=... python benchmarks/gist.py --only cora --repeats 3

A GCN of three layers with layer normalization, dropout 0.5 and coupled weight decay of 5e-4, Adam
at 0.01, a tenth of that from half of the steps and a hundredth from three quarters, 400 epochs
shared out among the sub-networks (Wolfe 2023, section 2.4.1 and figure 24). Accuracies are those
on the test nodes of the public split after the last round. The block graph has 1,000 nodes of five
classes, drawn anew for each seed.
"""

from pathlib import Path

import keras

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench
from keras_sparse.experiments.benchmark import (
    Claim,
    Document,
    Script,
    Study,
    Table,
    Variant,
    claims_table,
    mean,
    notes,
    spread,
)

EPOCHS, WIDTH, ROUND = 400, 128, 20
# Coupled weight decay of 5e-4, as Keras's L2 is not halved.
DECAY = keras.regularizers.L2(2.5e-4)
BLOCKS = (2, 4, 8)
CUTS = {
    "d1 d2": {},
    "d0 d1": {"partition_input": True, "whole": ["hidden2"]},
    "d0 d1 d2": {"partition_input": True},
}
INTERVALS = (1, 5, 20, 50, "one round")
BLOCK = "block"
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
# Wolfe (2023), table 1 and figure 24, as the trends that must show.
CLAIMS = (
    *(Claim("m=4, cut d1 d2", "m=4, cut d0 d1 d2", 2.0, g) for g in ("cora", "citeseer")),
    *(Claim("m=8, cut d1 d2", "m=8, cut d0 d1 d2", 10.0, g) for g in ("cora", "citeseer")),
    *(Claim(f"m={m}, cut d1 d2", "whole", -3.0, g) for g in ("cora", "citeseer") for m in (2, 4)),
    *(
        Claim(f"m={m}, 1 step", f"m={m}, 50 steps", -1.0, f"{g} intervals")
        for g in ("cora", "block")
        for m in (2, 4)
    ),
)


def cuts() -> dict:
    """Name, number of blocks, steps of a round, and what is cut, of each training."""
    found = {"whole": (1, ROUND, {"optimizer_state": "partition"})}
    return found | {
        f"m={m}, cut {name}": (m, ROUND, cut) for m in BLOCKS for name, cut in CUTS.items()
    }


def intervals() -> dict:
    return {
        f"m={m}, {n} step{'s' * (n != 1)}" if isinstance(n, int) else f"m={m}, {n}": (
            m,
            n if isinstance(n, int) else EPOCHS // m,
            {},
        )
        for m in (2, 4)
        for n in INTERVALS
    }


TRAININGS = {"cuts": cuts, "intervals": intervals}
VARIANTS = {
    "cora": Variant({"graph": "cora", "trainings": "cuts"}),
    "citeseer": Variant({"graph": "citeseer", "trainings": "cuts"}),
    "cora intervals": Variant({"graph": "cora", "trainings": "intervals"}),
    "block intervals": Variant({"graph": BLOCK, "trainings": "intervals"}),
}


def graph_of(name: str, seed: int) -> ks.graphs.Graph:
    if name == BLOCK:
        return ks.graphs.block_graph(1000, 5, 600, seed=seed)
    return ks.graphs.load(name)


def train(graph: ks.graphs.Graph, seed: int, blocks: int, steps: int, options: dict) -> dict:
    keras.utils.set_random_seed(seed)
    model = ks.graphs.gcn(
        graph.num_features,
        graph.num_classes,
        (WIDTH, WIDTH),
        layer_norm=True,
        dropout=0.5,
        kernel_regularizer=DECAY,
        bias_regularizer=DECAY,
        seed=seed,
    )
    gist = ks.graphs.GIST(model, blocks, steps, seed=seed, **options)
    local = EPOCHS // blocks
    rate = keras.optimizers.schedules.PiecewiseConstantDecay(
        [local // 2, 3 * local // 4], [0.01, 0.001, 0.0001]
    )
    gist.compile(keras.optimizers.Adam(rate), LOSS, weighted_metrics=["accuracy"])
    history = gist.fit(
        ks.graphs.FullGraph(graph, "gcn"),
        EPOCHS,
        validation_data=ks.graphs.FullGraph(graph, "gcn", split="validation"),
        validation_freq=1 if steps >= ROUND else ROUND // steps,
        verbose=0,
    ).history
    test = ks.graphs.FullGraph(graph, "gcn", split="test")
    return {
        "accuracy": gist.evaluate(test, verbose=0)[1],
        "rounds": len(history["loss"]),
        "bytes": history["comm_bytes"][-1],
        "worker_seconds": sum(history["worker_seconds"]),
        "compute_seconds": sum(history["compute_seconds"]),
        "coverage": history["coverage"],
        "validation": history["val_accuracy"],
    }


def run(config: dict, folder: Path) -> dict:
    """All trainings on one graph from one seed."""
    graph = graph_of(config["graph"], config["seed"])
    return {
        name: train(graph, config["seed"], *settings)
        for name, settings in TRAININGS[config["trainings"]]().items()
    }


def row(name: str, runs: list[dict]) -> tuple[str, ...]:
    accuracies = [100 * each["accuracy"] for each in runs]
    return (
        name,
        f"{mean(accuracies):.2f}" + f" ± {spread(accuracies):.2f}" * (len(runs) > 1),
        f"{runs[0]['rounds']}",
        f"{runs[0]['coverage'][-1]:.1%}",
        f"{runs[0]['bytes'] / 1e6:.2f}",
        f"{mean([each['worker_seconds'] for each in runs]):.2f}",
        f"{mean([each['compute_seconds'] for each in runs]):.2f}",
    )


def describe(content: dict) -> Document:
    header = (
        *("training", "test accuracy %", "rounds", "weights between cut features trained"),
        *("MB sent", "seconds of the slowest worker", "seconds of all, one after the other"),
    )
    ((place, runs),) = content["results"].items()
    rows = [row(name, [each[name] for each in runs]) for name in runs[0]]

    def accuracies(name: str, at: str) -> list[float]:
        return [each[name]["accuracy"] for each in runs if at == place and name in each]

    first = {"claim": lambda c: f"{c.better} over {c.worse}"}
    blocks = [Table(place, header, rows), claims_table("Claims", first, CLAIMS, accuracies)]
    lines = []
    for m in (2, 4):
        others = [f"m={m}, {n} step{'s' * (n != 1)}" for n in INTERVALS if isinstance(n, int)]
        if others[0] in runs[0]:
            end = mean(accuracies(f"m={m}, one round", place))
            least = min(mean(accuracies(name, place)) for name in others)
            told = "holds" if end <= least else "does not hold"
            lines.append(f"m={m}: one round has the lowest accuracy of all intervals: {told}.")
    lines.append(f"Number of seeds: {len(runs)}. The spread is the sample standard deviation.")
    lines.append("Seconds are those of a machine that others use.")
    shown = [name for name in runs[0] if "d0" not in name and "step" not in name]
    panels = {
        "validation accuracy": {name: runs[0][name]["validation"] for name in shown},
        "weights between cut features trained": {name: runs[0][name]["coverage"] for name in shown},
    }
    picture = bench.lines(panels, "round")
    title = f"GIST on {place}"
    return Document(title, [*blocks, notes(lines)], picture, "validation and coverage, one seed")


def main() -> None:
    script = Script(__doc__, only=VARIANTS, repeats=3)
    for name in script.args.only:
        study = Study({name: VARIANTS[name]}, range(script.args.repeats), run)
        config = {"epochs": EPOCHS, "width": WIDTH}
        script.study(study, describe, config, name=f"gist_{name.replace(' ', '_')}")


if __name__ == "__main__":
    main()
