"""GIST beside local SGD, ensembles and one machine, by width, and on nodes drawn by LADIES.

    python benchmarks/gist_rivals.py --repeats 3

A block graph of 6,000 nodes, of which 2,400 are for training. GraphSAGE sees clusters, 6 of 60 in
a batch; the GCN sees 256 nodes a batch and as many that LADIES draws for each layer. Adam at 0.005,
rounds of 20 steps. All accuracies are those on test nodes at the end, of the whole graph at once.
Workers are trained one after the other. Times are CPU milliseconds on one thread: of a step of the
network that a worker has, and of all the steps of one worker.
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
EPOCHS = {"methods": 40, "widths": 16, "ladies": 40}
WIDTHS = (64, 256, 1024)
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def graph_of(seed: int) -> ks.graphs.Graph:
    graph = ks.graphs.block_graph(
        6000, 6, 300, within=0.5, topical=0.1, train_a_class=400, seed=seed
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
    loader = (
        ks.graphs.LadiesLoader(graph, links, [256] * (depth + 1), 256, seed=seed)
        if ladies
        else ks.graphs.ClusterLoader(graph, links, num_parts=60, parts_per_batch=6, seed=seed)
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
    graph = graph_of(config["seed"])
    return {
        name: train(graph, config["kind"], config["seed"], *settings)
        for name, settings in trainings(config["kind"]).items()
    }


def describe(content: dict) -> Document:
    results = content["results"]

    def of(name: str, what: str) -> list[float]:
        return [each[name][what] for runs in results.values() for each in runs if name in each]

    def points_of(name: str) -> float:
        return 100 * mean(of(name, "accuracy"))

    def busy(name: str) -> float:
        """Seconds of a worker's steps."""
        pairs = zip(of(name, "steps"), of(name, "step_ms"), strict=True)
        return mean([steps * ms / 1000 for steps, ms in pairs])

    header = (
        *("training", "test accuracy %", "MB sent", "CPU ms of a step"),
        *("CPU seconds of a worker's steps", "CPU ms of an inference"),
    )
    blocks: list = []
    for kind, runs in results.items():
        rows = [
            (
                name,
                f"{points_of(name):.2f} ± {100 * spread(of(name, 'accuracy')):.2f}",
                f"{mean(of(name, 'bytes')) / 1e6:.2f}",
                f"{mean(of(name, 'step_ms')):.1f}",
                f"{busy(name):.1f}",
                f"{mean(of(name, 'inference_ms')):.0f}",
            )
            for name in runs[0]
        ]
        blocks += [f"## {kind}", Table(kind, header, rows)]
    lines = []

    def note(text: str, holds: bool) -> None:
        lines.append(f"{text}: {'holds' if holds else 'does not hold'}.")

    counted = [n for n in results["methods"][0] if n.startswith(("GIST", "local SGD"))]
    exact = all(
        4 * values == sent
        for name in counted
        for values, sent in zip(of(name, "values"), of(name, "bytes"), strict=True)
    )
    note("Bytes sent by GIST and local SGD are those of the closed form", exact)
    for m in (2, 4):
        gist, local, ensemble = (f"{name}, m={m}" for name in ("GIST", "local SGD", "ensemble"))
        gap = points_of(gist) - points_of(local)
        note(f"m={m}: GIST is at most 2 points below local SGD ({gap:+.2f})", gap >= -2)
        steps = mean(of(gist, "step_ms")) / mean(of(local, "step_ms"))
        text = f"m={m}: a step of GIST takes less than one of local SGD ({steps:.2f} of it)"
        note(text, steps < 1)
        ratio = mean(of(ensemble, "inference_ms")) / mean(of(gist, "inference_ms"))
        least = 0.7 * m
        text = f"m={m}: an ensemble's inference takes at least {least:.1f} times GIST's"
        note(f"{text} ({ratio:.2f})", ratio >= least)
        gaps = [points_of(f"width {w}, m=1") - points_of(f"width {w}, m={m}") for w in WIDTHS]
        shown = ", ".join(f"{gap:+.2f}" for gap in gaps)
        note(
            f"m={m}: the loss of accuracy to one machine does not grow by more than a point from "
            f"narrow to wide ({shown} at {', '.join(map(str, WIDTHS))})",
            gaps[-1] <= gaps[0] + 1,
        )
        faster = [busy(f"width {w}, m=1") / busy(f"width {w}, m={m}") for w in WIDTHS]
        shown = ", ".join(f"{each:.2f}" for each in faster)
        note(
            f"m={m}: a worker is done sooner than one machine by a factor that is larger at width "
            f"1024 than at 64 ({shown})",
            faster[-1] > faster[0],
        )
        gap = points_of(f"LADIES, m={m}") - points_of("LADIES, m=1")
        quicker = busy("LADIES, m=1") / busy(f"LADIES, m={m}")
        note(
            f"m={m}: with LADIES GIST is at most 2 points below one machine ({gap:+.2f}) and a "
            f"worker is done sooner (by a factor of {quicker:.2f})",
            gap >= -2 and quicker > 1,
        )
    lines.append(f"{len(results['methods'])} seeds, each with a graph of its own.")
    shown = {name: of(name, "accuracy") for runs in results.values() for name in runs[0]}
    picture = points(shown, "test accuracy: each run, and the mean", {})
    blocks += ["## Claims", notes(lines)]
    return Document("GIST and its rivals", blocks, picture, "accuracy of each training")


def main() -> None:
    script = Script(__doc__, repeats=3)
    variants = {kind: Variant({"kind": kind}) for kind in EPOCHS}
    study = Study(variants, range(script.args.repeats), run)
    script.study(study, describe, {"epochs": EPOCHS, "local_iterations": ROUND})


if __name__ == "__main__":
    main()
