"""A graph of Amazon2M's size, and a network too wide for a worker, in one machine's memory.

    python benchmarks/graph_scale.py --part nodes
    python benchmarks/graph_scale.py --part width

`nodes`: a random graph of 2.4 million nodes and 60 million edges in small communities, with 100
features on the disk and 47 classes, is loaded from its list of edges, cut by METIS into 15,000
parts, and a GraphSAGE network of 400 units makes one epoch of batches of ten of them. `width`: one
round of a GCN on Cora (PLANETOID_DIR) of two hidden layers of `--width` units on 8 workers in turn,
with the weights in files. Wall and CPU seconds, and the most memory that the process has had until
then.
"""

import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_sparse as ks
from keras_sparse.experiments.benchmark import Document, Script, Table, notes

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
FEATURES, CLASSES, MEMBERS, HIDDEN, WORKERS = 100, 47, 160, 400, 8
LIMIT = 20  # GiB


class Stages:
    """What was done one after the other, each with its seconds and the peak of the memory."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def __call__(self, name: str, act: Callable[[], Any]) -> Any:
        """What `act` returns, after it is timed."""
        wall, cpu = time.perf_counter(), time.process_time()
        made = act()
        row = {"stage": name, "seconds": time.perf_counter() - wall}
        row["cpu"] = time.process_time() - cpu
        row["peak_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        self.rows.append(row)
        print(row, flush=True)
        return made


def write_graph(folder: Path, nodes: int, edges: int, seed: int = 0) -> None:
    """Edges, labels and features in files: communities of one class, and edges mostly in them."""
    draw = np.random.default_rng(seed)
    community = draw.permutation(nodes) // MEMBERS
    members = np.argsort(community, kind="stable")
    first = draw.integers(0, nodes, edges, dtype=np.int32)
    near = community[first] * MEMBERS + draw.integers(0, MEMBERS, edges, dtype=np.int32)
    second = members[np.minimum(near, nodes - 1)]
    far = draw.random(edges, dtype=np.float32) > 0.8
    second[far] = draw.integers(0, nodes, int(far.sum()))
    np.save(folder / "edges.npy", np.stack([first, second.astype(np.int32)], axis=1))
    labels = community % CLASSES
    np.save(folder / "labels.npy", labels)
    centers = draw.normal(size=(CLASSES, FEATURES)).astype("float32")
    shape = (nodes, FEATURES)
    features = np.lib.format.open_memmap(folder / "features.npy", "w+", np.float32, shape)
    for start in range(0, nodes, 2**16):
        some = labels[start : start + 2**16]
        noise = draw.normal(size=(len(some), FEATURES)).astype("float32")
        features[start : start + 2**16] = 0.3 * centers[some] + noise
    features.flush()


def load(folder: Path) -> ks.graphs.Graph:
    labels = np.load(folder / "labels.npy")
    order = np.random.default_rng(1).permutation(len(labels))
    cut = int(0.7 * len(labels))
    return ks.graphs.Graph.from_edges(
        np.load(folder / "edges.npy"),
        np.load(folder / "features.npy", mmap_mode="r"),
        labels,
        CLASSES,
        train=order[:cut],
        test=order[cut:],
    )


def many_nodes(nodes: int, edges: int, parts: int, **_: Any) -> dict:
    with tempfile.TemporaryDirectory() as name:
        folder, stages = Path(name), Stages()
        stages("make the graph and write it", lambda: write_graph(folder, nodes, edges))
        graph = stages("load", lambda: load(folder))
        loader = stages(
            f"cut into {parts:,} parts",
            lambda: ks.graphs.ClusterLoader(
                graph, "mean", num_parts=parts, parts_per_batch=10, partitioner="metis"
            ),
        )
        model = ks.graphs.sage(FEATURES, CLASSES, (HIDDEN,), seed=0)
        model.compile(keras.optimizers.Adam(0.01), LOSS, weighted_metrics=["accuracy"])
        history = stages(
            f"an epoch of {len(loader):,} batches", lambda: model.fit(loader, verbose=0)
        )
        cut = stages(
            "count the edges cut", lambda: ks.graphs.edge_cut(graph.adjacency, loader.parts)
        )
        return {
            "stages": stages.rows,
            "nodes": graph.num_nodes,
            "edges": graph.num_edges,
            "edges_cut": cut,
            "accuracy": history.history["accuracy"][-1],
        }


def much_width(width: int, **_: Any) -> dict:
    with tempfile.TemporaryDirectory() as name:
        stages, graph = Stages(), ks.graphs.load("cora")
        part = stages(
            f"make a part of {width // WORKERS:,} units",
            lambda: ks.graphs.gcn(
                graph.num_features,
                graph.num_classes,
                (width // WORKERS,) * 2,
                layer_norm=True,
                sparse_features=True,
                seed=0,
            ),
        )
        wide = stages(
            f"write weights of {width:,} units",
            lambda: ks.graphs.WideGIST(part, WORKERS, 1, folder=Path(name) / "weights"),
        )
        wide.compile(keras.optimizers.Adam(0.01), LOSS, weighted_metrics=["accuracy"])
        loader = ks.graphs.FullGraph(graph, "gcn")
        stages(
            f"one round of {WORKERS} workers, a step each",
            lambda: wide.fit(loader, epochs=WORKERS, verbose=0),
        )
        return {"stages": stages.rows, "weights": sum(int(w.size) for w in wide.weights)}


def measure(part: str, sizes: dict[str, int]) -> dict:
    found = (many_nodes if part == "nodes" else much_width)(**sizes)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"part": part, "memory_gib": memory, **found}


def describe(content: dict) -> Document:
    rows = [
        (row["stage"], f"{row['seconds']:.0f}", f"{row['cpu']:.0f}", f"{row['peak_gib']:.2f}")
        for row in content["stages"]
    ]
    title = "Many nodes" if content["part"] == "nodes" else "Much width"
    table = Table(title, ("stage", "seconds", "CPU s", "peak memory until then, GiB"), rows)
    lines = [f"The machine has {content['memory_gib']:.0f} GiB."]
    if content["part"] == "nodes":
        peak = max(row["peak_gib"] for row in content["stages"])
        holds = "holds" if peak <= LIMIT else "does not hold"
        lines += [
            f"{content['nodes']:,} nodes, {content['edges']:,} edges, "
            f"{content['edges_cut'] / content['edges']:.0%} of them between parts.",
            f"Training accuracy over the epoch: {100 * content['accuracy']:.1f} %.",
            f"At most {LIMIT} GiB: {holds}.",
        ]
    else:
        floats = content["weights"]
        lines.append(f"{floats:,} weights, {4 * floats / 2**30:.2f} GiB in float32.")
    return Document(title, [table, notes(lines)])


def main() -> None:
    script = Script(
        __doc__,
        choices={"part": ("nodes", "width")},
        part="nodes",
        nodes=2_400_000,
        edges=67_000_000,  # Some are drawn twice, or from a node to itself.
        parts=15_000,
        width=32_768,
    )
    args = script.args
    sizes = {name: getattr(args, name) for name in ("nodes", "edges", "parts", "width")}
    script.write(args, f"graph_scale_{args.part}", lambda: measure(args.part, sizes), describe)


if __name__ == "__main__":
    main()
