"""GIST for a network that is too wide for any memory: its weights stay in files."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_sparse.distribute.rounds import Rounds
from keras_sparse.graphs.gist.backends import Part
from keras_sparse.graphs.gist.blockwise import Blockwise
from keras_sparse.graphs.gist.cutting import cut_all, model_weights
from keras_sparse.graphs.gist.feature_groups import FeatureGroups, feature_groups
from keras_sparse.graphs.gist.training import RoundTraining
from keras_sparse.graphs.gist.weight_files import WeightFiles, fill
from keras_sparse.graphs.gist.worker import Answer
from keras_sparse.graphs.loaders.base import GraphLoader
from keras_sparse.messages.arguments import file_path, one_of, wrong


class WideGIST(RoundTraining):
    """GIST for a network m times as wide as the one that is given, with its weights on the disk.

    The given model is of the width that a worker can train. In the whole network every hidden
    layer has `num_subgcns` times as many features. Its weights are memory-mapped files in a
    folder of this process, of which workers are given parts; nobody ever holds all of them. The
    whole is evaluated layer by layer and some columns at a time.

    ```python
    graph = ks.graphs.load("synthetic-sbm")
    part = ks.graphs.sage(
        graph.num_features, graph.num_classes, (32, 32), sparse_features=True, seed=0
    )
    wide = ks.graphs.WideGIST(part, num_subgcns=4, local_iterations=10, folder="wide")  # width 128
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    wide.compile("adam", loss, weighted_metrics=["accuracy"])
    wide.fit(ks.graphs.FullGraph(graph, "mean"), epochs=80)
    wide.evaluate(ks.graphs.FullGraph(graph, "mean", split="test"))
    ```

    A round that was interrupted is finished or begun anew when `fit` is called again with the
    same folder, also in another process; the folder stays at the end.

    Args:
        part: A functional model as of `GIST`, of a worker's width. Of its weights only constant
            vectors, such as biases of zeros, say what the whole begins with.
        num_subgcns: m, how many times as wide the whole network is.
        local_iterations: zeta, steps of a round.
        folder: Where the weights are. The disk needs room for them and for a round's parts.
        **kwargs: As of `GIST`, without what is about the optimizer's state, backups and
            `"tf.distribute"`, whose workers all hold the whole model.

    Attributes:
        weights: The whole network's, arrays on the disk, in the order of the model's.

    Raises:
        ValueError: As of `GIST`; if the folder is of another training.

    Source: Wolfe (2023), section 2.4.3 and appendix A.1.5.
    """

    def __init__(
        self,
        part: keras.Model,
        num_subgcns: int = 2,
        local_iterations: int = 20,
        *,
        folder: str | os.PathLike[str],
        **kwargs: Any,
    ) -> None:
        super().__init__(part, num_subgcns, local_iterations, **kwargs)
        one_of("backend", self.backend, ["sequential", "process"])
        one_of("optimizer_state", self.optimizer_state, ["reset"])
        identity = {
            "num_subgcns": num_subgcns,
            "shapes": [list(shape) for shape in self.cutting.shapes],
            "seed": self.seed,
        }
        self._files = WeightFiles(
            Path(file_path("folder", folder)).expanduser(), identity, self.cutting.shapes
        )
        self._files.begin(self._first)
        self.weights = self._files.weights

    def feature_groups(self) -> FeatureGroups:
        """Hidden features are cut, and are m times as many as those of a part."""
        return widened(feature_groups(self.model), self.num_subgcns)

    def _first(self, number: int, weight: np.ndarray) -> None:
        """What a weight begins with."""
        variable = model_weights(self.model)[number]
        value = np.asarray(keras.ops.convert_to_numpy(variable))
        if (value == value.flat[0]).all():
            weight[...] = value.flat[0]
            return
        layer = next(
            layer for layer in self.model.layers for each in layer.weights if each is variable
        )
        initializer = getattr(layer, f"{variable.name}_initializer", None)
        if initializer is None and value.ndim > 1:
            initializer = keras.initializers.GlorotUniform()
        if initializer is None:
            allowed = "a model whose vectors are constant"
            raise wrong("part", variable.path, allowed, "The whole network's would be unknown")
        fill(weight, initializer, self.seed + number)

    def shared(self) -> list[Any]:
        """The weights on the disk."""
        return list(self._files.weights)

    def part(self, round: int, rank: int) -> Part:
        """A worker's part of the weights."""
        cut = cut_all(self.weights, self.places(round)[rank])
        return Part(cut, cut)

    def put_together(self, round: int, answers: Sequence[Answer]) -> None:
        """Writes the parts into the files."""
        self._files.apply([answer.values for answer in answers], self.places(round))

    def begin(self, rounds: Rounds) -> None:
        """Goes on from the round that the files are of."""
        rounds.begin([], [])
        rounds.number = self._files.rounds

    def save(self, rounds: Rounds) -> None:
        """The files are the state."""

    def finish(self, rounds: Rounds) -> None:
        """The files stay."""

    def validate(self, loader: GraphLoader) -> dict[str, float]:
        """The metrics of the whole network."""
        return self.evaluate(loader, return_dict=True)

    def evaluate(self, loader: GraphLoader, **kwargs: Any) -> Any:
        """Evaluates the whole network, layer by layer and some columns at a time.

        Args:
            loader: The nodes to evaluate on.
            **kwargs: `return_dict`, as of `keras.Model.evaluate`.
        """
        blockwise = Blockwise(self.model, self.groups, self.cutting, self.weights)
        logits = keras.Input((self.groups.widths[-1],))
        scorer = keras.Model(logits, keras.layers.Identity()(logits))
        scorer.compile(loss=self.model.loss, weighted_metrics=self._metrics)
        found: Any = None
        for index in range(len(loader)):
            inputs, labels, weights = loader[index]
            found = scorer.test_on_batch(
                blockwise(inputs), labels, weights, return_dict=kwargs.get("return_dict", False)
            )
        return found

    def compile(
        self, optimizer: Any = "adam", loss: Any = None, weighted_metrics: Any = None
    ) -> None:
        """As of `GIST`."""
        super().compile(optimizer, loss, weighted_metrics)
        self._metrics = weighted_metrics


def widened(groups: FeatureGroups, times: int) -> FeatureGroups:
    """Groups of features of which those that are cut are several times as many.

    Args:
        groups: Of a worker's model.
        times: How many times.
    """
    widths = [
        width * times if cut else width
        for width, cut in zip(groups.widths, groups.cut, strict=True)
    ]
    return dataclasses.replace(groups, widths=tuple(widths))
