"""How long an ensemble of sub-networks takes for an inference, beside the one network of GIST.

    python benchmarks/gist_inference.py

GraphSAGE with one hidden layer of 256, as in Table 19 of Wolfe (2023): there on Reddit, whose nodes
have 490 neighbors, 602 features and 41 classes. Here block graphs of 16,000 nodes with these
features and classes, and as many neighbors, and with few, as other tables here have them. The
weights are the initial ones. Members of an ensemble are asked one after the other, or as one model
of the same inputs, or as one model in which each has inputs of its own, so that nothing can be
computed once for all of them. CPU milliseconds of all logits on one thread, medians of inferences
that take turns.
"""

import dataclasses
import os
import statistics
import time

from keras_sparse.storage.processes import environment

# Before TensorFlow reads how many threads it may have.
os.environ.update(environment(1))

import keras

import keras_sparse as ks
from keras_sparse.experiments.benchmark import Document, Script, Table, notes

NODES, FEATURES, CLASSES, WIDTH = 16_000, 602, 41, 256
DEGREES, MEMBERS = (490, 8), (2, 4, 8)
GIST = "GIST"


def one_model(members: int) -> str:
    return f"ensemble of {members}, one model"


def apart(members: int) -> str:
    return f"ensemble of {members}, members apart"


def separate(members: int) -> str:
    return f"ensemble of {members}, one model, inputs apart"


def with_inputs_apart(members: list[keras.Model]) -> keras.Model:
    """One model of them all, to which everything is given once for each."""
    inputs = [keras.tree.map_structure(copied, member.input) for member in members]
    outputs = [member(each) for member, each in zip(members, inputs, strict=True)]
    return keras.Model(inputs, keras.layers.Average()(outputs))


def copied(tensor: keras.KerasTensor) -> keras.KerasTensor:
    return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, sparse=tensor.sparse)


def milliseconds(degree: int, repeats: int) -> dict[str, float]:
    """Of each network, on a graph with so many neighbors of a node."""
    graph = ks.graphs.block_graph(NODES, CLASSES, FEATURES, degree=degree)
    graph = dataclasses.replace(graph, features=graph.features.toarray())
    inputs = ks.graphs.FullGraph(graph, "mean")[0][0]

    def network() -> keras.Model:
        return ks.graphs.sage(
            FEATURES, CLASSES, (WIDTH,), layer_norm=True, sparse_features=False, seed=0
        )

    models = {GIST: ([network()], inputs)}
    for m in MEMBERS:
        ensemble = ks.graphs.SubGCNEnsemble(network(), m)
        models[apart(m)] = ensemble.best, inputs
        models[one_model(m)] = [ensemble.network], inputs
        models[separate(m)] = [with_inputs_apart(ensemble.best)], [inputs] * m
    took: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(repeats + 1):
        for name, (of, given) in models.items():
            began = time.process_time()
            for model in of:
                model.predict_on_batch(given)
            if turn:  # The first traces.
                took[name].append(1000 * (time.process_time() - began))
    return {name: statistics.median(each) for name, each in took.items()}


def describe(content: dict) -> Document:
    found = content["results"]
    header = ("network", *(f"ms, {degree} neighbors" for degree in found))
    rows = [(name, *(f"{of[name]:.0f}" for of in found.values())) for name in found["490"]]
    lines = []
    for degree, of in found.items():
        for m in MEMBERS:
            for name in (apart(m), one_model(m), separate(m)):
                ratio = of[name] / of[GIST]
                told = "holds" if ratio >= 0.7 * m else "does not hold"
                text = f"{degree} neighbors, {name}: at least {0.7 * m:.1f} times GIST's"
                lines.append(f"{text} ({ratio:.2f}): {told}.")
    return Document("Inference of ensembles", [Table("Inference", header, rows), notes(lines)])


def main() -> None:
    script = Script(__doc__, repeats=9)
    args = script.args
    script.write(
        args,
        script.path.stem,
        lambda: {"results": {str(d): milliseconds(d, args.repeats) for d in DEGREES}},
        describe,
    )


if __name__ == "__main__":
    main()
