"""All that a benchmark is made of, to be had from one module.

A benchmark is a script of settings, a `run`, and a `describe`:

- `Script` has its options, makes its `Study` and writes its `Document`;
- `compiled`, `trained`, `accuracy` and `outcome` train and test image classifiers;
- `cell`, `by_variant` and `claims_table` sum up the runs of each variant;
- `lines` and `points` draw them.
"""

from keras_sparse.experiments.claims import Claim, claims_table
from keras_sparse.experiments.columns import Cell, Runs, by_variant, cell, percent
from keras_sparse.experiments.document import Document, Script, Table, command, notes
from keras_sparse.experiments.images import accuracy, compiled, outcome, trained, warm_cosine
from keras_sparse.experiments.pictures import lines, points
from keras_sparse.experiments.study import Results, Study, Variant
from keras_sparse.experiments.summary import mean, spread

__all__ = [
    "Cell",
    "Claim",
    "Document",
    "Results",
    "Runs",
    "Script",
    "Study",
    "Table",
    "Variant",
    "accuracy",
    "by_variant",
    "cell",
    "claims_table",
    "command",
    "compiled",
    "lines",
    "mean",
    "notes",
    "outcome",
    "percent",
    "points",
    "spread",
    "trained",
    "warm_cosine",
]
