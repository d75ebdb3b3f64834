"""How important each unit of a group is: those of the smallest scores are removed first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops

from keras_sparse.messages.arguments import one_of
from keras_sparse.probe.calibration import calibration_batches
from keras_sparse.probe.gradients import LossGradients
from keras_sparse.sparsity.saliency import layer_adaptive
from keras_sparse.structured.coupling.groups import Group, Member
from keras_sparse.structured.layerwise.method import Layerwise
from keras_sparse.structured.layerwise.methods import LAYERWISE, layerwise_method
from keras_sparse.structured.training import Samples

Scores: TypeAlias = "str | Callable[[Group], Any]"
Criterion: TypeAlias = "Scores | Layerwise"


def check_criterion_name(criterion: Criterion) -> None:
    """Checks the name of a criterion.

    Raises:
        ValueError: If it is none, and neither a function nor a method.
    """
    if not isinstance(criterion, Layerwise) and not callable(criterion):
        one_of("criterion", criterion, (*CRITERIA, *LAYERWISE))


def check_criterion(criterion: Criterion, data: Any) -> None:
    """Checks the name of a criterion and that it has the data it needs.

    Raises:
        ValueError: If it is none, or has no data.
    """
    check_criterion_name(criterion)
    method = layerwise_method(criterion)
    if method is not None and data is None:
        needed = "(x, y)" if method.needs_targets else "x"
        raise ValueError(
            f"{type(method).__name__} looks at what the network makes of samples: give "
            f"data={needed}. Received: data=None"
        )
    if criterion == "taylor" and data is None:
        raise ValueError(
            "criterion='taylor' looks at gradients: give data=(x, y), and compile the model or "
            "give loss=. Received: data=None"
        )


def scores(
    criterion: Scores, model: keras.Model, groups: Sequence[Group], samples: Samples
) -> dict[str, np.ndarray]:
    """The scores of the units of some groups, to be compared between groups.

    Args:
        criterion: A name, or a function that returns a score for each unit of a group.
        model: The model.
        groups: The groups.
        samples: Data, loss and seed.

    Returns:
        Arrays of scores by the name of the group.

    Raises:
        ValueError: If a criterion does not apply to a group, or scores are not finite.
    """
    if callable(criterion):
        found = {group.name: np.asarray(criterion(group), float) for group in groups}
    else:
        found = CRITERIA[criterion](model, groups, samples)
    for group in groups:
        values = found[group.name]
        if values.shape != (group.size,) or not np.isfinite(values).all():
            raise ValueError(
                f"The scores of group {group.name!r} must be {group.size} finite numbers. "
                "Look for NaN or infinity in the weights and the data. "
                f"Received: {values.shape} with {np.count_nonzero(~np.isfinite(values))} that are "
                "not finite"
            )
    return found


def per_unit(member: Member, values: np.ndarray, size: int) -> np.ndarray:
    """Sums values of the shape of a member's weight for each of a group's units.

    Args:
        member: Where the units lie in the weight.
        values: The values.
        size: Units in the group.
    """
    rest = tuple(axis for axis in range(values.ndim) if axis != member.axis)
    along, there = values.sum(axis=rest, dtype=float), member.units >= 0
    return np.bincount(member.units[there], along[there], minlength=size)


def _kernels(group: Group) -> list[tuple[Member, np.ndarray]]:
    """The weights that make a group's units, kernels if there are any."""
    made = [member for member in group.members if member.makes]
    kernels = [member for member in made if len(member.variable.shape) > 1]
    chosen = kernels or made or list(group.members)
    return [(m, np.asarray(ops.convert_to_numpy(m.variable), float)) for m in chosen]


def _squares(group: Group) -> np.ndarray:
    """The sum of squares of the weights that make each unit."""
    return np.sum([per_unit(m, w**2, group.size) for m, w in _kernels(group)], axis=0)


def _relative(values: np.ndarray) -> np.ndarray:
    """Divided by their mean, which makes groups of different scales comparable."""
    return values / max(float(values.mean()), np.finfo(float).tiny)


def _l1(model: keras.Model, groups: Sequence[Group], samples: Samples) -> dict[str, np.ndarray]:
    """The sum of absolute weights (Li et al., 2017), relative to the group's mean."""
    return {
        group.name: _relative(
            np.sum([per_unit(m, np.abs(w), group.size) for m, w in _kernels(group)], axis=0)
        )
        for group in groups
    }


def _l2(model: keras.Model, groups: Sequence[Group], samples: Samples) -> dict[str, np.ndarray]:
    """The Euclidean norm of the weights, relative to the group's mean."""
    return {group.name: _relative(np.sqrt(_squares(group))) for group in groups}


def _lamp(model: keras.Model, groups: Sequence[Group], samples: Samples) -> dict[str, np.ndarray]:
    """The square of a unit's norm over that of all at least as large (Lee et al., 2021)."""
    return {group.name: layer_adaptive(_squares(group)) for group in groups}


def _fpgm(model: keras.Model, groups: Sequence[Group], samples: Samples) -> dict[str, np.ndarray]:
    """The distance to the other units: near the geometric median they are replaceable.

    Source: He et al. (2019), FPGM, equation (5).
    """
    found = {}
    for group in groups:
        squared = np.zeros((group.size, group.size))
        for member, weights in _kernels(group):
            rows = np.moveaxis(weights, member.axis, 0).reshape(len(member.units), -1)
            there = np.flatnonzero(member.units >= 0)
            order = there[np.argsort(member.units[there], kind="stable")]
            units, counts = np.unique(member.units[order], return_counts=True)
            # A unit with fewer positions than others is compared by as many as all have.
            starts = np.cumsum(counts) - counts
            each = [rows[order[start : start + counts.min()]].ravel() for start in starts]
            vectors = np.zeros((group.size, each[0].size))
            vectors[units] = each
            lengths = (vectors**2).sum(axis=1)
            squared += lengths[:, None] + lengths[None] - 2 * vectors @ vectors.T
        found[group.name] = _relative(np.sqrt(np.maximum(squared, 0)).sum(axis=1))
    return found


def _taylor(model: keras.Model, groups: Sequence[Group], samples: Samples) -> dict[str, np.ndarray]:
    """The squared change of the loss to first order, averaged over batches.

    Source: Molchanov et al. (2019), equation (8).
    """
    made = {id(m.variable): m.variable for group in groups for m in group.members if m.makes}
    trainable = {id(variable) for variable in model.trainable_variables}
    variables = [variable for key, variable in made.items() if key in trainable]
    gradients = LossGradients(model, variables, samples.loss)
    found = {group.name: np.zeros(group.size) for group in groups}
    batches = 0
    for x, y in calibration_batches(model, samples.data, samples.batch_size):
        products = {
            id(v): ops.convert_to_numpy(g) * np.asarray(ops.convert_to_numpy(v), float)
            for v, g in zip(variables, gradients(x, y), strict=True)
        }
        for group in groups:
            changes = [
                per_unit(m, products[id(m.variable)], group.size)
                for m in group.members
                if m.makes and id(m.variable) in products
            ]
            found[group.name] += np.sum(changes, axis=0) ** 2 if changes else 0.0
        batches += 1
    return {name: values / batches for name, values in found.items()}


def _bn_scale(
    model: keras.Model, groups: Sequence[Group], samples: Samples
) -> dict[str, np.ndarray]:
    """The mean absolute scale in batch normalization (Liu et al., 2017)."""
    scales = {
        id(layer.gamma)
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.gamma is not None
    }
    layers = {layer.name for layer in model._flatten_layers()}
    found: dict[str, np.ndarray] = {}
    without: dict[str, None] = {}
    for group in groups:
        members = [m for m in group.members if id(m.variable) in scales]
        if members:
            values = [
                per_unit(m, np.abs(ops.convert_to_numpy(m.variable)), group.size) for m in members
            ]
            counts = np.sum(
                [np.bincount(m.units[m.units >= 0], minlength=group.size) for m in members], axis=0
            )
            found[group.name] = np.sum(values, axis=0) / np.maximum(counts, 1)
        else:
            # What one of a layer's kinds of units is called is no name to exclude by.
            names = (made if made in layers else made.rsplit("/", 1)[0] for made in group.made_by)
            without |= dict.fromkeys(names)
    if without:
        raise ValueError(
            "criterion='bn_scale' needs batch normalization with scale=True behind every group. "
            f"It is missing behind {', '.join(without)}: give these as exclude=[...], or take "
            "another criterion, such as 'l1'."
        )
    return found


def _random(model: keras.Model, groups: Sequence[Group], samples: Samples) -> dict[str, np.ndarray]:
    """Numbers drawn from [0, 1), a baseline."""
    random = np.random.default_rng(samples.seed)
    return {group.name: random.random(group.size) for group in groups}


def _uniform(
    model: keras.Model, groups: Sequence[Group], samples: Samples
) -> dict[str, np.ndarray]:
    """Scores by which what is removed lies evenly among what is kept, a baseline."""
    found = {}
    for group in groups:
        bits = max(1, (group.size - 1).bit_length())
        reverse = [int(f"{i:0{bits}b}"[::-1], 2) for i in range(group.size)]
        found[group.name] = np.argsort(np.argsort(reverse)) / group.size
    return found


CRITERIA: dict[str, Callable[..., dict[str, np.ndarray]]] = {
    "l1": _l1,
    "l2": _l2,
    "taylor": _taylor,
    "bn_scale": _bn_scale,
    "fpgm": _fpgm,
    "lamp": _lamp,
    "random": _random,
    "uniform": _uniform,
}
