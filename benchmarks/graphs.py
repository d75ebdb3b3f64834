"""The plain graph convolutional network on Cora and CiteSeer: accuracy, and CPU time of an epoch.

    PLANETOID_DIR=... python benchmarks/graphs.py

16 hidden units, dropout 0.5, L2 of the first kernel (Kipf and Welling 2017, section 5.2), Adam at
0.01, 200 epochs, the public split with features divided by their sums. The accuracy is that after
the last epoch: nothing is chosen by validation. An epoch is one pass over the whole graph in `fit`.
"""

import time
from pathlib import Path

import keras

import keras_sparse as ks
from keras_sparse.experiments.document import Document, Script, Table, notes
from keras_sparse.experiments.study import Study, Variant
from keras_sparse.experiments.summary import mean_and_spread

HERE = Path(__file__).parent
EPOCHS = 200
# Coupled weight decay of 5e-4, as Keras's L2 is not halved.
DECAY = 2.5e-4
# At least this accuracy, and at most these CPU milliseconds an epoch.
ASKED = {"cora": (0.81, 5.0), "citeseer": (0.695, 7.0)}


def run(config: dict, folder: Path) -> dict:
    """Trains one network; the time is that of the epochs after the first half."""
    graph = ks.graphs.load(config["graph"])
    keras.utils.set_random_seed(config["seed"])
    model = ks.graphs.gcn(
        graph.num_features,
        graph.num_classes,
        dropout=0.5,
        seed=config["seed"],
    )
    model.get_layer("hidden1").kernel.regularizer = keras.regularizers.L2(DECAY)
    model.compile(
        keras.optimizers.Adam(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=["accuracy"],
    )
    half = ks.graphs.FullGraph(graph, "gcn", steps=EPOCHS // 2).dataset()
    model.fit(half, shuffle=False, verbose=0)
    began = time.process_time()
    model.fit(half, shuffle=False, verbose=0)
    spent = time.process_time() - began
    test = ks.graphs.FullGraph(graph, "gcn", split="test")
    _, accuracy = model.evaluate(test, verbose=0)
    return {"accuracy": accuracy, "milliseconds": 1000 * spent / len(half)}


def describe(content: dict) -> Document:
    rows, lines = [], []
    for name, (accuracy, milliseconds) in ASKED.items():
        runs = content["results"][name]
        found, spread = mean_and_spread([100 * each["accuracy"] for each in runs])
        took, _ = mean_and_spread([each["milliseconds"] for each in runs])
        rows.append((name, f"{found:.2f} ± {spread:.2f}", f"{took:.2f}"))
        for what, holds in (
            (f"at least {accuracy:.1%}", found >= 100 * accuracy),
            (f"at most {milliseconds:g} CPU ms an epoch", took <= milliseconds),
        ):
            lines.append(f"{name}: {what}: {'holds' if holds else 'does not hold'}.")
    header = ("graph", "test accuracy %", "CPU ms an epoch")
    return Document("Graph networks", [Table("Plain GCN", header, rows), notes(lines)])


def main() -> None:
    script = Script(__doc__, HERE / "results", repeats=5)
    args = script.parser.parse_args()
    variants = {name: Variant({"graph": name}) for name in ASKED}

    def measure() -> dict:
        study = Study(variants, range(args.repeats), run)
        return {"results": study.make(HERE / "build" / "graphs", 1)}

    script.write(args, "graphs", measure, describe)


if __name__ == "__main__":
    main()
