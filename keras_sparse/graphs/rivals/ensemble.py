"""An ensemble of sub-networks that are cut once and never put together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.graphs.gist.backends import Part
from keras_sparse.graphs.gist.cutting import cut_all, model_weights
from keras_sparse.graphs.gist.feature_groups import FeatureGroups, feature_groups
from keras_sparse.graphs.gist.slots import slots_to_keep
from keras_sparse.graphs.gist.sub_network import sub_network
from keras_sparse.graphs.gist.training import RoundTraining
from keras_sparse.graphs.gist.worker import Answer, without_schedule
from keras_sparse.graphs.loaders.base import GraphLoader
from keras_sparse.messages.arguments import one_of

MEANS = ("softmax", "logits")


class SubGCNEnsemble(RoundTraining):
    """Sub-networks that are cut once, trained apart to the end, and asked together.

    ```python
    graph = ks.graphs.load("synthetic-sbm")
    model = ks.graphs.gcn(graph.num_features, graph.num_classes, (64, 64), layer_norm=True)
    ensemble = ks.graphs.SubGCNEnsemble(model, num_subgcns=2, local_iterations=10)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    ensemble.compile("adam", loss, weighted_metrics=["accuracy"])
    validation = ks.graphs.FullGraph(graph, "gcn", split="validation")
    ensemble.fit(ks.graphs.FullGraph(graph, "gcn"), epochs=40, validation_data=validation)
    together = ensemble.network  # a Keras model of all members
    ```

    The members are trained in this process. A member that is best on the validation data after
    some round is kept as it was then; without validation data the last one is.

    Args:
        model: As of `GIST`. It stays as it is; the members begin with parts of its weights.
        num_subgcns: Number of members.
        local_iterations: Steps between two looks at the validation data.
        mean: Whether the members' probabilities (`"softmax"`) or logits are averaged. With the
            first the answer is the logarithm of the mean, so that the loss of logits holds.
        **kwargs: As of `GIST`, without what is about workers and the optimizer's state.

    Attributes:
        members: The sub-networks as they are.
        best: Those that are kept.
        network: The whole ensemble as one model.

    Source: Wolfe (2023), appendix A.2.2.
    """

    def __init__(
        self,
        model: keras.Model,
        num_subgcns: int = 2,
        local_iterations: int = 20,
        *,
        mean: str = "softmax",
        **kwargs: Any,
    ) -> None:
        one_of("mean", mean, MEANS)
        super().__init__(
            model, num_subgcns, local_iterations, optimizer_state="partition", **kwargs
        )
        one_of("backend", self.backend, ["sequential"])
        values = [np.asarray(ops.convert_to_numpy(each)) for each in model_weights(model)]
        sizes, places = self.cutting.sizes(), self.cutting.places(0)
        self.members, self.best = (
            [
                sub_network(model, self.groups, size, f"{kind}{rank}")
                for rank, size in enumerate(sizes)
            ]
            for kind in ("member", "best")
        )
        for members in (self.members, self.best):
            for member, place in zip(members, places, strict=True):
                _give(model_weights(member), cut_all(values, place))
        self._scores = keras.Variable(
            [math.inf] * num_subgcns, dtype="float32", trainable=False, name="scores"
        )
        self.network = _averaged(model, self.best, mean)

    def feature_groups(self) -> FeatureGroups:
        """Hidden features are cut."""
        return feature_groups(self.model)

    def compile(
        self, optimizer: Any = "adam", loss: Any = None, weighted_metrics: Any = None
    ) -> None:
        """As of `GIST`."""
        super().compile(optimizer, loss, weighted_metrics)
        config = keras.optimizers.serialize(self.model.optimizer)
        for member in self.members:
            own = without_schedule(config)[0]
            own.build(member.trainable_variables)
            member.compile(own, loss, weighted_metrics=weighted_metrics)
        self.network.compile(loss=loss, weighted_metrics=weighted_metrics)

    def shared(self) -> list[Any]:
        """What all members are, were at their best, and scored then."""
        own = [each for rank in range(self.num_subgcns) for each in self._state(rank)]
        best = [each for member in self.best for each in model_weights(member)]
        return [*own, *best, self._scores]

    def _state(self, rank: int) -> list[Any]:
        member = self.members[rank]
        return [*model_weights(member), *slots_to_keep(member)]

    def part(self, round: int, rank: int) -> Part:
        """A member goes on as it is."""
        values = [np.asarray(ops.convert_to_numpy(each)) for each in self._state(rank)]
        return Part(values, values)

    def put_together(self, round: int, answers: Sequence[Answer]) -> None:
        """Members stay apart."""
        for rank, answer in enumerate(answers):
            _give(self._state(rank), answer.values)
            if not np.isfinite(ops.convert_to_numpy(self._scores)[rank]):
                self._keep(rank)

    def _keep(self, rank: int) -> None:
        _give(model_weights(self.best[rank]), model_weights(self.members[rank]))

    def validate(self, loader: GraphLoader) -> dict[str, float]:
        """Keeps members that are better than before, and scores all of them together."""
        scores = np.array(ops.convert_to_numpy(self._scores))
        for rank, member in enumerate(self.members):
            found = member.evaluate(loader, verbose=0, return_dict=True)
            # The metric that was compiled counts, and the loss where there is none.
            names = [name for name in found if name != "loss"]
            score = -found[names[0]] if names else found["loss"]
            if score < scores[rank]:
                scores[rank] = score
                self._keep(rank)
        self._scores.assign(scores)
        return self.network.evaluate(loader, verbose=0, return_dict=True)

    def evaluate(self, loader: GraphLoader, **kwargs: Any) -> Any:
        """Evaluates the ensemble.

        Args:
            loader: The nodes to evaluate on.
            **kwargs: As of `keras.Model.evaluate`.
        """
        return self.network.evaluate(loader, **kwargs)

    def round_logs(self, round: int) -> dict[str, float]:
        """The members' weights are sent once, and come back at the end."""
        weights = [each for member in self.members for each in model_weights(member)]
        sent = sum(np.asarray(ops.convert_to_numpy(each)).nbytes for each in weights)
        return {"comm_bytes": float(sent)}


def _give(variables: Sequence[Any], values: Sequence[Any]) -> None:
    for variable, value in zip(variables, values, strict=True):
        # A copy: two variables of JAX must not share what a step gives up.
        variable.assign(np.array(ops.convert_to_numpy(value)))


def _averaged(model: keras.Model, members: Sequence[keras.Model], mean: str) -> keras.Model:
    inputs = model.input
    outputs = [member(inputs) for member in members]
    if mean == "logits":
        answer = keras.layers.Average()(outputs) if len(outputs) > 1 else outputs[0]
    else:
        answer = ops.log(
            ops.mean(ops.stack([ops.softmax(each) for each in outputs]), axis=0) + 1e-30
        )
    return keras.Model(inputs, answer, name=f"{model.name}_ensemble")
