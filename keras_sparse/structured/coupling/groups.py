"""Groups of channels, heads or units of a model, out of which some can be removed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_sparse.messages.arguments import wrong
from keras_sparse.messages.names import unknown_name
from keras_sparse.probe.layer_graph import LayerGraph, layer_graph
from keras_sparse.probe.variables import places
from keras_sparse.sparsity.selection import Which, check_layers, variables_meant
from keras_sparse.structured.coupling.channels import Channels, Kept
from keras_sparse.structured.coupling.tracing import trace_channels


@dataclasses.dataclass(frozen=True, eq=False)
class Member:
    """An axis of a weight along which units of a group lie.

    Args:
        variable: The weight.
        path: Its path.
        axis: The axis.
        units: The unit at each position along it; -1 where there is none of this group.
        makes: Whether the weight makes the units along this axis, rather than uses them.
    """

    variable: Any
    path: str
    axis: int
    units: np.ndarray
    makes: bool


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """Units that some layers have in common: channels, neurons, heads or dimensions.

    Args:
        name: The name of the layer that makes them, the first one of several.
        made_by: The names of all layers that make them.
        free: For each unit, whether it can be removed.
        reason: Why no unit can be removed; `None` if some can.
        members: Where the units lie in the model's weights.
        atoms: An atom of each unit.
        limits: Units of which one has to be left, those along each axis of something in the model.
    """

    name: str
    made_by: tuple[str, ...]
    free: np.ndarray
    reason: str | None
    members: tuple[Member, ...]
    atoms: np.ndarray = dataclasses.field(repr=False)
    limits: tuple[np.ndarray, ...] = dataclasses.field(repr=False)

    def makes(self, variable: Any) -> bool:
        """Whether a weight makes units of the group."""
        return any(member.makes and member.variable is variable for member in self.members)

    @property
    def size(self) -> int:
        """Units in the group."""
        return len(self.free)


class ChannelGroups:
    """The groups of a model.

    Args:
        graph: The model's graph.
        channels: Its channels.
        groups: The groups, in the order of the model.
    """

    def __init__(self, graph: LayerGraph, channels: Channels, groups: tuple[Group, ...]) -> None:
        self.graph = graph
        self.channels = channels
        self.groups = groups

    def kept(self, keep: dict[str, np.ndarray]) -> Kept:
        """What is kept along every axis, for booleans by the name of a group."""
        atoms = self.channels.atoms
        alive = np.ones(len(atoms), bool)
        for group in self.groups:
            if group.name in keep:
                alive[group.atoms[~keep[group.name]]] = False
        return Kept(self.channels, alive[atoms.find(np.arange(len(atoms)))])

    def checked(self, keep: Any) -> dict[str, np.ndarray]:
        """What is to be kept, as booleans for each group that is named.

        Args:
            keep: A mapping of names of groups to indices of units, or to booleans for each.

        Raises:
            ValueError: If it is none, a name is unknown, a unit has to stay and is not kept, or
                nothing would be left.
        """
        allowed = "a mapping of names of groups to the units to keep"
        if not hasattr(keep, "items"):
            raise wrong("keep", keep, allowed)
        by_name = {group.name: group for group in self.groups}
        found = {}
        for name, units in keep.items():
            if name not in by_name:
                raise unknown_name("group in keep", name, by_name)
            found[name] = _booleans(by_name[name], units)
        return found


def channel_groups(model: keras.Model, exclude: Which = ()) -> ChannelGroups:
    """The groups of channels, neurons and heads of a model that have to be removed together.

    Args:
        model: A built functional or Sequential model.
        exclude: Layers, layer names, variable paths or globs, or a predicate
            `f(layer, variable) -> bool`, of what keeps its size.

    Raises:
        ValueError: If the model has no graph, or a name means nothing.
    """
    exclude = check_layers("exclude", exclude)
    graph = layer_graph(model)
    place = places(model)
    excluded = variables_meant(exclude, "exclude", place, model)
    channels = trace_channels(graph, excluded)
    paths = {key: at.path for key, at in place.items()}
    return ChannelGroups(graph, channels, _groups(channels, paths))


def by_name(exclude: Which) -> Which:
    """Layers by their names, which those of smaller models have too."""
    if isinstance(exclude, keras.layers.Layer):
        return exclude.name
    if isinstance(exclude, Iterable) and not isinstance(exclude, str):
        return [each.name if isinstance(each, keras.layers.Layer) else each for each in exclude]
    return exclude


def _groups(channels: Channels, paths: dict[int, str]) -> tuple[Group, ...]:
    atoms = channels.atoms
    group_of, origins = _connected(channels)
    count = len(origins)
    every = np.arange(len(atoms))
    roots = atoms.find(every)
    units = [np.unique(np.concatenate([atoms.find(o.atoms) for o in found])) for found in origins]
    # The unit of its group that each atom belongs to.
    unit_of = np.full(len(atoms), -1)
    for found in units:
        unit_of[found] = np.arange(len(found))
    unit_of = unit_of[roots]
    of = group_of[roots]
    members: list[list[Member]] = [[] for _ in range(count)]
    for variable in channels.variables():
        for axis in range(len(variable.shape)):
            for each in channels.axis(variable, axis):
                makes = channels.makes(variable, axis)
                for g in np.unique(of[each[each > 0]]):
                    along = np.where((of[each] == g) & (each > 0), unit_of[each], -1)
                    path = paths.get(id(variable), variable.path)
                    members[g].append(Member(variable, path, axis, along, makes))
    limits = _limits(channels, of, unit_of, count)
    fixed = atoms.fixed()
    made = []
    names: set[str] = set()
    for g, found in enumerate(units):
        reasons = [fixed.get(int(root)) for root in found]
        if len(found) == 1 and reasons[0] is None:
            reasons = ["it has a single unit"]
        free = np.array([reason is None for reason in reasons])
        name = origins[g][0].name
        while name in names:
            name += "+"
        names.add(name)
        made.append(
            Group(
                name=name,
                made_by=tuple(dict.fromkeys(o.name for o in origins[g])),
                free=free,
                reason=None if free.any() else next(r for r in reasons if r),
                members=tuple(members[g]),
                atoms=found,
                limits=limits[g],
            )
        )
    return tuple(made)


def _connected(channels: Channels) -> tuple[np.ndarray, list[list[Any]]]:
    """The group of each atom, and the origins of each group.

    Units are of one group if the same layer makes them.
    """
    atoms = channels.atoms
    parent = list(range(len(channels.origins)))

    def first(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    owner: dict[int, int] = {}
    for i, origin in enumerate(channels.origins):
        for root in np.unique(atoms.find(origin.atoms)):
            a, b = first(owner.setdefault(int(root), i)), first(i)
            parent[max(a, b)] = min(a, b)
    heads = sorted({first(i) for i in range(len(parent))})
    number = {head: g for g, head in enumerate(heads)}
    found: list[list[Any]] = [[] for _ in heads]
    group_of = np.full(len(atoms), -1)
    for i, origin in enumerate(channels.origins):
        found[number[first(i)]].append(origin)
        group_of[atoms.find(origin.atoms)] = number[first(i)]
    return group_of, found


def _limits(
    channels: Channels, of: np.ndarray, unit_of: np.ndarray, count: int
) -> list[tuple[np.ndarray, ...]]:
    """For each group, the sets of units of which one has to be left."""
    limits: list[dict[bytes, np.ndarray]] = [{} for _ in range(count)]
    mixed = []
    for axis in channels.axes():
        for each in axis:
            found = np.unique(of[each])
            if (each > 0).all():
                if len(found) == 1:
                    units = np.unique(unit_of[each])
                    limits[found[0]].setdefault(units.tobytes(), units)
                else:
                    mixed.append({g: np.unique(unit_of[each[of[each] == g]]) for g in found})
    for parts in mixed:
        # What holds all units along an axis of its own is never empty; a slice may become so.
        whole = any(np.isin(own, parts[g]).all() for g in parts for own in limits[g].values())
        if not whole:
            g = max(parts, key=lambda g: len(parts[g]))
            limits[g].setdefault(parts[g].tobytes(), parts[g])
    return [tuple(each.values()) for each in limits]


def _booleans(group: Group, units: Any) -> np.ndarray:
    """Booleans for the units of a group, from indices or booleans."""
    name = f"keep[{group.name!r}]"
    given = np.asarray(units)
    if given.dtype == bool and given.shape == (group.size,):
        kept = given.copy()
    elif given.dtype.kind in "iu" and given.ndim == 1:
        if given.size and (given.min() < 0 or given.max() >= group.size):
            raise wrong(name, units, f"indices from 0 to {group.size - 1}")
        kept = np.zeros(group.size, bool)
        kept[given] = True
    elif given.size == 0:
        kept = np.zeros(group.size, bool)
    else:
        raise wrong(name, units, f"indices of units, or {group.size} booleans")
    if not kept[~group.free].all():
        why = group.reason or "some of its units have to stay (Group.free)"
        raise wrong(name, units, "with all units that have to stay", f"In this group {why}.")
    if any(not kept[limit].any() for limit in group.limits):
        raise ValueError(
            f"Group {group.name!r} would become empty: nothing would be left of "
            f"{', '.join(group.made_by)}. Keep a unit of it, or leave the layer out by replacing "
            f"it in the model. Received: {name}={units}"
        )
    return kept
