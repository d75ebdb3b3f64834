"""What of a model can be made smaller, and why the rest cannot."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

from keras_sparse.messages.arguments import sample_shape
from keras_sparse.sparsity.selection import Which
from keras_sparse.structured.coupling.cost import Cost
from keras_sparse.structured.coupling.groups import ChannelGroups, Group, channel_groups
from keras_sparse.structured.criteria import Criterion, check_criterion_name
from keras_sparse.structured.layerwise.method import uses
from keras_sparse.structured.layerwise.methods import layerwise_method


@dataclasses.dataclass(frozen=True)
class GroupRow:
    """One group of a report.

    Args:
        name: Its name, as `shrink` takes it.
        size: Units in it.
        removable: Those that can be removed.
        made_by: The layers that make them.
        parameters: Weights of these layers.
        flops: Operations of one inference in these layers; `None` if unknown.
        reason: Why no unit can be removed; `None` if some can.
    """

    name: str
    size: int
    removable: int
    made_by: tuple[str, ...]
    parameters: int
    flops: float | None
    reason: str | None


@dataclasses.dataclass(frozen=True)
class StructureReport:
    """A model's groups. Made by `report`.

    Args:
        model: The model's name.
        groups: A row for each group.
        parameters: Weights of the model.
        flops: Operations of one inference; `None` if unknown.
        flops_reason: Why they are unknown.
        opaque: Layers and operations that cannot be seen through, with the reason.
    """

    model: str
    groups: tuple[GroupRow, ...]
    parameters: int
    flops: float | None
    flops_reason: str | None
    opaque: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-able values."""
        return dataclasses.asdict(self)

    def print(self, console: Console | None = None) -> None:
        """Draws the report as a table.

        Args:
            console: A `rich` console. Defaults to standard output.
        """
        console = console or Console()
        table = Table(title=f"Groups of {self.model}", title_justify="left")
        table.add_column("group", overflow="fold")
        for name in ("units", "removable", "parameters", "FLOPs"):
            table.add_column(name, justify="right")
        for name in ("made by", "not removed because"):
            table.add_column(name, overflow="fold")
        for row in self.groups:
            table.add_row(
                row.name,
                f"{row.size:,}",
                f"{row.removable:,}",
                f"{row.parameters:,}",
                "?" if row.flops is None else f"{row.flops:,.0f}",
                ", ".join(row.made_by),
                row.reason or "",
                style="dim" if row.reason else None,
            )
        console.print(table)
        flops = "?" if self.flops is None else f"{self.flops:,.0f}"
        console.print(f"{self.parameters:,} parameters; {flops} FLOPs an inference.")
        if self.flops_reason:
            console.print(f"FLOPs are not known. {self.flops_reason}")
        for name, why in self.opaque.items():
            console.print(f"Not seen through: {name}: {why}")


def report(
    model: keras.Model,
    *,
    exclude: Which = (),
    criterion: Criterion | None = None,
    input_shape: Any = None,
) -> StructureReport:
    """Finds the groups of channels, neurons and heads that are removed together.

    ```python
    ks.structured.report(model).print()
    ```

    Args:
        model: A built functional or Sequential model.
        exclude: Layers, layer names, variable paths or globs, or a predicate
            `f(layer, variable) -> bool`, of what keeps its size.
        criterion: As `prune` takes it: groups that a method from layer to layer does not define
            are named with the reason.
        input_shape: Shape of one sample, for FLOPs of a model that leaves it open.

    Returns:
        A `StructureReport` with every group of the model: those out of which units can be
        removed, and the others with the reason. Layers that make units of several groups, such
        as heads and their dimensions, count in each.

    Raises:
        ValueError: If the model has no graph, or a name means nothing.
    """
    sample_shape("input_shape", input_shape)
    if criterion is not None:
        check_criterion_name(criterion)
    found = channel_groups(model, exclude)
    cost, whole = Cost(model, found), found.kept({})
    flops: dict[int, float] | None = None
    flops_reason = None
    try:
        by_variable = cost.with_flops(input_shape).flops_by_variable(whole)
        flops = dict(zip(map(id, model.variables), by_variable, strict=True))
    except ValueError as error:
        flops_reason = str(error)
    method = layerwise_method(criterion)
    places = {} if method is None else uses(found, method)
    reasons = {name: each for name, each in places.items() if isinstance(each, str)}
    return StructureReport(
        model=model.name,
        groups=tuple(_row(group, flops, reasons.get(group.name)) for group in found.groups),
        parameters=cost.parameters(whole),
        flops=None if flops is None else sum(flops.values()),
        flops_reason=flops_reason,
        opaque=_opaque(found),
    )


def _row(group: Group, flops: dict[int, float] | None, undefined: str | None) -> GroupRow:
    made = {id(m.variable): m.variable for m in group.members if m.makes}
    return GroupRow(
        name=group.name,
        size=group.size,
        removable=0 if undefined else int(np.count_nonzero(group.free)),
        made_by=group.made_by,
        parameters=sum(int(np.prod(variable.shape)) for variable in made.values()),
        flops=None if flops is None else sum(flops.get(key, 0.0) for key in made),
        reason=group.reason or undefined,
    )


def _opaque(found: ChannelGroups) -> dict[str, str]:
    return dict(found.channels.opaque)
