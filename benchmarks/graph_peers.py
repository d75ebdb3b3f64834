"""An epoch of a graph convolutional network on Cora: this package, Spektral, PyTorch Geometric.

    pip install keras-sparse[graph_peers]
    PLANETOID_DIR=... python benchmarks/graph_peers.py

Two layers, 256 hidden units, dropout 0.5 before each, Adam at 0.01, the whole graph in each step,
the loss of the training nodes alone. In one process on one thread, twenty epochs of each in turn,
after as many to warm up: Spektral in `fit` of the Keras before 3, PyTorch Geometric in a loop of
its own with the normalized edges cached, as pairs or as a sparse matrix. Features are dense, as the
peers' examples have them, or sparse; sparse ones go through the peers without dropout of the
features, which neither has for them. What all come to on the test nodes is told beside it.
"""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_sparse as ks
from keras_sparse.experiments.document import Document, Script, Table, notes
from keras_sparse.experiments.study import Study, Variant

HERE = Path(__file__).parent
HIDDEN, DROPOUT, RATE = 256, 0.5, 0.01
OWN, PYG = "this package", "PyTorch Geometric"
Trained = tuple[Callable[[], Any], Callable[[], float]]


def own(graph: ks.graphs.Graph, epochs: int, sparse: bool) -> Trained:
    """What trains for so many epochs, and what tests, in this package."""
    if not sparse:
        graph = _with_features(graph, graph.features.toarray())
    model = ks.graphs.gcn(
        graph.num_features,
        graph.num_classes,
        (HIDDEN,),
        dropout=DROPOUT,
        sparse_features=sparse,
        seed=0,
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(RATE), loss, weighted_metrics=["accuracy"])
    train = ks.graphs.FullGraph(graph, "gcn", steps=epochs).dataset()
    test = ks.graphs.FullGraph(graph, "gcn", split="test")
    return (
        lambda: model.fit(train, shuffle=False, verbose=0),
        lambda: model.evaluate(test, verbose=0)[1],
    )


def _with_features(graph: ks.graphs.Graph, features: np.ndarray) -> ks.graphs.Graph:
    splits = {name: getattr(graph, name) for name in ("train", "validation", "test")}
    return ks.graphs.Graph(features, graph.adjacency, graph.labels, graph.num_classes, **splits)


def spektral(graph: ks.graphs.Graph, epochs: int, sparse: bool) -> Trained:
    """The same in Spektral."""
    import tensorflow as tf
    import tf_keras
    from spektral.layers import GCNConv
    from spektral.utils.sparse import sp_matrix_to_sp_tensor

    tf_keras.utils.set_random_seed(0)
    features = tf_keras.Input((graph.num_features,), sparse=sparse)
    adjacency = tf_keras.Input((graph.num_nodes,), sparse=True)
    x = features if sparse else tf_keras.layers.Dropout(DROPOUT)(features)
    x = GCNConv(HIDDEN, activation="relu")([x, adjacency])
    x = GCNConv(graph.num_classes)([tf_keras.layers.Dropout(DROPOUT)(x), adjacency])
    model = tf_keras.Model([features, adjacency], x)
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tf_keras.optimizers.Adam(RATE), loss, weighted_metrics=["accuracy"])
    edges = sp_matrix_to_sp_tensor(GCNConv.preprocess(graph.adjacency).astype("float32"))
    known = sp_matrix_to_sp_tensor(graph.features) if sparse else graph.features.toarray()

    def batches(split: str) -> Any:
        weights = graph.mask(split).astype("float32")
        weights *= graph.num_nodes / weights.sum()  # Keras divides by all nodes.
        given = (known, edges), np.maximum(graph.labels, 0), weights
        return tf.data.Dataset.from_tensors(given)

    train = batches("train").repeat(epochs)
    return (
        lambda: model.fit(train, shuffle=False, verbose=0),
        lambda: model.evaluate(batches("test"), verbose=0)[1],
    )


def pyg(graph: ks.graphs.Graph, epochs: int, sparse: bool, matrix: bool = False) -> Trained:
    """The same in PyTorch Geometric, with the edges as pairs or as a sparse matrix."""
    import torch
    from torch.nn import functional
    from torch_geometric.nn import GCNConv

    torch.manual_seed(0)
    torch.set_num_threads(1)
    sizes = (graph.num_features, HIDDEN), (HIDDEN, graph.num_classes)
    layers = torch.nn.ModuleList(GCNConv(*size, cached=True) for size in sizes)
    optimizer = torch.optim.Adam(layers.parameters(), RATE)
    x = torch.from_numpy(graph.features.toarray())
    if sparse:
        x = x.to_sparse_csr()
    edges = torch.from_numpy(np.stack(graph.adjacency.nonzero()).astype("int64"))
    if matrix:
        ones = torch.ones(edges.shape[1])
        edges = torch.sparse_coo_tensor(edges, ones, (graph.num_nodes,) * 2).to_sparse_csr()
    labels = torch.from_numpy(graph.labels.astype("int64"))

    def logits() -> Any:
        hidden = x if sparse else functional.dropout(x, DROPOUT, layers.training)
        hidden = functional.relu(layers[0](hidden, edges))
        return layers[1](functional.dropout(hidden, DROPOUT, layers.training), edges)

    def train() -> None:
        layers.train()
        chosen = torch.from_numpy(graph.train)
        for _ in range(epochs):
            optimizer.zero_grad()
            loss = functional.cross_entropy(logits()[chosen], labels[chosen])
            loss.backward()
            optimizer.step()

    def test() -> float:
        layers.eval()
        with torch.no_grad():
            right = logits().argmax(1) == labels
        return float(right[torch.from_numpy(graph.test)].double().mean())

    return train, test


WAYS: dict[str, tuple[Callable[..., Trained], tuple[bool, ...]]] = {
    f"dense features, {OWN}": (own, (False,)),
    "dense features, Spektral": (spektral, (False,)),
    f"dense features, {PYG}, pairs": (pyg, (False,)),
    f"dense features, {PYG}, sparse matrix": (pyg, (False, True)),
    f"sparse features, {OWN}": (own, (True,)),
    "sparse features, Spektral": (spektral, (True,)),
    f"sparse features, {PYG}, pairs": (pyg, (True,)),
    f"sparse features, {PYG}, sparse matrix": (pyg, (True, True)),
}


def run(config: dict, folder: Path) -> dict[str, Any]:
    """Milliseconds of an epoch of each turn, by the processor's clock, and test accuracies."""
    graph, epochs = ks.graphs.load("cora"), config["epochs"]
    made = {name: make(graph, epochs, *form) for name, (make, form) in WAYS.items()}
    times: dict[str, list[float]] = {name: [] for name in made}
    for turn in range(config["turns"] + 1):
        for name, (train, _) in made.items():
            began = time.process_time()
            train()
            if turn:
                times[name].append(1000 * (time.process_time() - began) / epochs)
    accuracies = {name: test() for name, (_, test) in made.items()}
    return {"milliseconds": times, "accuracies": accuracies}


def describe(content: dict) -> Document:
    times, accuracies = content["milliseconds"], content["accuracies"]
    rows = []
    for name, of in times.items():
        low, middle, high = np.percentile(of, (25, 50, 75))
        rows.append(
            (name, f"{middle:.1f}", f"{low:.1f} to {high:.1f}", f"{100 * accuracies[name]:.1f}")
        )
    lines = []
    for form in ("dense", "sparse"):
        of_form = {name: of for name, of in times.items() if name.startswith(form)}
        mine = of_form.pop(f"{form} features, {OWN}")
        best = min(of_form.values(), key=statistics.median)
        pairs = zip(mine, best, strict=True)
        ratio = statistics.median(one / other for one, other in pairs)
        told = "holds" if ratio <= 1 else "does not hold"
        lines.append(
            f"{form} features: {ratio:.2f} of the time of the fastest peer; at most 1: {told}."
        )
    header = ("package", "CPU ms an epoch", "quartiles", "test accuracy %")
    title = f"An epoch of a graph convolutional network of {HIDDEN} units on Cora"
    return Document(title, [Table(title, header, rows), notes(lines)])


def main() -> None:
    script = Script(__doc__, HERE / "results", turns=15, epochs=20, threads=1)
    args = script.parser.parse_args()
    config = {"turns": args.turns, "epochs": args.epochs}

    def measure() -> dict:
        os.environ["TF_USE_LEGACY_KERAS"] = "1"  # Of the process that runs, for Spektral.
        study = Study({"all": Variant(config)}, [0], run)
        found = study.timed(HERE / "build" / "graph_peers", args.threads)
        return {"config": config, **found["all"]}

    script.write(args, "graph_peers", measure, describe)


if __name__ == "__main__":
    main()
