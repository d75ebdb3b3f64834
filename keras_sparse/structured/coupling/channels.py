"""What is known of the channels of a model: atoms along the axes of its tensors and variables."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from keras_sparse.probe.layer_graph import Call, LayerGraph
from keras_sparse.structured.coupling.atoms import Atoms, Axis


@dataclasses.dataclass(frozen=True, eq=False)
class Origin:
    """Where atoms were made.

    Args:
        name: The layer's name, with those of the models around it, and what they are in it.
        operation: The layer or operation.
        atoms: One for each channel, head, unit or dimension.
    """

    name: str
    operation: Any
    atoms: np.ndarray


class Channels:
    """The atoms along every axis of the tensors and variables of a model.

    Made by `trace_channels`, filled by what each layer says of its call.

    Args:
        graph: The model's graph.
        choices: Which of several ways a call goes, by the `id` of the operation.
    """

    def __init__(self, graph: LayerGraph, choices: dict[int, int]) -> None:
        self.graph = graph
        self.atoms = Atoms()
        self.origins: list[Origin] = []
        self.choices = choices
        self.alternatives: dict[int, tuple[int, str]] = {}
        self.chosen_for: dict[int, list[np.ndarray]] = {}
        # Axes besides a kernel's own along which it is used again and again, for each call.
        self.passing: dict[int, list[list[Axis]]] = {}
        # Inputs in which a removed channel has to be zero for it not to count, by `id` of a call.
        self.zeroed: dict[int, list[tuple[Any, int]]] = {}
        self.opaque: dict[str, str] = {}
        self.names: dict[int, str] = {}
        # Sizes for axes that the model leaves open, and calls of wrapped layers, made on demand.
        self.shapes: dict[int, tuple[int, ...]] | None = None
        self.steps: dict[int, Call] = {}
        self._axes: dict[tuple[int, int], Axis] = {}
        self._items: dict[int, Any] = {}
        self._made: dict[tuple[int, str], np.ndarray] = {}
        self._makes: set[tuple[int, int]] = set()

    def axis(self, item: Any, axis: int) -> Axis:
        """The atoms along an axis of a tensor or variable."""
        return self._axes.get((id(item), axis % len(item.shape)), ())

    def put(self, item: Any, axis: int, atoms: Axis, why: str, makes: bool = False) -> None:
        """Says which atoms lie along an axis; they are united with those that lay there before.

        Args:
            item: A tensor or variable.
            axis: The axis.
            atoms: The atoms.
            why: What to say of an atom that has to stay for it.
            makes: Whether the positions along a variable's axis make the atoms, rather than use
                what others made.
        """
        key = (id(item), axis % len(item.shape))
        self._items[id(item)] = item
        if makes:
            self._makes.add(key)
        if key in self._axes:
            self.unite(self._axes[key], atoms, why)
        else:
            self._axes[key] = atoms

    def compose(self, item: Any, axis: int, atoms: np.ndarray) -> None:
        """Says that the positions along an axis stay only as long as some more atoms do."""
        self._items[id(item)] = item
        self._axes[id(item), axis % len(item.shape)] = (*self.axis(item, axis), atoms)

    def unite(self, first: Axis, second: Axis, why: str) -> None:
        """Lets the positions along two axes go together one by one.

        Where one of the axes is of a fixed size, or they are composed of atoms in different
        ways, all positions stay.
        """
        if len(first) == len(second) == 1:
            self.atoms.unite(first[0], second[0], why)
        elif not self._equal(first, second):
            for atoms in (*first, *second):
                self.atoms.fix(atoms, why)

    def make(self, call: Call, what: str, size: int) -> np.ndarray:
        """The atoms that a layer makes, the same ones at each of its calls."""
        key = (id(call.operation), what)
        if key not in self._made:
            self._items[id(call.operation)] = call.operation
            self._made[key] = atoms = self.atoms.new(size)
            name = self.names.get(id(call.operation), call.name)
            self.origins.append(Origin(f"{name}/{what}" if what else name, call.operation, atoms))
        return self._made[key]

    def makes(self, variable: Any, axis: int) -> bool:
        """Whether the positions along a variable's axis make the atoms there."""
        return (id(variable), axis % len(variable.shape)) in self._makes

    def variables(self) -> list[Any]:
        """The variables that have atoms along an axis."""
        found = {key for (key, _), atoms in self._axes.items() if atoms}
        items = [item for key, item in self._items.items() if key in found]
        return [item for item in items if hasattr(item, "assign")]

    def axes(self) -> list[Axis]:
        """Every axis that has atoms."""
        return [atoms for atoms in self._axes.values() if atoms]

    def _equal(self, first: Axis, second: Axis) -> bool:
        return len(first) == len(second) and all(
            np.array_equal(self.atoms.find(a), self.atoms.find(b))
            for a, b in zip(first, second, strict=True)
        )


class Kept:
    """Which positions are kept along every axis of a model, for given atoms.

    Args:
        channels: The model's channels.
        alive: Booleans by atom, the first of them for "nothing", True.
    """

    def __init__(self, channels: Channels, alive: np.ndarray) -> None:
        self.channels = channels
        self.alive = alive

    def along(self, item: Any, axis: int) -> np.ndarray | None:
        """Booleans for the positions along an axis, `None` if all of them are kept."""
        atoms = self.channels.axis(item, axis)
        if not atoms:
            return None
        kept = self.positions(atoms)
        return None if kept.all() else kept

    def positions(self, atoms: Axis) -> np.ndarray:
        """Booleans for the positions along an axis with some atoms."""
        return np.logical_and.reduce([self.alive[each] for each in atoms])

    def shape(self, item: Any) -> tuple[int | None, ...]:
        """The shape that a tensor or variable has once the rest is removed."""
        kept = [self.along(item, axis) for axis in range(len(item.shape))]
        return tuple(
            size if each is None else int(each.sum())
            for size, each in zip(item.shape, kept, strict=True)
        )

    def sliced(self, item: Any, values: np.ndarray) -> np.ndarray:
        """Values of the shape of a tensor or variable, without what is removed."""
        for axis in range(len(item.shape)):
            kept = self.along(item, axis)
            if kept is not None:
                values = np.compress(kept, values, axis)
        return values

    def zeroed(self, item: Any, values: np.ndarray, fill: float = 0.0) -> np.ndarray:
        """The same with what is removed filled with zeros, or another number."""
        values = values.copy()
        for axis in range(len(item.shape)):
            kept = self.along(item, axis)
            if kept is not None:
                np.moveaxis(values, axis, 0)[~kept] = fill
        return values
