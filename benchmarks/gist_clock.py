"""Wall time of GIST in two processes of one thread against the whole network on one thread.

    python benchmarks/gist_clock.py

A GCN of two hidden layers of 1,024 units on a block graph of 4,000 nodes, the same epochs in all:
each of two workers makes half of the steps. Medians of paired repeats after processes have started
and graphs are traced: rounds after the first. Beside it GIST in one process, one worker after the
other. On a machine that others use wall times tell of them too, so that its load stands
beside them.
"""

import os
import statistics
from pathlib import Path

from keras_sparse.storage.processes import environment

# Before TensorFlow reads how many threads it may have.
os.environ.update(environment(1))

import keras

import keras_sparse as ks
from keras_sparse.experiments.benchmark import Document, Script, Table, notes

WIDTH, STEPS, ROUND, TARGET = 1024, 60, 10, 0.75
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
WAYS = {
    "whole network, one process": (1, "sequential"),
    "GIST, two processes": (2, "process"),
    "GIST, one process": (2, "sequential"),
}


def network(graph: ks.graphs.Graph) -> keras.Model:
    return ks.graphs.gcn(
        graph.num_features, graph.num_classes, (WIDTH, WIDTH), layer_norm=True, seed=0
    )


def train(graph: ks.graphs.Graph, workers: int, backend: str) -> dict:
    kept = {"optimizer_state": "partition"} if workers == 1 else {}
    gist = ks.graphs.GIST(network(graph), workers, ROUND, backend=backend, **kept)
    gist.compile(keras.optimizers.Adam(0.01), LOSS)
    # The first round, in which graphs are traced, is one more.
    epochs = STEPS + ROUND * workers
    history = gist.fit(ks.graphs.FullGraph(graph, "gcn"), epochs, verbose=0).history
    seconds = [
        sum(times)
        for times in zip(history["compute_seconds"], history["sync_seconds"], strict=True)
    ]
    rounds = len(seconds)
    values = ks.graphs.communication_volume(gist.model, workers, rounds)
    return {
        "seconds": sum(seconds[1:]),
        "sync": sum(history["sync_seconds"][1:]),
        "sent": history["comm_bytes"][-1],
        "closed_form": 4 * values,
        "load": os.getloadavg()[0],
    }


def measure(repeats: int) -> dict:
    graph = ks.graphs.block_graph(4000, 5, 600, seed=0)
    runs: dict[str, list] = {name: [] for name in WAYS}
    for _ in range(repeats):
        for name, way in WAYS.items():
            runs[name].append(train(graph, *way))
    return {"results": runs}


def describe(content: dict) -> Document:
    results = content["results"]

    def median(name: str, what: str) -> float:
        return statistics.median(run[what] for run in results[name])

    whole, processes, alone = WAYS
    rows = [
        (
            name,
            f"{median(name, 'seconds'):.2f}",
            f"{median(name, 'sync'):.2f}",
            f"{median(name, 'sent') / 1e6:.1f}",
            f"{median(name, 'load'):.1f}",
        )
        for name in WAYS
    ]
    header = ("way", "seconds", "of these to cut, send and merge", "MB sent", "load of the machine")
    lines = []
    for name in (processes, alone):
        pairs = zip(results[name], results[whole], strict=True)
        ratio = statistics.median(one["seconds"] / other["seconds"] for one, other in pairs)
        lines.append(f"{name}: {ratio:.2f} of the time of the {whole}.")
        if name == processes:
            holds = "holds" if ratio <= TARGET else "does not hold"
            lines.append(f"At most {TARGET} of the time in two processes: {holds}.")
    exact = all(run["sent"] == run["closed_form"] for run in results[processes])
    told = "holds" if exact else "does not hold"
    lines.append(f"Bytes sent are those of the closed form: {told}.")
    return Document("GIST by the clock", [Table("Wall time", header, rows), notes(lines)])


def main() -> None:
    script = Script(__doc__, repeats=5)
    args = script.args
    script.write(args, Path(__file__).stem, lambda: measure(args.repeats), describe)


if __name__ == "__main__":
    main()
