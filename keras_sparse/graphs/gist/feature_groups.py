"""Which features of a model are cut together, and which weights along with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_sparse.graphs.layers.cuts import Cut, WeightCuts
from keras_sparse.messages.arguments import one_of
from keras_sparse.probe.layer_graph import Call, layer_graph

_ELEMENTWISE = (
    keras.layers.Activation,
    keras.layers.AlphaDropout,
    keras.layers.Dropout,
    keras.layers.ELU,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.Identity,
    keras.layers.LeakyReLU,
    keras.layers.ReLU,
)
_NORMALIZING = (keras.layers.BatchNormalization, keras.layers.LayerNormalization)
_ADDING = (
    keras.layers.Add,
    keras.layers.Average,
    keras.layers.Maximum,
    keras.layers.Minimum,
    keras.layers.Multiply,
    keras.layers.Subtract,
)


class Piece(NamedTuple):
    """A run of features: a group, several times over."""

    group: int
    repeats: int


@dataclasses.dataclass(frozen=True)
class Features:
    """The last axis of a tensor, as groups one after the other.

    Args:
        pieces: The groups.
        normalized: Whether a normalization has brought them to one scale.
    """

    pieces: tuple[Piece, ...]
    normalized: bool


@dataclasses.dataclass(frozen=True)
class WeightAxis:
    """An axis of a weight: what lies along it, `repeats` times over."""

    pieces: tuple[Piece, ...]
    repeats: int


# For each axis of a weight what lies along it, `None` for an axis that stays whole.
WeightAxes = tuple[WeightAxis | None, ...]


@dataclasses.dataclass(frozen=True)
class FeatureGroups:
    """The groups of features of a model.

    Args:
        names: For each group the input or the layer that its features come from first.
        widths: The number of its features.
        cut: Whether sub-networks have a block of it each, or all of it.
        inputs: For each input of the model its pieces, empty for what has no features.
        made: For each layer that makes features, by name, the group of them.
        weights: For each layer with weights, by name, the axes of its weights.
        bare: Layers that take cut features which no normalization came before.
    """

    names: tuple[str, ...]
    widths: tuple[int, ...]
    cut: tuple[bool, ...]
    inputs: tuple[tuple[Piece, ...], ...]
    made: dict[str, int]
    weights: dict[str, tuple[WeightAxes, ...]]
    bare: tuple[str, ...]

    def indices(self, axis: WeightAxis | None, blocks: Sequence[np.ndarray]) -> np.ndarray | None:
        """Where a sub-network's blocks lie on an axis of a weight, `None` for all of it.

        Args:
            axis: The axis.
            blocks: For each group the sub-network's indices.
        """
        if axis is None or not any(self.cut[piece.group] for piece in axis.pieces):
            return None
        found, offset = [], 0
        for group, repeats in axis.pieces:
            width = self.widths[group]
            found.append(offset + Cut("in", repeats).indices(blocks[group], width))
            offset += repeats * width
        return Cut("in", axis.repeats).indices(np.concatenate(found), offset)

    def cut_input(self, num_blocks: int) -> tuple[int, int, int] | None:
        """Of input features that are cut their number, that of blocks, and their group.

        Args:
            num_blocks: Number of blocks.
        """
        pieces = [piece for each in self.inputs for piece in each if self.cut[piece.group]]
        return (self.widths[pieces[0].group], num_blocks, pieces[0].group) if pieces else None


def feature_groups(
    model: keras.Model, *, partition_input: bool = False, whole: Collection[str] = ()
) -> FeatureGroups:
    """Follows features through a functional model.

    Cut are those that lie between layers. Those of the output are not, and those of the input if
    asked for. What an addition brings together is one group; a concatenation is made of several.

    Args:
        model: A functional model of layers that say which features cut their weights, such as
            `GraphConv`, of `Dense`, and of layers that treat each feature alike.
        partition_input: Whether input features are cut as well.
        whole: Names of layers whose output features are not cut.

    Raises:
        ValueError: If a layer that takes cut features is not understood, naming it.

    Source: Wolfe (2023), section 2.2.1.
    """
    tracer = _Tracer()
    graph = layer_graph(model)
    for tensor in graph.inputs:
        tracer.add_input(tensor)
    for call in graph.calls:
        tracer.follow(call)
    for name in whole:
        one_of("whole", name, tracer.made)
    kept = [tracer.made[name] for name in whole]
    kept += [] if partition_input else tracer.groups_of(graph.inputs)
    return tracer.result(model, graph.inputs, [*kept, *tracer.groups_of(graph.outputs)])


def _declared(layer: Any) -> tuple[WeightCuts, Cut] | None:
    """What a layer that makes features says of its weights and its output."""
    if type(layer) is keras.layers.Dense:
        return {"kernel": (Cut("in"), Cut("out")), "bias": (Cut("out"),)}, Cut("out")
    cuts = getattr(layer, "weight_cuts", None)
    return None if cuts is None else (cuts, layer.output_cut)


class _Tracer:
    def __init__(self) -> None:
        self.names: list[str] = []
        self.widths: list[int] = []
        self.parent: list[int] = []
        self.features: dict[int, Features] = {}
        self.made: dict[str, int] = {}
        self.weights: dict[str, tuple[WeightAxes, ...]] = {}
        self.taken: dict[str, Features] = {}
        self.unknown: list[tuple[str, list[int]]] = []
        self.opaque: list[int] = []

    def _new(self, name: str, width: int) -> int:
        self.names.append(name)
        self.widths.append(width)
        self.parent.append(len(self.parent))
        return len(self.parent) - 1

    def _root(self, group: int) -> int:
        while self.parent[group] != group:
            group = self.parent[group]
        return group

    def groups_of(self, tensors: Sequence[Any]) -> list[int]:
        found = (self.features.get(id(tensor)) for tensor in tensors)
        return [piece.group for each in found if each for piece in each.pieces]

    def add_input(self, tensor: Any) -> None:
        if len(tensor.shape) == 2 and tensor.shape[-1] is not None:
            group = self._new(tensor.name, tensor.shape[-1])
            # Nobody knows the scale of given features, and it is the same for all sub-networks.
            self.features[id(tensor)] = Features((Piece(group, 1),), normalized=True)

    def follow(self, call: Call) -> None:
        layer = call.operation
        taken = [self.features.get(id(tensor)) for tensor in call.inputs]
        first, rest = taken[0], [each for each in taken[1:] if each]
        declared = None if call.graph else _declared(layer)
        found: Features | None = None
        if first and not rest and declared:
            found = self._make(layer, first, *declared)
        elif first and not rest and isinstance(layer, _ELEMENTWISE):
            found = first
        elif first and not rest and isinstance(layer, _NORMALIZING) and _of_features(layer):
            axis = WeightAxis(first.pieces, 1)
            self.weights[layer.name] = tuple((axis,) for _ in layer.weights)
            found = dataclasses.replace(first, normalized=True)
        elif all(taken) and isinstance(layer, _ADDING):
            found = self._add([each for each in taken if each])
        elif all(taken) and isinstance(layer, keras.layers.Concatenate) and layer.axis in (-1, 1):
            joined = [each for each in taken if each]
            found = Features(
                tuple(piece for each in joined for piece in each.pieces),
                all(each.normalized for each in joined),
            )
        if found is None:
            self._give_up(call)
        else:
            self.features[id(call.outputs[0])] = found

    def _make(self, layer: Any, first: Features, cuts: WeightCuts, output: Cut) -> Features:
        group = self.made.get(layer.name)
        if group is None:
            group = self.made[layer.name] = self._new(layer.name, layer.units)
        elif self.taken[layer.name].pieces != first.pieces:
            # A shared layer has one set of weights, so that its inputs are cut alike.
            self._add([self.taken[layer.name], first])
        self.taken[layer.name] = first
        along = {"in": first.pieces, "out": (Piece(group, 1),)}
        self.weights[layer.name] = tuple(
            tuple(
                WeightAxis(along[cut.group], cut.repeats) if cut else None
                for cut in cuts[weight.name]
            )
            for weight in layer.weights
        )
        return Features((Piece(group, output.repeats),), normalized=False)

    def _add(self, taken: Sequence[Features]) -> Features | None:
        """Makes one group of those that meet, if they are as many and as wide."""
        first = taken[0]
        for other in taken[1:]:
            if self._shape(other) != self._shape(first):
                return None
            for one, two in zip(first.pieces, other.pieces, strict=True):
                self.parent[self._root(two.group)] = self._root(one.group)
        return Features(first.pieces, all(each.normalized for each in taken))

    def _shape(self, features: Features) -> list[tuple[int, int]]:
        return [(self.widths[piece.group], piece.repeats) for piece in features.pieces]

    def _give_up(self, call: Call) -> None:
        self.unknown.append((call.name, self.groups_of(call.inputs)))
        weights = getattr(call.operation, "weights", ())
        if weights:
            self.weights[call.name] = tuple((None,) * len(weight.shape) for weight in weights)
        for output in call.outputs:
            width = output.shape[-1] if len(output.shape) else None
            if width is not None:
                # What is not understood makes the same features for everybody.
                self.opaque.append(self._new(call.name, width))
                piece = Piece(self.opaque[-1], 1)
                self.features[id(output)] = Features((piece,), normalized=True)

    def result(
        self, model: keras.Model, inputs: Sequence[Any], kept: Sequence[int]
    ) -> FeatureGroups:
        whole = {self._root(group) for group in (*kept, *self.opaque)}
        for name, groups in self.unknown:
            blocked = [self.names[group] for group in groups if self._root(group) not in whole]
            if blocked:
                raise ValueError(
                    f"Layer {name!r} of model {model.name!r} takes features of {blocked[0]!r}, "
                    "which are to be cut, and it is not known what it does with them. Use layers "
                    "of ks.graphs, Dense, normalizations, activations, dropout, Add and "
                    "Concatenate, give a layer of your own the properties weight_cuts and "
                    f"output_cut, or keep the features whole with whole=[{blocked[0]!r}]."
                )
        roots = sorted({self._root(group) for group in range(len(self.names))})
        number = {root: i for i, root in enumerate(roots)}

        def renamed(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
            return tuple(Piece(number[self._root(p.group)], p.repeats) for p in pieces)

        def renamed_axes(axes: WeightAxes) -> WeightAxes:
            return tuple(
                dataclasses.replace(axis, pieces=renamed(axis.pieces)) if axis else None
                for axis in axes
            )

        first = [self.features.get(id(tensor)) for tensor in inputs]
        cut = tuple(root not in whole for root in roots)
        bare = [
            name
            for name, taken in self.taken.items()
            if not taken.normalized and any(cut[p.group] for p in renamed(taken.pieces))
        ]
        return FeatureGroups(
            names=tuple(self.names[root] for root in roots),
            widths=tuple(self.widths[root] for root in roots),
            cut=cut,
            inputs=tuple(renamed(each.pieces) if each else () for each in first),
            made={name: number[self._root(group)] for name, group in self.made.items()},
            weights={name: tuple(map(renamed_axes, axes)) for name, axes in self.weights.items()},
            bare=tuple(bare),
        )


def _of_features(layer: Any) -> bool:
    """Whether a normalization's weights are one for each feature."""
    axis = layer.axis
    return (axis if isinstance(axis, int) else axis[0] if len(axis) == 1 else 0) in (-1, 1)
