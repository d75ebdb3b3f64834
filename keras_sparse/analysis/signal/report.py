"""How signals pass through a network, layer by layer, and which layer lets none through."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

from keras_sparse.analysis.signal.jacobians import Jacobians
from keras_sparse.analysis.signal.layers import layer_singular_values, ldi_defect
from keras_sparse.analysis.signal.singular_values import SingularValues
from keras_sparse.messages.arguments import integer
from keras_sparse.messages.warning import SparsityWarning
from keras_sparse.methods.at_start.sensitivity import ZeroScoresError, connection_sensitivity
from keras_sparse.methods.at_start.unsupervised import checked_loss, is_unsupervised
from keras_sparse.probe.calibration import calibration_batches
from keras_sparse.signal_propagation.matrices import LARGEST_GRAM, kernel_matrices
from keras_sparse.signal_propagation.orthogonality import matrix_score

# A layer that leaves less than this of a signal, or makes more than its inverse of it, is named.
_WEAK = 0.5


@dataclasses.dataclass(frozen=True)
class SignalRow:
    """What one kernel does to signals.

    Args:
        path: The kernel's path.
        layer: The name of its layer.
        shape: The kernel's shape.
        sparsity: Fraction of zeros.
        orthogonality: `||V^T V - I||_F`; `None` where the kernel is no matrix or too large.
        jacobian: Singular values of the layer's Jacobian; `None` where it has none of its own.
        ldi_defect: `max_j |1 - sigma_j|` of these; `None` likewise.
        sensitivity: Its part of the sum of all connections' sensitivities; `None` if all are zero.
    """

    path: str
    layer: str
    shape: tuple[int, ...]
    sparsity: float
    orthogonality: float | None
    jacobian: SingularValues | None
    ldi_defect: float | None
    sensitivity: float | None


@dataclasses.dataclass(frozen=True)
class SignalReport:
    """How signals pass through a network. Made by `signal_report`.

    Args:
        model: The model's name.
        network: Singular values of the Jacobian of logits by inputs.
        rows: One for each kernel.
    """

    model: str
    network: SingularValues
    rows: tuple[SignalRow, ...]

    @property
    def orthogonality(self) -> float:
        """The mean orthogonality score, NaN if it cannot be told of any kernel."""
        scores = [row.orthogonality for row in self.rows if row.orthogonality is not None]
        return float(np.mean(scores)) if scores else math.nan

    @property
    def ldi_defect(self) -> float:
        """The largest defect of a layer, NaN if it cannot be told of any."""
        defects = [row.ldi_defect for row in self.rows if row.ldi_defect is not None]
        return max(defects) if defects else math.nan

    @property
    def blocking(self) -> SignalRow | None:
        """The layer that leaves least of a signal or makes most of it; `None` if none stands out.

        It stands out where nothing is left of it, or the mean of its singular values is below a
        half or above two.
        """
        empty = [row for row in self.rows if row.sparsity == 1]
        if empty:
            return empty[0]
        known = [row for row in self.rows if row.jacobian is not None]
        worst = max(known, key=lambda row: abs(_logarithm(row)), default=None)
        return worst if worst is not None and abs(_logarithm(worst)) > -math.log(_WEAK) else None

    @property
    def verdict(self) -> str:
        """What is wrong, and the cure, in a sentence or two."""
        row = self.blocking
        if row is None:
            return "No layer stands out: each keeps the size of signals within a factor of two."
        if row.sparsity == 1:
            return (
                f"Nothing is left of {row.path}: no signal passes. Prune less, or keep some of "
                "each layer (min_per_layer=1)."
            )
        mean = row.jacobian.mean if row.jacobian is not None else math.nan
        if mean < 1:
            cure = (
                "Make its kernel isometric (keras_sparse.enforce_isometry, or isometry=True in the "
                "method that prunes)"
                if row.sparsity > 0
                else "Draw its weights with keras_sparse.init_ldi, by activation_gain='critical' "
                "where the activation halves signals"
            )
            return (
                f"Signals fade in {row.path}: its singular values are {mean:.2g} in the mean. "
                f"{cure}."
            )
        return (
            f"Signals grow in {row.path}: its singular values are {mean:.2g} in the mean. Draw its "
            "weights with keras_sparse.init_ldi."
        )

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-able values; a number that is infinite or not known is `None`."""
        return {
            "model": self.model,
            "orthogonality": _known(self.orthogonality),
            "ldi_defect": _known(self.ldi_defect),
            "network": summed_up(self.network),
            "rows": [
                {
                    **{f.name: getattr(row, f.name) for f in dataclasses.fields(row)},
                    "jacobian": row.jacobian and summed_up(row.jacobian),
                }
                for row in self.rows
            ],
        }

    def print(self, console: Console | None = None) -> None:
        """Draws the report as a table, and says which layer blocks.

        Args:
            console: A `rich` console. Defaults to standard output.
        """
        console = console or Console()
        table = Table(title=f"Signals through {self.model}", title_justify="left")
        table.add_column("kernel", overflow="fold")
        titles = (
            "sparsity",
            "sigma mean",
            "std",
            "max / min",
            "LDI defect",
            "score",
            "sensitivity",
        )
        for name in titles:
            table.add_column(name, justify="right")
        blocking = self.blocking
        for row in self.rows:
            of = row.jacobian
            numbers = (of.mean, of.std, of.condition) if of is not None else (None,) * 3
            share = "" if row.sensitivity is None else f"{row.sensitivity:.1%}"
            table.add_row(
                row.path,
                f"{row.sparsity:.1%}",
                *(_shown(number) for number in (*numbers, row.ldi_defect, row.orthogonality)),
                share,
                style="bold red" if row is blocking else None,
            )
        console.print(table)
        found = self.network
        console.print(
            f"Logits by inputs: sigma {_shown(found.mean)} in the mean, deviation "
            f"{_shown(found.std)}, max / min {_shown(found.condition)}. Orthogonality score "
            f"{_shown(self.orthogonality)}.",
            highlight=False,
        )
        console.print(self.verdict, highlight=False)


def summed_up(found: SingularValues) -> dict[str, float | None]:
    """Mean, deviation, ends and condition number, which JSON can hold."""
    names = ("mean", "std", "min", "max", "condition")
    return {name: _known(getattr(found, name)) for name in names}


def signal_report(
    model: keras.Model, x: Any, *, loss: Any = "uniform", batch_size: int = 32
) -> SignalReport:
    """Says how signals pass through a network as it is, layer by layer.

    Of each kernel: its zeros, its orthogonality score, the singular values of its layer's Jacobian
    and how far they are from 1, and its part of all connections' sensitivity. Of the network: the
    singular values of the Jacobian of logits by inputs. The model runs in inference mode and
    nothing of it changes.

    ```python
    ks.signal_report(model, x[:100]).print()
    ```

    Args:
        model: A built Keras model of one input of floats and one output, the logits.
        x: Some samples, such as 100: inputs, `(x, y)`, or batches that can be gone through twice.
            The Jacobians of layers are those of the first 32.
        loss: The loss of connections' sensitivity, as for `SNIP`. Those with labels need `(x, y)`.
        batch_size: Samples whose Jacobians are in memory together, for arrays. A Jacobian holds
            logits times inputs numbers.

    Returns:
        A `SignalReport`.

    Raises:
        ValueError: For arguments out of range, unsuitable data, a model that ends in a softmax or
            has several inputs or outputs, or Jacobians that are not finite.

    Warns:
        SparsityWarning: Of layers of which nothing is left.

    Source: Lee (2020), Figure 4.1 and Table 4.1.
    """
    integer("batch_size", batch_size)
    loss = checked_loss(loss)
    jacobians = Jacobians(model)
    kernels = kernel_matrices(model)
    network = jacobians.singular_values(x, batch_size)
    by_layer = layer_singular_values(model, x)
    shares = _shares(model, [kernel.variable for kernel in kernels], x, loss, batch_size)
    rows = []
    for kernel, share in zip(kernels, shares, strict=True):
        target, matrix = kernel.target, kernel.matrix
        told = target.layout.inputs and min(matrix.shape) <= LARGEST_GRAM
        of_layer = by_layer.get(target.layer) if kernel.variable.name == "kernel" else None
        rows.append(
            SignalRow(
                path=target.path,
                layer=target.layer,
                shape=target.layout.shape,
                sparsity=1 - float(kernel.mask.mean()),
                orthogonality=matrix_score(matrix) if told else None,
                jacobian=of_layer,
                ldi_defect=None if of_layer is None else ldi_defect(of_layer),
                sensitivity=share,
            )
        )
    empty = [row.path for row in rows if row.sparsity == 1]
    if empty:
        warnings.warn(
            f"Nothing is left of {', '.join(empty)}: no signal passes there, and all singular "
            "values of the network are zero unless a shortcut goes around it.",
            SparsityWarning,
            stacklevel=2,
        )
    return SignalReport(model.name, network, tuple(rows))


def _shares(
    model: keras.Model, variables: list[Any], x: Any, loss: Any, batch_size: int
) -> list[float | None]:
    """The part that each kernel has of all connections' sensitivity."""
    if loss is not None and not is_unsupervised(loss):
        next(calibration_batches(model, x, batch_size))  # Raises without labels.
    try:
        scores = connection_sensitivity(model, variables, x, loss=loss, batch_size=batch_size)
    except ZeroScoresError:
        return [None] * len(variables)
    return [float(score.sum()) for score in scores]


def _logarithm(row: SignalRow) -> float:
    mean = row.jacobian.mean if row.jacobian is not None else 1.0
    return math.log(mean) if mean > 0 else -math.inf


def _known(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _shown(number: float | None) -> str:
    return "" if number is None or math.isnan(number) else f"{number:.3g}"
