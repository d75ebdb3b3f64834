"""GIST: narrow sub-networks, trained apart from each other and put together in rounds."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import Any

import keras
import numpy as np

from keras_sparse.graphs.gist.budget import Budget
from keras_sparse.graphs.gist.coverage import Coverage
from keras_sparse.graphs.gist.feature_groups import FeatureGroups, feature_groups
from keras_sparse.graphs.gist.training import RoundTraining
from keras_sparse.messages.arguments import boolean, strings
from keras_sparse.messages.warning import SparsityWarning


class GIST(RoundTraining):
    """Graph independent subnetwork training of a wide graph network.

    In each round the hidden features of every layer are cut at random into disjoint blocks. Each
    block makes a narrow network of the same depth, which a worker trains for some steps by
    itself; then the blocks are copied back. A worker's memory, computing and traffic fall with
    the number of sub-networks.

    ```python
    graph = ks.graphs.load("synthetic-sbm")
    model = ks.graphs.gcn(graph.num_features, graph.num_classes, (256, 256), layer_norm=True)
    gist = ks.graphs.GIST(model, num_subgcns=4, local_iterations=10)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    gist.compile(keras.optimizers.Adam(0.01), loss, weighted_metrics=["accuracy"])
    gist.fit(ks.graphs.FullGraph(graph, "gcn"), epochs=200)
    gist.evaluate(ks.graphs.FullGraph(graph, "gcn", split="test"))
    model.save("wide.keras")
    ```

    With `num_subgcns=1` and `local_iterations` of all steps it is ordinary training.

    Args:
        model: A functional model of layers that say which features cut their weights, such as
            `GraphConv`, of `Dense`, and of layers that treat each feature alike. It is trained
            in place.
        num_subgcns: m, the number of sub-networks, at most as many as any layer has features.
            Blocks of a width that it does not divide differ by one.
        local_iterations: zeta, steps of a round.
        partition_input: Whether input features are cut as well, an ablation.
        whole: Names of layers whose features are not cut, an ablation.
        optimizer_state: `"reset"` for an optimizer that starts anew in each round, `"partition"`
            for one whose state is cut and merged as the weights are, which is sent as well.
        backend: `"sequential"` trains the sub-networks one after the other, `"process"` in a
            process each with this one as server, and `"tf.distribute"` in processes that all run
            the same script (`keras-sparse launch --workers m script.py`) and each hold the model.
        workers: For `"tf.distribute"` what the workers talk through. Defaults to
            `ks.distribute.connect()`.
        backup: Folder for the state after each round. If it holds one, `fit` goes on from there;
            at the end it is emptied.
        same_batches: Whether all workers see the same batches.
        split_epochs: Whether the epochs of `fit` are shared out among the workers.
        threads: Threads of each process of `"process"`.
        seed: Seed of the cuts and of dropout.

    Raises:
        ValueError: If an argument is out of range, or a layer between cut features is not
            understood.

    Source: Wolfe (2023), Algorithm 1.
    """

    def __init__(
        self,
        model: keras.Model,
        num_subgcns: int = 2,
        local_iterations: int = 20,
        *,
        partition_input: bool = False,
        whole: Collection[str] = (),
        **kwargs: Any,
    ) -> None:
        self.partition_input = boolean("partition_input", partition_input)
        self.whole = strings("whole", list(whole))
        super().__init__(model, num_subgcns, local_iterations, **kwargs)
        self.coverage = Coverage(self.cutting)
        if self.groups.bare and num_subgcns > 1:
            warnings.warn(
                f"Layer {self.groups.bare[0]!r} takes features that are cut and not normalized. "
                "A sub-network sums up fewer of them than the whole model does, so that their "
                "scale changes where blocks are put together. Build the network with "
                "layer_norm=True.",
                SparsityWarning,
                stacklevel=2,
            )

    def feature_groups(self) -> FeatureGroups:
        """Hidden features are cut."""
        return feature_groups(self.model, partition_input=self.partition_input, whole=self.whole)

    def look_at(self, plan: Budget) -> None:
        """Warns of fewer rounds than sub-networks."""
        if plan.rounds < self.num_subgcns and self.cutting.doubly_cut():
            warnings.warn(
                f"{plan.local_steps} steps of each worker make {plan.rounds} rounds, fewer than "
                f"the {self.num_subgcns} sub-networks, so that most weights between cut features "
                "are never trained. Give more epochs, or a smaller local_iterations.",
                SparsityWarning,
                stacklevel=3,
            )

    def round_logs(self, round: int) -> dict[str, float]:
        """The share of the weights between cut features that was trained so far."""
        shares = list(self.coverage.after(round + 1).values())
        return {"coverage": float(np.mean(shares))} if shares else {}
