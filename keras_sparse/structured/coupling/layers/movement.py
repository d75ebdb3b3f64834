"""Operations that move numbers without changing them, whichever way they move them.

The operation itself is run on a tensor of the labels of its input's channels, and the labels that
come out say which channel each position of the output belongs to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_sparse.probe.layer_graph import Call
from keras_sparse.structured.coupling.channels import Kept
from keras_sparse.structured.coupling.coupling import Coupling, Resize, handles
from keras_sparse.structured.coupling.running import fitting_shapes, run

_FIXED, _NOTHING = -1, 0


def move(c: Coupling) -> None:
    """Follows each channel through the operation."""
    labels, call = _Labels(c), c.call
    if type(call.operation).__name__ == "Pad":
        # What is padded with is no channel, whatever the number.
        call = dataclasses.replace(call, args=call.inputs, kwargs={})
    for slot in labels.slots():
        try:
            outputs = run(call, {id(x): labels.of(x, slot) for x in c.inputs}, _FIXED)
        except Exception as error:
            c.channels.opaque[c.call.name] = f"it does not run on labels: {error}"
            return
        for y, found in zip(c.outputs, outputs, strict=True):
            labels.settle(y, np.rint(found).astype(np.int64))
    labels.handled()


class _Labels:
    """The labels of a call's inputs, and what comes of them."""

    def __init__(self, c: Coupling) -> None:
        self.c = c
        self.atoms = c.channels.atoms
        self.why = f"{c.call.name} ({type(c.layer).__name__}) moves it to where it cannot go alone"
        self.together = _cut_axes(c.call)
        self.shapes = fitting_shapes(c.call, c.channels)

    def slots(self) -> list[tuple[int, int]]:
        """Axes, counted from the end, and arrays of atoms along them."""
        found = {
            (axis - len(x.shape), i)
            for x in self.c.inputs
            for axis in range(len(x.shape))
            for i in range(len(self.c.channels.axis(x, axis)))
        }
        return sorted(found, reverse=True)

    def of(self, x: Any, slot: tuple[int, int]) -> np.ndarray:
        """A tensor of the labels of an input along one axis."""
        axis, i = slot
        shape = self.shapes[id(x)]
        if self.together is not None:
            shape = tuple(
                size if at - len(shape) in (axis, self.together) else min(size, 2)
                for at, size in enumerate(shape)
            )
        atoms = self.c.channels.axis(x, axis) if -axis <= len(shape) else ()
        if len(atoms) <= i:
            return np.full(shape, _FIXED, "float32")
        if _scatters(self.c.call, axis):
            self.c.fix((atoms[i],), self.why)
        roots = self.atoms.find(atoms[i])
        roots = np.where(roots == 0, _FIXED, roots).reshape((-1,) + (1,) * (-axis - 1))
        return np.broadcast_to(roots, shape).astype("float32")

    def settle(self, y: Any, found: np.ndarray) -> None:
        """Says which axis of an output the labels lie along."""
        labels = np.unique(found[found > 0])
        if not len(labels):
            return
        # Spatially cut inputs of a concatenation give a cut output.
        axes = [axis for axis in range(len(y.shape)) if y.shape[axis] == found.shape[axis]]
        axes = [axis for axis in axes if y.shape[axis] > 1][::-1]
        for axis in axes:
            low, high = _extremes(found, axis)
            if (low == high).all() and len(np.unique(high[high > 0])) > 1:
                self._put(y, axis, high)
                return
        options = [axis for axis in axes if _parts(found, axis) > 1]
        if not options:
            self.atoms.fix(labels, self.why)
            return
        options.sort(key=lambda axis: -_parts(found, axis))
        axis = options[self.c.choose(len(options), (labels,)) if len(options) > 1 else 0]
        rows = np.moveaxis(found, axis, 0).reshape(found.shape[axis], -1)
        for row in rows:
            present = np.unique(row[row != _NOTHING])
            if present.size and present[0] == _FIXED:
                self.atoms.fix(present[1:], self.why)
            elif present.size:
                self.atoms.unite(np.full(present.size, present[0]), present, self.why)
        self._put(y, axis, _extremes(found, axis)[1])

    def _put(self, y: Any, axis: int, labels: np.ndarray) -> None:
        labels = labels.copy()
        padding = labels == _NOTHING
        if padding.any() and _pads_with_zeros(self.c.call):
            labels[padding] = self.c.make("padding", size=int(padding.sum()))[0]
        labels[labels == _FIXED] = 0
        self.c.channels.compose(y, axis, labels)

    def handled(self) -> None:
        """Nothing more is to be said of the inputs."""
        for x in self.c.inputs:
            for axis in range(len(x.shape)):
                self.c.axis(x, axis)


def _extremes(found: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """The smallest and largest label at each position along an axis, 0 where there is none."""
    rows = np.moveaxis(found, axis, 0).reshape(found.shape[axis], -1)
    empty = (rows == _NOTHING).all(axis=1)
    low = np.where(rows == _NOTHING, np.iinfo(np.int64).max, rows).min(axis=1)
    high = np.where(rows == _NOTHING, np.iinfo(np.int64).min, rows).max(axis=1)
    return np.where(empty, 0, low), np.where(empty, 0, high)


def _parts(found: np.ndarray, axis: int) -> int:
    """How many parts are left that can be removed if each position along an axis goes at once."""
    parent: dict[int, int] = {}

    def root(label: int) -> int:
        while parent.setdefault(label, label) != label:
            label = parent[label]
        return label

    for row in np.moveaxis(found, axis, 0).reshape(found.shape[axis], -1):
        present = [int(label) for label in np.unique(row[row != _NOTHING])]
        for label in present:
            parent[root(label)] = root(present[0])
    roots = {root(label) for label in list(parent)}
    return len(roots - {root(_FIXED)}) if _FIXED in parent else len(roots)


def _scatters(call: Call, axis: int) -> bool:
    """Whether an operation moves positions so that those left could not be moved alike.

    Args:
        call: A call of it.
        axis: The axis along which they are moved, from the end.
    """
    operation, x = call.operation, call.inputs[0]
    kind, rank = type(operation).__name__, len(x.shape)
    own = getattr(operation, "axis", None)
    axes = np.arange(rank) if own is None else np.atleast_1d(own) % rank
    along = axis % rank in axes
    if kind == "Roll":
        return along
    if kind == "Repeat":
        return along and np.ndim(operation.repeats) > 0
    if kind == "Take":
        return along and np.ndim(call.argument("indices")) > 1
    if kind == "Pad":
        widths = np.broadcast_to(operation.pad_width, (rank, 2))
        return operation.mode != "constant" and bool(widths[axis].any())
    if kind == "GetItem":
        part = [part for part in parts_of_key(call) if part is not None][axis % rank]
        if not isinstance(part, slice) or part.step in (None, 1, -1):
            return False
        # Two of them are a slice, however far they are from each other.
        return x.shape[axis] is None or len(range(x.shape[axis])[part]) > 2
    return False


def parts_of_key(call: Call) -> list[Any]:
    """The key of a slicing, with a part for each axis, and `None` for each new one."""
    key = call.args[1]
    parts = list(key) if isinstance(key, (tuple, list)) else [key]
    if Ellipsis not in parts:
        parts.append(Ellipsis)
    at = parts.index(Ellipsis)
    used = sum(part is not None for part in parts) - 1
    parts[at : at + 1] = [slice(None)] * (len(call.inputs[0].shape) - used)
    return parts


def _pads_with_zeros(call: Call) -> bool:
    if type(call.operation).__name__ != "Pad":
        return False
    value = call.argument("constant_values")
    return not isinstance(value, keras.KerasTensor) and not np.any(value or 0)


def _cut_axes(call: Call) -> int | None:
    """The axis of a concatenation, from the end: along the others there may be less of it."""
    if type(call.operation).__name__ != "Concatenate":
        return None
    rank = len(call.inputs[0].shape)
    return call.operation.axis % rank - rank


def _target(call: Call, kept: Kept) -> dict[str, Any]:
    """The new target shape of a reshape, open where it was open."""
    layer, y = call.operation, call.outputs[0]
    shape = kept.shape(y)
    if hasattr(layer, "target_shape"):
        pairs = zip(layer.get_config()["target_shape"], shape[1:], strict=True)
        return {"target_shape": [old if old == -1 else new for old, new in pairs]}
    name = "newshape" if hasattr(layer, "newshape") else "shape"
    target = getattr(layer, name)
    given = [target] if isinstance(target, int) else list(target)
    new = [
        old if not isinstance(old, int) or old == -1 or size is None else size
        for old, size in zip(given, shape, strict=True)
    ]
    return {name: new}


def _parts_of_split(call: Call, kept: Kept) -> dict[str, Any]:
    sizes = [kept.shape(y)[call.operation.axis] for y in call.outputs]
    if any(size is None for size in sizes) or len(set(sizes)) == 1:
        sections = call.operation.indices_or_sections
        if isinstance(sections, int) or any(size is None for size in sizes):
            return {}
    return {"indices_or_sections": np.cumsum(sizes)[:-1].tolist()}


def _padding(call: Call, kept: Kept) -> dict[str, Any]:
    x, y = call.inputs[0], call.outputs[0]
    widths = [list(pair) for pair in call.operation.pad_width]
    if len(widths) == 1:
        widths = widths * len(x.shape)
    for axis, (before, after) in enumerate(widths):
        mask = kept.along(y, axis)
        if mask is not None:
            widths[axis] = [int(mask[:before].sum()), int(mask[len(mask) - after :].sum())]
    return {"pad_width": widths}


def _register(names: str, resize: Resize | None = None) -> Callable[..., None]:
    parts = {} if resize is None else {"resize": resize}
    handles(names, **parts)(move)
    return move


_register("Reshape ops.Reshape ops.BroadcastTo", _target)
_register("ops.Split ops.ArraySplit", _parts_of_split)
_register("ops.Pad", _padding)
_register(
    """
    Flatten Permute RepeatVector Concatenate ops.Concatenate ops.Stack ops.Hstack ops.Vstack
    ops.Dstack ops.Transpose ops.Moveaxis ops.Swapaxes ops.Squeeze ops.ExpandDims ops.Ravel
    ops.Repeat ops.Tile ops.Flip ops.Fliplr ops.Flipud ops.Roll ops.Rot90 ops.GetItem ops.Take
    ops.Unstack ops.DepthToSpace ops.SpaceToDepth ops.ExtractPatches ops.Diagonal ops.Hsplit
    ops.Vsplit ops.Dsplit
    """
)
