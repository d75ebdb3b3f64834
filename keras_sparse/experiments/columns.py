"""Tables of a study: a row a variant, and in each cell what all its runs say together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from keras_sparse.experiments.document import Table
from keras_sparse.experiments.summary import mean, mean_and_spread

Runs = Sequence[Any]
Cell = Callable[[Runs], str]


def cell(
    of: str | Callable[[Any], float], form: str, by: Callable[[Sequence[float]], float] = mean
) -> Cell:
    """A column with one number of all the runs of a variant.

    ```python
    seconds = cell("seconds", ".1f")
    print(seconds([{"seconds": 2.0}, {"seconds": 3.0}]))  # 2.5
    ```

    Args:
        of: What each run has of it: a key, or a function of the run.
        form: How the number is written, such as `".2%"`.
        by: Makes it of what all runs have. Defaults to the mean.

    Returns:
        A function of the runs, which writes nothing where there is no number (NaN).
    """

    def told(runs: Runs) -> str:
        value = by([run[of] if isinstance(of, str) else of(run) for run in runs])
        return "" if math.isnan(value) else format(value, form)

    return told


def percent(fractions: Sequence[float]) -> str:
    """The mean in percent and, if there are several, the sample standard deviation."""
    middle, spread = mean_and_spread([100 * fraction for fraction in fractions])
    return f"{middle:.2f}" if math.isnan(spread) else f"{middle:.2f} ± {spread:.2f}"


def by_variant(
    title: str,
    first: str | Sequence[str],
    columns: Mapping[str, Cell],
    runs: Mapping[Any, Runs],
) -> Table:
    """A table with a row for each variant.

    Args:
        title: Of the table.
        first: Title of the first column, which says what a variant is, or titles of several.
        columns: Of the others, by their titles: what stands in them.
        runs: By what stands in the first column, or by tuples for several.
    """
    rows = [
        (*_several(name), *(told(of_variant) for told in columns.values()))
        for name, of_variant in runs.items()
    ]
    return Table(title, (*_several(first), *columns), rows)


def _several(words: str | Sequence[str]) -> Sequence[str]:
    return [words] if isinstance(words, str) else words
