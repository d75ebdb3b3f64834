"""The graph of posts on Reddit, read from the two files that graph libraries share."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import scipy.sparse

from keras_sparse.graphs.data.graph import Graph

ADDRESS = "https://data.dgl.ai/dataset/reddit.zip"
_DATA, _GRAPH = "reddit_data.npz", "reddit_graph.npz"
# What `node_types` calls the splits.
_TRAIN, _VALIDATION, _TEST = 1, 2, 3


def read_reddit(folder: Path) -> Graph:
    """Reads the graph with its split by days: 20 days to train, of the rest 30 % to validate.

    Args:
        folder: Where `reddit_data.npz` and `reddit_graph.npz` are.

    Raises:
        FileNotFoundError: If one of them is missing.
        ValueError: If one of them cannot be read.

    Source: Hamilton et al. (2017), section 4.1.
    """
    missing = [name for name in (_DATA, _GRAPH) if not (folder / name).exists()]
    if missing:
        raise FileNotFoundError(
            f"{' and '.join(missing)} must be in {os.fspath(folder)!r}. They are in {ADDRESS}, of "
            "1.2 GB: unpack it there, or set the environment variable REDDIT_DIR to where they are."
        )
    try:
        with np.load(folder / _DATA, allow_pickle=False) as data:
            features, labels, kinds = (data[key] for key in ("feature", "label", "node_types"))
        links = scipy.sparse.coo_array(scipy.sparse.load_npz(folder / _GRAPH))
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{_DATA} or {_GRAPH} in {os.fspath(folder)!r} is damaged or another file: {error}. "
            f"Unpack {ADDRESS} anew."
        ) from error
    train, validation, test = (
        np.flatnonzero(kinds == kind) for kind in (_TRAIN, _VALIDATION, _TEST)
    )
    return Graph.from_edges(
        np.stack([links.row, links.col], axis=1),
        features,
        labels,
        train=train,
        validation=validation,
        test=test,
        name="reddit",
    )
