"""GIST beside local SGD, ensembles and one machine, by width, and on nodes drawn by LADIES.

    python benchmarks/gist_rivals.py --only methods --repeats 3

A block graph of 6,000 nodes, of which 2,400 are for training; by width one of 20,000 nodes, half
of them for training. GraphSAGE sees clusters, 6 of 60 in a batch, by width 10 of 150; the GCN sees
256 nodes a batch and as many that LADIES draws for each layer. Adam at 0.005, rounds of 20 steps.
All accuracies are those on test nodes at the end, of the whole graph at once. Workers are trained
one after the other. Times are CPU milliseconds on one thread: of a step of the network that a
worker has, and of all the steps of one worker.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

import keras_sparse as ks
from keras_sparse.experiments.benchmark import (
    Document,
    Script,
    Study,
    Table,
    Variant,
    mean,
    notes,
    points,
    spread,
)

ROUND = 20
EPOCHS = {"methods": 40, "widths": 30, "ladies": 40}
WIDTHS = (64, 256, 1024)
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def graph_of(kind: str, seed: int) -> ks.graphs.Graph:
    nodes, labelled = (20_000, 1667) if kind == "widths" else (6000, 400)
    graph = ks.graphs.block_graph(
        nodes, 6, 300, within=0.5, topical=0.1, train_a_class=labelled, seed=seed
    )
    return dataclasses.replace(graph, features=graph.features.toarray())


def trainings(kind: str) -> dict:
    """Width, number of hidden layers, and the method with its workers, of each training."""
    gist, local, ensemble = ks.graphs.GIST, ks.graphs.LocalSGD, ks.graphs.SubGCNEnsemble
    if kind == "methods":
        rivals = {"GIST": gist, "local SGD": local, "ensemble": ensemble}
        return {"one machine": (256, 1, gist, 1)} | {
            f"{name}, m={m}": (256, 1, rival, m) for m in (2, 4) for name, rival in rivals.items()
        }
    if kind == "widths":
        return {f"width {width}, m={m}": (width, 2, gist, m) for width in WIDTHS for m in (1, 2, 4)}
    return {f"LADIES, m={m}": (256, 1, gist, m) for m in (1, 2, 4)}


def train(
    graph: ks.graphs.Graph, kind: str, seed: int, width: int, depth: int, method: type, workers: int
) -> dict:
    keras.utils.set_random_seed(seed)
    hidden, ladies = (width,) * depth, kind == "ladies"
    build, links = (ks.graphs.gcn, "gcn") if ladies else (ks.graphs.sage, "mean")
    model = build(
        graph.num_features,
        graph.num_classes,
        hidden,
        layer_norm=True,
        sparse_features=False,
        own_adjacency=ladies,
        dropout=0.2,
        seed=seed,
    )
    large = {"num_parts": 150, "parts_per_batch": 10}
    clusters = large if kind == "widths" else {"num_parts": 60, "parts_per_batch": 6}
    loader = (
        ks.graphs.LadiesLoader(graph, links, [256] * (depth + 1), 256, seed=seed)
        if ladies
        else ks.graphs.ClusterLoader(graph, links, **clusters, seed=seed)
    )
    # One worker trains as usual: its optimizer goes on from round to round.
    kept = {"optimizer_state": "partition"} if workers == 1 else {}
    training = method(model, workers, ROUND, seed=seed, **kept)
    training.compile(keras.optimizers.Adam(0.005), LOSS, weighted_metrics=["accuracy"])
    full = {"adjacencies": depth + 1 if ladies else 1}
    validation = ks.graphs.FullGraph(graph, links, split="validation", **full)
    history = training.fit(
        loader, EPOCHS[kind], validation_data=validation, validation_freq=4, verbose=0
    ).history
    test = ks.graphs.FullGraph(graph, links, split="test", **full)
    network = getattr(training, "network", model)
    return {
        "accuracy": training.evaluate(test, verbose=0)[1],
        "bytes": history["comm_bytes"][-1],
        "rounds": len(history["loss"]),
        "steps": history["local_step"][-1],
        "step_ms": 1000 * step_seconds(training, loader),
        "inference_ms": 1000 * inference_seconds(network, test[0][0]),
        "values": ks.graphs.communication_volume(
            model,
            workers,
            len(history["loss"]),
            {ks.graphs.GIST: "gist", ks.graphs.LocalSGD: "local_sgd"}.get(method, "ensemble"),
        ),
    }


def inference_seconds(model: keras.Model, inputs: tuple) -> float:
    """CPU seconds of the whole graph's logits."""
    return median_seconds(lambda: model.predict_on_batch(inputs))


def step_seconds(training: Any, loader: ks.graphs.GraphLoader) -> float:
    """CPU seconds of a step of what a worker trains."""
    whole = isinstance(training, ks.graphs.LocalSGD)
    parts = ks.graphs.sub_gcns(training.model, 1 if whole else training.num_subgcns)
    parts[0].compile(keras.optimizers.Adam(0.005), LOSS)
    batch = loader[0]
    return median_seconds(lambda: parts[0].train_on_batch(*batch))


def median_seconds(act: Callable[[], Any]) -> float:
    act()
    took = []
    for _ in range(9):
        began = time.process_time()
        act()
        took.append(time.process_time() - began)
    return statistics.median(took)


def run(config: dict, folder: Path) -> dict:
    """All trainings of one kind from one seed."""
    graph = graph_of(config["kind"], config["seed"])
    return {
        name: train(graph, config["kind"], config["seed"], *settings)
        for name, settings in trainings(config["kind"]).items()
    }


Holding = list[tuple[str, bool]]


class Measured:
    """What runs of one kind came to, by names of trainings."""

    def __init__(self, runs: list[dict]) -> None:
        self.runs = runs

    def of(self, name: str, what: str) -> list[float]:
        """What was measured of a training, for each seed."""
        return [each[name][what] for each in self.runs]

    def points(self, name: str) -> float:
        """Mean test accuracy in percent."""
        return 100 * mean(self.of(name, "accuracy"))

    def busy(self, name: str) -> float:
        """Seconds of a worker's steps."""
        pairs = zip(self.of(name, "steps"), self.of(name, "step_ms"), strict=True)
        return mean([steps * ms / 1000 for steps, ms in pairs])


def claims_of_methods(found: Measured) -> Holding:
    counted = [name for name in found.runs[0] if name.startswith(("GIST", "local SGD"))]
    exact = all(
        4 * values == sent
        for name in counted
        for values, sent in zip(found.of(name, "values"), found.of(name, "bytes"), strict=True)
    )
    claims = [("Bytes sent by GIST and local SGD are those of the closed form", exact)]
    for m in (2, 4):
        gist, local, ensemble = (f"{name}, m={m}" for name in ("GIST", "local SGD", "ensemble"))
        gap = found.points(gist) - found.points(local)
        claims.append((f"m={m}: GIST is at most 2 points below local SGD ({gap:+.2f})", gap >= -2))
        steps = mean(found.of(gist, "step_ms")) / mean(found.of(local, "step_ms"))
        text = f"m={m}: a step of GIST takes less than one of local SGD ({steps:.2f} of it)"
        claims.append((text, steps < 1))
        ratio = mean(found.of(ensemble, "inference_ms")) / mean(found.of(gist, "inference_ms"))
        text = f"m={m}: inference of an ensemble, one model, takes {0.7 * m:.1f} times GIST's"
        claims.append((f"{text} ({ratio:.2f})", ratio >= 0.7 * m))
    return claims


def claims_of_widths(found: Measured) -> Holding:
    claims = []
    for m in (2, 4):
        one, several = ([f"width {w}, m={n}" for w in WIDTHS] for n in (1, m))
        pairs = list(zip(one, several, strict=True))
        gaps = [found.points(a) - found.points(b) for a, b in pairs]
        faster = [found.busy(a) / found.busy(b) for a, b in pairs]
        shown = ", ".join(f"{gap:+.2f}" for gap in gaps)
        text = f"m={m}: points lost to one machine grow by at most one with the width ({shown})"
        claims.append((text, gaps[-1] <= gaps[0] + 1))
        shown = ", ".join(f"{each:.2f}" for each in faster)
        text = f"m={m}: the factor by which a worker is done sooner is larger at width 1024 than 64"
        claims.append((f"{text} ({shown})", faster[-1] > faster[0]))
    return claims


def claims_of_ladies(found: Measured) -> Holding:
    claims = []
    for m in (2, 4):
        one, several = "LADIES, m=1", f"LADIES, m={m}"
        gap = found.points(several) - found.points(one)
        quicker = found.busy(one) / found.busy(several)
        text = (
            f"m={m}: at most 2 points below one machine ({gap:+.2f}), and a worker is done sooner "
            f"(by a factor of {quicker:.2f})"
        )
        claims.append((text, gap >= -2 and quicker > 1))
    return claims


CLAIMS = {"methods": claims_of_methods, "widths": claims_of_widths, "ladies": claims_of_ladies}


def describe(content: dict) -> Document:
    ((kind, runs),) = content["results"].items()
    found = Measured(runs)
    header = (
        *("training", "test accuracy %", "MB sent", "CPU ms of a step"),
        *("CPU seconds of a worker's steps", "CPU ms of an inference"),
    )
    rows = [
        (
            name,
            f"{found.points(name):.2f}"
            + f" ± {100 * spread(found.of(name, 'accuracy')):.2f}" * (len(runs) > 1),
            f"{mean(found.of(name, 'bytes')) / 1e6:.2f}",
            f"{mean(found.of(name, 'step_ms')):.1f}",
            f"{found.busy(name):.1f}",
            f"{mean(found.of(name, 'inference_ms')):.0f}",
        )
        for name in runs[0]
    ]
    lines = [
        f"{text}: {'holds' if holds else 'does not hold'}." for text, holds in CLAIMS[kind](found)
    ]
    lines.append(f"Number of seeds, each with a graph of its own: {len(runs)}.")
    picture = points(
        {name: found.of(name, "accuracy") for name in runs[0]},
        "test accuracy: each run, and the mean",
        {},
    )
    blocks = [Table(kind, header, rows), notes(lines)]
    return Document(f"GIST and its rivals: {kind}", blocks, picture, "accuracy of each training")


def main() -> None:
    script = Script(__doc__, only=EPOCHS, repeats=3)
    for kind in script.args.only:
        study = Study({kind: Variant({"kind": kind})}, range(script.args.repeats), run)
        config = {"epochs": EPOCHS[kind], "local_iterations": ROUND}
        script.study(study, describe, config, name=f"gist_rivals_{kind}")


if __name__ == "__main__":
    main()
