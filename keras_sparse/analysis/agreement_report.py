"""Pairs of models and how alike they are, in a table and a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from keras_sparse.analysis.agreement import (
    model_outputs,
    sample_agreement,
    sparse_dense_cross_entropy,
)
from keras_sparse.messages.arguments import boolean, instance, wrong
from keras_sparse.plots.drawing import PicturePath
from keras_sparse.plots.transfer import agreement_points


class Agreement(NamedTuple):
    """How alike a sparse model and a dense one are.

    Args:
        agreement: Fraction of samples of the same predicted class.
        cross_entropy: Of the sparse model's predictions by the dense one's, in nats.
        agreement_when_wrong: Of the samples that the dense model takes wrongly the fraction that
            the sparse one takes for the same wrong class; NaN without labels or wrong samples.
        accuracies: Of the sparse and the dense model; NaN without labels.
    """

    agreement: float
    cross_entropy: float
    agreement_when_wrong: float
    accuracies: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class AgreementReport:
    """Pairs of models. Made by `agreement_report`.

    Args:
        pairs: The `Agreement` of each pair, by its name.
    """

    pairs: Mapping[str, Agreement]

    def print(self, console: Console | None = None) -> None:
        """Draws the report as a table.

        Args:
            console: A `rich` console. Defaults to standard output.
        """
        table = Table(title="Sparse and dense models, sample by sample", title_justify="left")
        table.add_column("pair")
        names = ("agreement", "where dense is wrong", "cross-entropy", "sparse", "dense accuracy")
        for name in names:
            table.add_column(name, justify="right")
        for name, row in self.pairs.items():
            shares = row.agreement, row.agreement_when_wrong, *row.accuracies
            same, wrong_same, *accuracies = ("" if s != s else f"{s:.2%}" for s in shares)
            table.add_row(name, same, wrong_same, f"{row.cross_entropy:.4f}", *accuracies)
        (console or Console(width=max(Console().width, 100))).print(table)

    def plot(self, path: PicturePath = None, *, title: str = "") -> Figure:
        """Draws agreement and cross-entropy of each pair.

        Args:
            path: The picture to write, ending in `.png`. Defaults to none.
            title: The title. Defaults to none.
        """
        rows = {name: (row.agreement, row.cross_entropy) for name, row in self.pairs.items()}
        return agreement_points(rows, path, title=title)


def agreement_report(
    pairs: Mapping[str, tuple[Any, Any]],
    x: Any = None,
    y: Any = None,
    *,
    from_logits: bool = False,
    batch_size: int = 256,
) -> AgreementReport:
    """Compares pairs of a sparse and a dense model on the same samples.

    Pairs worth comparing: AC/DC's sparse model and its fine-tuned dense one, a pruned model and
    the dense one it was pruned from, sparse variational dropout before and after its threshold.

    ```python
    found = ks.agreement_report({"acdc": (sparse, dense)}, x_test, y_test, from_logits=True)
    found.print()
    ```

    Args:
        pairs: By name `(sparse, dense)`, each a model or its outputs, `(samples, classes)`.
        x: Inputs for the models; left out where outputs are given.
        y: Class indices, for accuracies.
        from_logits: Whether outputs are logits rather than probabilities.
        batch_size: Samples in a batch.

    Returns:
        The `AgreementReport`.

    Raises:
        ValueError: If there is no pair, outputs have different shapes, inputs are missing, or
            there are not as many labels as samples.

    Source: Peste (2023), 3.6.1.
    """
    instance("pairs", pairs, Mapping, "a mapping from names to (sparse, dense)")
    boolean("from_logits", from_logits)
    if not pairs:
        raise wrong("pairs", pairs, "a mapping with one pair at least")
    labels = None if y is None else np.asarray(y).reshape(-1)
    found = {}
    for name, pair in pairs.items():
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise wrong(f"pairs[{name!r}]", pair, "(sparse, dense)")
        sparse, dense = model_outputs(*pair, x, batch_size)
        found[name] = Agreement(
            sample_agreement(sparse, dense),
            sparse_dense_cross_entropy(sparse, dense, from_logits=from_logits),
            *_with_labels(sparse.argmax(-1), dense.argmax(-1), labels),
        )
    return AgreementReport(found)


def _with_labels(
    sparse: np.ndarray, dense: np.ndarray, labels: np.ndarray | None
) -> tuple[float, tuple[float, float]]:
    if labels is None:
        return np.nan, (np.nan, np.nan)
    if len(labels) != len(dense):
        raise ValueError(
            f"y must have a class for each sample. Received: {len(labels)} labels of {len(dense)} "
            "samples"
        )
    missed = dense != labels
    same = float((sparse == dense)[missed].mean()) if missed.any() else np.nan
    return same, (float((sparse == labels).mean()), float((~missed).mean()))
