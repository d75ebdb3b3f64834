"""All weights of a model at once: cut for each worker, and merged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_sparse.graphs.gist.feature_groups import FeatureGroups, WeightAxes, WeightAxis
from keras_sparse.graphs.gist.partition import (
    Places,
    cut_weight,
    merge_weight,
    partition_features,
)

Blocks = Sequence[np.ndarray]


class Cutting:
    """How the weights of a model are cut in each round.

    Args:
        model: The whole model.
        groups: Its groups of features.
        num_blocks: Number of sub-networks.
        seed: Seed of the cuts.

    Attributes:
        axes: For each weight of `model_weights` the axes.
        names: For each its path.
        shapes: For each its shape.
    """

    def __init__(
        self, model: keras.Model, groups: FeatureGroups, num_blocks: int, seed: int
    ) -> None:
        self.groups, self.num_blocks, self.seed = groups, num_blocks, seed
        weights = model_weights(model)
        self.names = tuple(weight.path for weight in weights)
        self.axes: tuple[WeightAxes, ...] = tuple(
            axes
            for layer in layers_with_weights(model)
            for axes in groups.weights.get(
                layer.name, tuple((None,) * len(weight.shape) for weight in layer.weights)
            )
        )

        # Of the groups' widths, which may be more than the given model's.
        self.shapes = tuple(
            tuple(
                size if axis is None else self._length(axis)
                for size, axis in zip(weight.shape, axes, strict=True)
            )
            for weight, axes in zip(weights, self.axes, strict=True)
        )

    def _length(self, axis: WeightAxis) -> int:
        widths = self.groups.widths
        return axis.repeats * sum(widths[piece.group] * piece.repeats for piece in axis.pieces)

    def blocks(self, round: int) -> list[Blocks]:
        """For each sub-network its features of each group.

        Args:
            round: Number of the round.
        """
        by_group = [
            partition_features(width, self.num_blocks, self.seed, round, group)
            if cut
            else [np.arange(width)] * self.num_blocks
            for group, (width, cut) in enumerate(
                zip(self.groups.widths, self.groups.cut, strict=True)
            )
        ]
        return [list(blocks) for blocks in zip(*by_group, strict=True)]

    def sizes(self) -> list[tuple[int, ...]]:
        """For each sub-network the number of its features of each group, in every round."""
        return [tuple(map(len, blocks)) for blocks in self.blocks(0)]

    def places(self, round: int) -> list[list[Places]]:
        """For each sub-network and weight where its part lies.

        Args:
            round: Number of the round.
        """
        return [
            [[self.groups.indices(axis, blocks) for axis in axes] for axes in self.axes]
            for blocks in self.blocks(round)
        ]

    def doubly_cut(self) -> list[int]:
        """The weights that are cut on more than one side, of which a round trains a part."""
        return [
            number
            for number, axes in enumerate(self.axes)
            if sum(
                axis is not None and any(self.groups.cut[p.group] for p in axis.pieces)
                for axis in axes
            )
            > 1
        ]


def cut_all(weights: Sequence[Any], places: Sequence[Places]) -> list[np.ndarray]:
    """The parts that one sub-network has of all weights.

    Args:
        weights: Of the whole model.
        places: The sub-network's.
    """
    pairs = zip(weights, places, strict=True)
    return [cut_weight(weight, place) for weight, place in pairs]


def merge_all(
    weights: Sequence[Any], parts: Sequence[Sequence[Any]], places: Sequence[Sequence[Places]]
) -> list[np.ndarray]:
    """All weights with the trained parts of all sub-networks in them.

    Args:
        weights: Of the whole model.
        parts: For each sub-network those of all weights.
        places: For each sub-network where they lie.
    """
    return [
        merge_weight(weight, [part[i] for part in parts], [place[i] for place in places])
        for i, weight in enumerate(weights)
    ]


def model_weights(model: keras.Model) -> list[Any]:
    """The weights of a model layer by layer, which its narrow copies have in the same order."""
    return [weight for layer in layers_with_weights(model) for weight in layer.weights]


def layers_with_weights(model: keras.Model) -> list[Any]:
    """The layers of a model that have weights, in the order of `model_weights`."""
    return [layer for layer in model.layers if layer.weights]
