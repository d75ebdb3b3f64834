"""Approximate isometry of a pruned model: its kernels as orthogonal as their masks allow."""

from __future__ import annotations

import dataclasses
import os
import threading
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from threadpoolctl import threadpool_limits

from keras_sparse.backend.replicas import strategy_scope
from keras_sparse.messages.arguments import boolean
from keras_sparse.messages.warning import SparsityWarning
from keras_sparse.probe.variables import broken_weights, check_built
from keras_sparse.signal_propagation.isometry import IsometrySettings, isometric
from keras_sparse.signal_propagation.matrices import KernelMatrix, from_matrix, kernel_matrices
from keras_sparse.signal_propagation.orthogonality import smaller_gram


@dataclasses.dataclass(frozen=True)
class IsometryRow:
    """What came of one kernel.

    Args:
        path: Its path.
        before: Its orthogonality score before, `None` where that cannot be told.
        after: The score now.
        mean_before: The mean of its singular values before.
        mean_after: Their mean now.
        steps: Steps of the descent.
        reason: Why it was left as it was, `None` if it was not.
    """

    path: str
    before: float | None = None
    after: float | None = None
    mean_before: float | None = None
    mean_after: float | None = None
    steps: int = 0
    reason: str | None = None


@dataclasses.dataclass(frozen=True)
class IsometryReport:
    """What approximate isometry did to a model. Made by `enforce_isometry`.

    Args:
        model: The model's name.
        rows: One for each kernel.
    """

    model: str
    rows: tuple[IsometryRow, ...]

    @property
    def before(self) -> float:
        """The mean orthogonality score of the kernels before."""
        return float(np.mean([row.before for row in self.rows if row.before is not None]))

    @property
    def after(self) -> float:
        """The mean orthogonality score of the kernels now."""
        return float(np.mean([row.after for row in self.rows if row.after is not None]))

    def print(self, console: Console | None = None) -> None:
        """Draws the report as a table.

        Args:
            console: A `rich` console. Defaults to standard output.
        """
        table = Table(title=f"Approximate isometry of {self.model}", title_justify="left")
        table.add_column("kernel", overflow="fold")
        for name in ("score before", "now", "mean sigma before", "now", "steps"):
            table.add_column(name, justify="right")
        table.add_column("left as it was because", overflow="fold")
        for row in self.rows:
            numbers = (row.before, row.after, row.mean_before, row.mean_after)
            table.add_row(
                row.path,
                *("" if number is None else f"{number:.3f}" for number in numbers),
                f"{row.steps:,}",
                row.reason or "",
                style="dim" if row.reason else None,
            )
        (console or Console()).print(table)


def enforce_isometry(
    model: keras.Model,
    masks: Mapping[str, Any] | Sequence[Any] | None = None,
    *,
    norm: str = "fro_sq",
    learning_rate: float | None = None,
    steps: int = 10_000,
    gram: str = "out",
    tol: float | None = None,
    verbose: bool = True,
) -> IsometryReport:
    """Makes the kernels of a pruned model as orthogonal as their masks allow, without data.

    For each kernel, as a matrix `V` of window and inputs by outputs, descent minimizes
    `||V^T V - I||` over the weights that are kept. Signals then pass through the pruned network
    about as they did through the dense one. Masks stay as they are, and so does all that is no
    kernel; what is not kept is zero afterwards. The best matrix met is taken, so that the score of
    no kernel rises. Kernels are computed in float32, each on a thread of its own; the model changes
    when all are done.

    Call it after pruning and before training: an optimizer's slots know the old weights. Methods
    that prune before the first step call it by themselves with `isometry=True`.

    ```python
    ks.prune(model, sparsity=0.5)
    ks.enforce_isometry(model).print()
    ```

    Args:
        model: A built Keras model, pruned by whatever.
        masks: Boolean arrays, as `StaticMask(mask=...)` takes them. Defaults to where the weights
            are not zero.
        norm: `"fro_sq"` (the squared Frobenius norm), `"fro"` (the norm itself, as in the source;
            with a constant rate it never settles) or `"spectral"`.
        learning_rate: Of plain gradient descent, such as the source's 0.1. Defaults to conjugate
            gradients with exact steps for `"fro_sq"`, and to 0.1 for the other norms.
        steps: At most, for each kernel.
        gram: `"out"` (outputs by outputs), `"in"` (`V V^T`, window and inputs squared) or `"min"`,
            the smaller of the two.
        tol: A kernel has settled when 20 steps of conjugate gradients change its score by less
            than this part of the score at the start (0.001 by default; also where singular values
            are within 0.15 % of 1, in the mean square), or 200 steps of gradient descent by less
            than this part of the score itself (1e-6 by default).
        verbose: Whether to show how far it is.

    Returns:
        An `IsometryReport` of scores before and after.

    Raises:
        ValueError: For arguments out of range, weights that are not finite, masks that do not fit
            the model, or a model without any kernel that this can be asked of.

    Warns:
        SparsityWarning: Of kernels that are left as they were: depthwise ones, those of which
            nothing is left, and those whose Gram matrix would be larger than 2048x2048.

    Source: Lee (2020), Eq. 4.8 and Appendix 4.B.
    """
    settings = IsometrySettings(norm, learning_rate, steps, gram, tol)
    boolean("verbose", verbose)
    return enforced(model, masks, settings, verbose)


def enforced(
    model: keras.Model,
    masks: Mapping[str, Any] | Sequence[Any] | None,
    settings: IsometrySettings,
    verbose: bool,
) -> IsometryReport:
    """`enforce_isometry` with settings that are checked."""
    check_built(model)
    broken = broken_weights(model)
    if broken:
        raise ValueError(
            f"Model {model.name!r} holds weights that are not finite, {', '.join(broken)}, and "
            "cannot be made isometric. Build it anew."
        )
    kernels = kernel_matrices(model, masks)
    if all(kernel.reason for kernel in kernels):
        raise ValueError(
            f"No kernel of model {model.name!r} can be made isometric:\n" + _reasons(kernels)
        )
    found = iter(_sought([k for k in kernels if k.reason is None], settings, verbose))
    rows = []
    with strategy_scope(model):
        for kernel in kernels:
            path, layout = kernel.target.path, kernel.target.layout
            if kernel.reason is None:
                matrix, row = next(found)
                rows.append(row)
            else:
                matrix = kernel.matrix
                rows.append(IsometryRow(path, reason=kernel.reason))
            kernel.variable.assign(from_matrix(matrix, layout))
    if any(kernel.reason for kernel in kernels):
        warnings.warn(
            "Approximate isometry left some kernels as they were:\n" + _reasons(kernels),
            SparsityWarning,
            stacklevel=3,
        )
    return IsometryReport(model.name, tuple(rows))


def _reasons(kernels: Sequence[KernelMatrix]) -> str:
    return "\n".join(f"  {k.target.path}: {k.reason}" for k in kernels if k.reason)


def _sought(
    kernels: Sequence[KernelMatrix], settings: IsometrySettings, verbose: bool
) -> list[tuple[np.ndarray, IsometryRow]]:
    """What is found of each kernel: the largest first, as many at once as there are processors."""
    pool, stop = ThreadPoolExecutor(os.cpu_count()), threading.Event()
    # Threads that share a product wait for each other in each step: a kernel has one of its own.
    with threadpool_limits(limits=1, user_api="blas"):
        try:
            by_work = sorted(kernels, key=lambda k: -k.matrix.size * min(k.matrix.shape))
            found = {
                id(kernel): pool.submit(_enforce, kernel, settings, stop) for kernel in by_work
            }
            done = track(
                as_completed(found.values()),
                "Approximate isometry",
                total=len(found),
                disable=not verbose,
                transient=True,
            )
            for future in done:
                future.result()
        finally:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
    return [found[id(kernel)].result() for kernel in kernels]


def _enforce(
    kernel: KernelMatrix, settings: IsometrySettings, stop: threading.Event
) -> tuple[np.ndarray, IsometryRow]:
    found = isometric(kernel.matrix.astype("float32"), kernel.mask, settings, stop.is_set)
    means = (_mean_singular_value(kernel.matrix), _mean_singular_value(found.matrix))
    row = IsometryRow(kernel.target.path, found.before, found.after, *means, found.steps)
    return found.matrix, row


def _mean_singular_value(matrix: np.ndarray) -> float:
    squares = 1 + np.linalg.eigvalsh(smaller_gram(matrix))
    return float(np.sqrt(np.maximum(squares, 0)).mean())
