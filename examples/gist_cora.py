"""A wide graph network trained as four narrow ones, on the papers of Cora.

    PLANETOID_DIR=... python examples/gist_cora.py

Four sub-networks take turns in this process. `BACKEND = "process"` gives each a process of its own.
"""

import keras

import keras_sparse as ks

GRAPH = "cora"
WIDTH, EPOCHS, BACKEND = 256, 200, "sequential"


def main() -> None:
    """Trains, and says what came of it and what was sent."""
    graph = ks.graphs.load(GRAPH)
    model = ks.graphs.gcn(
        graph.num_features,
        graph.num_classes,
        (WIDTH, WIDTH),
        layer_norm=True,  # blocks of features keep their scale when they are put together
        dropout=0.5,
        kernel_regularizer=keras.regularizers.L2(2.5e-4),
        seed=0,
    )
    gist = ks.graphs.GIST(model, num_subgcns=4, local_iterations=5, backend=BACKEND)
    gist.compile(
        keras.optimizers.Adam(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=["accuracy"],
    )
    history = gist.fit(
        ks.graphs.FullGraph(graph, "gcn"),
        epochs=EPOCHS,  # of all workers together: a quarter of them each
        validation_data=ks.graphs.FullGraph(graph, "gcn", split="validation"),
        verbose=2,
    )
    test = ks.graphs.FullGraph(graph, "gcn", split="test")
    accuracy = gist.evaluate(test, verbose=0, return_dict=True)["accuracy"]
    print(f"{accuracy:.2%} of the test nodes are classified rightly")
    logs = history.history
    print(f"{logs['coverage'][-1]:.0%} of the weights between cut features were trained")
    local = ks.graphs.communication_volume(model, 4, len(logs["loss"]), "local_sgd")
    sent = logs["comm_bytes"][-1]
    print(f"{sent / 1e6:.1f} MB were sent, and local SGD would have sent {4 * local / 1e6:.1f} MB")
    ks.plots.training_by_cost({"GIST, m=4": history}, "gist_cora.png")
    model.save("gist_cora.keras")  # an ordinary model of full width


if __name__ == "__main__":
    main()
