"""Sculpting: large networks of other shapes, pruned before training to one number of parameters."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
from rich.console import Console
from rich.table import Table

from keras_sparse.messages.arguments import function, instance, integer, random_seed, text, wrong
from keras_sparse.methods.at_start.snip import SNIP
from keras_sparse.methods.at_start.unsupervised import checked_loss
from keras_sparse.probe.calibration import check_data
from keras_sparse.signal_propagation.layerwise import init_ldi
from keras_sparse.sparsity.reasons import OF_NORMALIZATION, STATE
from keras_sparse.sparsity.report import report
from keras_sparse.sparsity.selection import survey


@dataclasses.dataclass(frozen=True)
class SculptedRow:
    """One variant of a network.

    Args:
        name: Its name.
        parameters: Its kernels and biases before pruning.
        sparsity: The fraction of its prunable weights that was removed.
        kept: The kernels and biases that are left.
        metric: What it came to.
    """

    name: str
    parameters: int
    sparsity: float
    kept: int
    metric: float


@dataclasses.dataclass(frozen=True)
class Sculpture:
    """Variants of a network at one number of parameters. Made by `sculpt`.

    Args:
        metric: The name of what was measured at the end of each training.
        rows: One for each variant, in their order.
        histories: What each `fit` logged, by the names of variants.
    """

    metric: str
    rows: tuple[SculptedRow, ...]
    histories: Mapping[str, Mapping[str, list[float]]] = dataclasses.field(repr=False)

    def print(self, console: Console | None = None) -> None:
        """Draws the table.

        Args:
            console: A `rich` console. Defaults to standard output.
        """
        table = Table(title="Sculpted to one budget", title_justify="left")
        table.add_column("variant", overflow="fold")
        for name in ("parameters", "sparsity", "kept", self.metric):
            table.add_column(name, justify="right")
        for row in self.rows:
            table.add_row(
                row.name,
                f"{row.parameters:,}",
                f"{row.sparsity:.1%}",
                f"{row.kept:,}",
                f"{row.metric:.4f}",
            )
        (console or Console()).print(table)


def sparsity_for_budget(model: keras.Model, n_params: int) -> float:
    """The sparsity at which a model has a number of parameters.

    Parameters are kernels, biases and embeddings; those of normalization do not count. Only what
    methods prune by default is pruned, so that all biases count as kept.

    ```python
    model.fit(x, y, callbacks=[ks.SNIP(ks.sparsity_for_budget(model, 4000), (x, y))])
    ```

    Args:
        model: A built Keras model.
        n_params: The parameters to keep, at most as many as the model has.

    Returns:
        The fraction of the prunable weights to remove, in [0, 1).

    Raises:
        ValueError: If the model has fewer parameters, or what is not pruned is already as much.

    Source: Lee (2020), Section 4.5.3.
    """
    total, prunable = _parameters(model)
    allowed = f"the number of parameters to keep, from {total - prunable + 1:,} to {total:,}"
    integer("n_params", n_params)
    if not total - prunable < n_params <= total:
        cure = "Give a larger budget, or a larger model." if n_params > total else ""
        raise wrong("n_params", n_params, f"{allowed} in model {model.name!r}", cure)
    return (total - n_params) / prunable


def sculpt(
    variants: Mapping[str, Callable[[], keras.Model]],
    n_params: int,
    data: Any,
    fit: Mapping[str, Any],
    *,
    loss: Any = "uniform",
    isometry: Any = False,
    metric: str = "val_accuracy",
    seed: int | None = None,
) -> Sculpture:
    """Trains variants of a network, each pruned before its training to one number of parameters.

    A variant with more parameters than that is drawn orthogonal (`init_ldi`), pruned by connection
    sensitivity (`SNIP`, by default without labels) and trained sparse. One that has no more is
    trained as it is: the network to compare with.

    ```python
    def network(width):
        layers = [keras.layers.Dense(width, "tanh"), keras.layers.Dense(4)]
        net = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), *layers])
        net.compile("adam", loss, metrics=["accuracy"])
        return net

    ks.sculpt(
        {"base": lambda: network(16), "wider": lambda: network(64)},
        n_params=1200,
        data=(x, y),
        fit={"x": x, "y": y, "epochs": 5, "validation_data": (x, y)},
    ).print()
    ```

    Args:
        variants: By names functions that build compiled models: wider, deeper and shallower ones.
        n_params: The kernels and biases that each keeps.
        data: What connections are scored on, as for `SNIP`.
        fit: Arguments of `model.fit`, the same for each.
        loss: The loss to score with, as for `SNIP`.
        isometry: As for `SNIP`.
        metric: What of the last epoch's logs the table shows.
        seed: Of the weights of pruned variants.

    Returns:
        A `Sculpture`.

    Raises:
        ValueError: For arguments out of range, a function that gives no compiled model, or a
            metric that `fit` does not log.

    Source: Lee (2020), Section 4.5.3 and Table 4.6.
    """
    instance("variants", variants, Mapping, "a mapping from names to functions that build models")
    if not variants:
        raise wrong("variants", variants, "a mapping of one variant at least")
    for name, build in variants.items():
        function(f"variants[{name!r}]", build, "a function that builds a compiled model")
    integer("n_params", n_params)
    check_data(data)
    instance("fit", fit, Mapping, "a mapping of arguments of model.fit")
    checked_loss(loss)
    text("metric", metric)
    random_seed("seed", seed)
    # Refused here rather than after the first training.
    SNIP(0.5, data, loss=loss, isometry=isometry)
    rows, histories = [], {}
    for name, build in variants.items():
        model = instance(f"variants[{name!r}]()", build(), keras.Model, "a compiled keras.Model")
        total, _ = _parameters(model)
        callbacks = list(keras.tree.flatten(fit.get("callbacks") or []))
        sparsity = 0.0
        if total > n_params:
            sparsity = sparsity_for_budget(model, n_params)
            init_ldi(model, seed=seed)
            callbacks.append(SNIP(sparsity, data, loss=loss, isometry=isometry, seed=seed))
        history = model.fit(**{**fit, "callbacks": callbacks}).history
        if metric not in history:
            raise wrong("metric", metric, f"one that fit logs, of {', '.join(history)}")
        pruned = sum(row.size - row.nonzeros for row in report(model).prunable) if sparsity else 0
        histories[name] = history
        rows.append(SculptedRow(name, total, sparsity, total - pruned, history[metric][-1]))
    return Sculpture(metric, tuple(rows), histories)


def _parameters(model: keras.Model) -> tuple[int, int]:
    """Kernels, biases and embeddings of a model, and those of them that are pruned by default."""
    found = survey(model)
    others = [s for s in found.skipped if s.reason not in (STATE, OF_NORMALIZATION)]
    return found.size + sum(math.prod(skipped.shape) for skipped in others), found.size
