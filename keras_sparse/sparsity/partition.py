"""Layers that grow together: every variable of a model belongs to exactly one partition."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import keras

from keras_sparse.messages.arguments import integer, one_of, wrong
from keras_sparse.probe.variables import owners, places
from keras_sparse.sparsity.balance import WAYS, parts_of
from keras_sparse.sparsity.granularity import Granularity, get_granularity
from keras_sparse.sparsity.selection import (
    Selection,
    Target,
    Which,
    select,
    variables_meant,
)


@dataclasses.dataclass(frozen=True)
class GrowPrunePartition:
    """Layers of a model that grow dense together and are pruned together.

    ```python
    stem = ks.GrowPrunePartition(["conv1", "stage1_*"])
    rest = ks.GrowPrunePartition(["stage2_*", "logits"])
    model.fit(x, y, epochs=12, callbacks=[ks.CyclicGaP(0.9, [stem, rest])])

    parts = ks.GrowPrunePartition.partition(model, 4, by="flops")
    ```

    Args:
        layers: Layers, layer names, variable paths or globs. Between them the partitions of a
            model name each layer that is pruned, once. What nobody names (normalization,
            embeddings) goes with the layer before it.

    Raises:
        ValueError: If nothing is named.

    Source: Ma et al. (2022), section 2 and 6.
    """

    layers: tuple[str | keras.layers.Layer, ...]

    def __init__(
        self, layers: str | keras.layers.Layer | Iterable[str | keras.layers.Layer]
    ) -> None:
        one = isinstance(layers, (str, keras.layers.Layer)) or not isinstance(layers, Iterable)
        given = (layers,) if one else tuple(layers)
        if not given or not all(isinstance(x, (str, keras.layers.Layer)) for x in given):
            raise wrong("layers", layers, "at least one layer, layer name, variable path or glob")
        object.__setattr__(self, "layers", given)

    @classmethod
    def partition(
        cls,
        model: keras.Model,
        kappa: int,
        by: str = "params",
        *,
        seed: int = 0,
        exclude: Which = (),
        include: Which = (),
        keep_dense: Any = (),
        granularity: Granularity | str | None = None,
    ) -> tuple[GrowPrunePartition, ...]:
        """Divides the layers of a model.

        Args:
            model: A built Keras model.
            kappa: How many partitions, from 1 to the number of prunable layers.
            by: `"params"` (consecutive layers, prunable weights balanced), `"flops"`
                (operations balanced), `"stages"` (cut at the last `kappa - 1` layers that make
                feature maps smaller, as the source does) or `"random"` (layers dealt out at
                random: an ablation).
            seed: Seed of the random way.
            exclude: What is not pruned; this and the rest as for the training.
            include: What is pruned though it would not be by default.
            keep_dense: Any of `"first"`, `"last"`, `"depthwise"`.
            granularity: The pruning pattern.

        Returns:
            The partitions in the order of the layers.

        Raises:
            ValueError: If `kappa` is out of range, or the model cannot be divided that way.
        """
        integer("kappa", kappa)
        one_of("by", by, WAYS)
        integer("seed", seed, 0)
        pattern = get_granularity(granularity)
        selection = select(
            model,
            exclude=exclude,
            include=include,
            keep_dense=keep_dense,
            granularity=pattern,
        )
        place = places(model)
        owner = {key: at.layer for key, at in place.items()}
        partitioning = divide(model, selection, kappa, by, seed)
        named: list[list[str | keras.layers.Layer]] = [[] for _ in range(kappa)]
        for layer, number in _layer_numbers(model, owner, partitioning):
            own = {id(v) for v in model.variables if owner[id(v)] is layer}
            if variables_meant(layer.name, "layers", place, model) == own:
                named[number].append(layer.name)
            else:
                paths = [place[id(v)].path for v in model.variables if id(v) in own]
                named[number].extend(paths)
        return tuple(cls(layers) for layers in named)


@dataclasses.dataclass(frozen=True)
class Partitioning:
    """To which partition each variable of one model belongs.

    Args:
        count: How many partitions there are.
        owner: For each of `model.variables` the number of its partition.
        of_target: For each tensor to prune the number of its partition.
        layer_of_target: For each tensor to prune the number of its layer.
    """

    count: int
    owner: tuple[int, ...]
    of_target: tuple[int, ...]
    layer_of_target: tuple[int, ...]

    def variables(self, model: keras.Model, number: int) -> list[Any]:
        """The variables of a partition, prunable or not."""
        pairs = zip(model.variables, self.owner, strict=True)
        return [variable for variable, owner in pairs if owner == number]

    def combine(self, values: Sequence[Sequence[Any]]) -> list[Any]:
        """The variables of a model of which each partition was trained apart.

        Each variable is taken from the training that its partition was dense in: nothing is
        averaged, and what a training did to other partitions is dropped.

        Args:
            values: For each partition the values of all of `model.variables` after its training.

        Source: Ma et al. (2022), Algorithm 2.
        """
        return [values[owner][i] for i, owner in enumerate(self.owner)]


def divide(
    model: keras.Model, selection: Selection, kappa: int, by: str = "params", seed: int = 0
) -> Partitioning:
    """Divides the layers of a model into partitions. See `GrowPrunePartition.partition`."""
    layers = _prunable_layers(model, selection)
    if isinstance(kappa, bool) or not isinstance(kappa, int) or not 1 <= kappa <= len(layers):
        raise ValueError(
            f"The number of partitions is an integer from 1 to the number of layers to prune, "
            f"which is {len(layers)} in model {model.name!r}. Received: partitions={kappa!r}"
        )
    numbers = parts_of(model, layers, kappa, by, seed)
    chosen = {id(layer): int(n) for (layer, _), n in zip(layers, numbers, strict=True)}
    owner = owners(model)
    named = {id(v): chosen[id(owner[id(v)])] for v in model.variables if id(owner[id(v)]) in chosen}
    return _complete(model, selection, kappa, named)


def resolve(
    model: keras.Model, selection: Selection, partitions: Sequence[GrowPrunePartition]
) -> Partitioning:
    """What partitions given by names mean in a model.

    Raises:
        ValueError: If two of them overlap, a layer to prune is in none, or a partition has
            nothing to prune.
    """
    place = places(model)
    named: dict[int, int] = {}
    for number, partition in enumerate(partitions):
        hits = variables_meant(partition.layers, "partitions", place, model)
        twice = [key for key in hits if key in named]
        if twice:
            raise ValueError(
                f"Partitions {named[twice[0]]} and {number} overlap: both name "
                f"{', '.join(sorted(place[key].path for key in twice))}. Name each layer in one."
            )
        named.update(dict.fromkeys(hits, number))
    targets = [
        (t, id(v)) for t, v in zip(selection.targets, selection.variables(model), strict=True)
    ]
    missing = [target.path for target, key in targets if key not in named]
    if missing:
        raise ValueError(
            f"The partitions leave out {', '.join(missing)}. Name the layer in one of them, or "
            "do not prune it (exclude=...)."
        )
    idle = sorted(set(range(len(partitions))) - {named[key] for _, key in targets})
    if idle:
        raise ValueError(
            f"Partition {idle[0]}, {partitions[idle[0]].layers}, names nothing that is pruned. "
            "Leave it out: what is not pruned needs no partition."
        )
    return _complete(model, selection, len(partitions), named)


def _prunable_layers(
    model: keras.Model, selection: Selection
) -> list[tuple[keras.layers.Layer, list[Target]]]:
    owner = owners(model)
    found: dict[int, tuple[keras.layers.Layer, list[Target]]] = {}
    for target, variable in zip(selection.targets, selection.variables(model), strict=True):
        layer = owner[id(variable)]
        found.setdefault(id(layer), (layer, []))[1].append(target)
    return list(found.values())


def _complete(
    model: keras.Model, selection: Selection, count: int, named: dict[int, int]
) -> Partitioning:
    """Gives every variable that has no partition yet that of the one before it."""
    known = [named.get(id(variable)) for variable in model.variables]
    current = next(number for number in known if number is not None)
    owner = []
    for number in known:
        current = current if number is None else number
        owner.append(current)
    layers = _prunable_layers(model, selection)
    layer_of = {t.index: i for i, (_, targets) in enumerate(layers) for t in targets}
    return Partitioning(
        count,
        tuple(owner),
        tuple(named[id(variable)] for variable in selection.variables(model)),
        tuple(layer_of[target.index] for target in selection.targets),
    )


def _layer_numbers(
    model: keras.Model, owner: dict[int, keras.layers.Layer], partitioning: Partitioning
) -> list[tuple[keras.layers.Layer, int]]:
    """The layers that own variables, in order, each with its partition."""
    found = {}
    for variable, number in zip(model.variables, partitioning.owner, strict=True):
        layer = owner[id(variable)]
        found[id(layer)] = (layer, number)
    return list(found.values())
