"""Local SGD: every worker trains the whole model, and all weights are averaged."""

from __future__ import annotations

import dataclasses

from keras_sparse.graphs.gist.feature_groups import FeatureGroups, feature_groups
from keras_sparse.graphs.gist.training import RoundTraining


class LocalSGD(RoundTraining):
    """Local SGD: each worker trains the whole model for a round, and the mean is taken.

    ```python
    graph = ks.graphs.load("synthetic-sbm")
    model = ks.graphs.gcn(graph.num_features, graph.num_classes, (64, 64))
    local = ks.graphs.LocalSGD(model, num_subgcns=2, local_iterations=10)
    local.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    local.fit(ks.graphs.FullGraph(graph, "gcn"), epochs=40)
    ```

    The arguments are those of `GIST`, without what is about cuts; `num_subgcns` is the number of
    workers, and with `optimizer_state="partition"` the optimizers' states are averaged as well.

    Source: Stich (2019), Algorithm 1; Wolfe (2023), appendix A.2.1.
    """

    def feature_groups(self) -> FeatureGroups:
        """Nothing is cut."""
        groups = feature_groups(self.model)
        return dataclasses.replace(groups, cut=(False,) * len(groups.cut), bare=())
