"""Products of tensors that both come out of the model's layers."""

from __future__ import annotations

from keras_sparse.structured.coupling.atoms import Axis
from keras_sparse.structured.coupling.coupling import Coupling, handles
from keras_sparse.structured.coupling.layers.dense import letters


def _contract(c: Coupling, operands: list, axes: list[list[str]], out: list[str]) -> None:
    """Axes of the same letter go together; those that are summed over must hold zeros."""
    y = c.outputs[0]
    places: dict[str, list] = {}
    for operand, names in zip(operands, axes, strict=True):
        if hasattr(operand, "shape"):
            for axis, letter in enumerate(names):
                if operand.shape[axis] != 1 or letter not in out:
                    places.setdefault(letter, []).append((operand, axis))
    for letter, found in places.items():
        symbolic = [place for place in found if any(place[0] is x for x in c.inputs)]
        if not symbolic:
            continue
        atoms: Axis = c.tie(*symbolic)
        if len(symbolic) < len(found):
            c.fix(atoms, f"{c.call.name} multiplies it by a constant")
        if letter in out:
            c.put(y, out.index(letter), atoms)
        elif atoms:
            for place in symbolic:
                c.zero(*place)


@handles("ops.Matmul")
def matmul(c: Coupling) -> None:
    """The last axis of one with the last but one of the other."""
    first, second = (c.call.argument(name) for name in ("x1", "x2"))
    ranks = [len(each.shape) for each in (first, second)]
    if min(ranks) < 2:
        return
    rank = max(ranks)
    batch = [f"batch {i}" for i in range(rank - 2)]
    left = [*batch[rank - ranks[0] :], "row", "sum"]
    right = [*batch[rank - ranks[1] :], "sum", "column"]
    _contract(c, [first, second], [left, right], [*batch, "row", "column"])


@handles("ops.Einsum")
def einsum(c: Coupling) -> None:
    """Letter by letter."""
    operands = list(c.call.args)
    left, arrow, out = c.layer.subscripts.replace(" ", "").partition("->")
    if not arrow:
        return
    given = left.split(",")
    if any(len(set(named)) < len(named) for named in (part.replace("...", "") for part in given)):
        return
    axes = [
        letters(part, len(operand.shape)) for part, operand in zip(given, operands, strict=True)
    ]
    _contract(c, operands, axes, letters(out, len(c.outputs[0].shape)))


@handles("Dot")
def dot(c: Coupling) -> None:
    """The axes that are given, of the first with the second."""
    first, second = c.inputs
    axes = c.layer.axes
    axes = (axes, axes) if isinstance(axes, int) else tuple(axes)
    axes = tuple(axis % len(x.shape) for axis, x in zip(axes, c.inputs, strict=True))
    left = [f"first {i}" for i in range(len(first.shape))]
    right = [f"second {i}" for i in range(len(second.shape))]
    left[0] = right[0] = "batch"
    left[axes[0]] = right[axes[1]] = "sum"
    if c.layer.normalize:
        c.zero(first, axes[0])
        c.zero(second, axes[1])
    rest = [letter for letter in (*left[1:], *right[1:]) if letter != "sum"]
    # Of two vectors Keras makes a vector of one.
    out = ["batch", *(rest or ["one"])]
    _contract(c, [first, second], [left, right], out)
