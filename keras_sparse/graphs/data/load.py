"""Graphs by name."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import scipy.sparse

from keras_sparse.graphs.data.block_graph import block_graph
from keras_sparse.graphs.data.graph import Graph
from keras_sparse.graphs.data.open_graph_benchmark import NAMES as OGB_NAMES
from keras_sparse.graphs.data.open_graph_benchmark import read_ogb
from keras_sparse.graphs.data.planetoid import ADDRESS, CHECKSUMS, PARTS, read_planetoid
from keras_sparse.graphs.data.reddit import read_reddit
from keras_sparse.messages.arguments import boolean, file_path, one_of, optional
from keras_sparse.messages.keywords import keywords_of, unknown_keyword

_BLOCKS, _REDDIT = "synthetic-sbm", "reddit"
NAMES = (*CHECKSUMS, *OGB_NAMES, _REDDIT, _BLOCKS)


def load(
    name: str,
    *,
    folder: str | os.PathLike[str] | None = None,
    row_normalize: bool | None = None,
    **kwargs: Any,
) -> Graph:
    """Loads a graph with its public split.

    ```python
    graph = ks.graphs.load("synthetic-sbm", nodes=500)
    print(graph.num_nodes, graph.cleaning)
    ```

    Args:
        name: `"cora"`, `"citeseer"`, `"pubmed"` (files of Planetoid), `"ogbn-arxiv"`,
            `"ogbn-products"` (through `pip install keras-sparse[ogb]`), `"reddit"` or
            `"synthetic-sbm"` (drawn at random).
        folder: Where the files are. Defaults to the environment variable `PLANETOID_DIR`,
            `OGB_DIR` or `REDDIT_DIR`, else to `~/.keras/planetoid`, `ogb` or `reddit`. Planetoid's
            and the Open Graph Benchmark's files are downloaded into it where they are missing;
            what is read of Planetoid's has the right checksum.
        row_normalize: Whether the features of each node are divided by their sum. Defaults to
            `True` where they are bags of words: Planetoid's and those drawn at random.
        **kwargs: For `"synthetic-sbm"`, as of `block_graph`.

    Raises:
        ValueError: If there is no such graph, or a file is damaged.
        FileNotFoundError: If a file is missing and cannot be downloaded.
        MissingExtraError: If the package of the Open Graph Benchmark is not installed.
    """
    one_of("name", name, NAMES)
    optional(file_path, "folder", folder)
    optional(boolean, "row_normalize", row_normalize)
    known = keywords_of(block_graph) if name == _BLOCKS else []
    for given in kwargs:
        if given not in known:
            raise unknown_keyword("load", given, [*known, "folder", "row_normalize"])
    if name == _BLOCKS:
        graph = block_graph(**kwargs)
    elif name == _REDDIT:
        graph = read_reddit(_directory(folder, "reddit"))
    elif name in OGB_NAMES:
        graph = read_ogb(name, _directory(folder, "ogb"))
    else:
        graph = _planetoid(name, _directory(folder, "planetoid"))
    words = name == _BLOCKS or name in CHECKSUMS
    if not (words if row_normalize is None else row_normalize):
        return graph
    sums = graph.features.sum(axis=1)
    scale = scipy.sparse.diags_array(1 / np.where(sums == 0, 1, sums))
    return dataclasses.replace(graph, features=scale @ graph.features)


def _directory(folder: str | os.PathLike[str] | None, kind: str) -> Path:
    chosen = folder or os.environ.get(f"{kind.upper()}_DIR") or f"~/.keras/{kind}"
    return Path(chosen).expanduser()


def _planetoid(name: str, directory: Path) -> Graph:
    for part in PARTS:
        path = directory / f"ind.{name}.{part}"
        if not path.exists():
            _download(path)
    return read_planetoid(name, directory)


def _download(path: Path) -> None:
    # Whatever comes is checked when it is read.
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        keras.utils.get_file(
            path.name,
            ADDRESS + path.name,
            cache_dir=path.parent,
            cache_subdir="",
        )
    except Exception as error:
        raise FileNotFoundError(
            f"{os.fspath(path)!r} is missing and cannot be downloaded: {error}. Set the "
            "environment variable PLANETOID_DIR to a folder with Planetoid's files, or use the "
            f"graph {_BLOCKS!r}."
        ) from error
