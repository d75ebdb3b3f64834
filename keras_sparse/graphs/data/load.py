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
from keras_sparse.graphs.data.planetoid import ADDRESS, CHECKSUMS, PARTS, read_planetoid
from keras_sparse.messages.arguments import boolean, file_path, one_of, optional
from keras_sparse.messages.keywords import keywords_of, unknown_keyword

_BLOCKS = "synthetic-sbm"
NAMES = (*CHECKSUMS, _BLOCKS)


def load(
    name: str,
    *,
    folder: str | os.PathLike[str] | None = None,
    row_normalize: bool = True,
    **kwargs: Any,
) -> Graph:
    """Loads a graph with its public split.

    ```python
    graph = ks.graphs.load("synthetic-sbm", nodes=500)
    print(graph.num_nodes, graph.cleaning)
    ```

    Args:
        name: `"cora"`, `"citeseer"` (files of Planetoid) or `"synthetic-sbm"` (drawn at random).
        folder: Where Planetoid's files are. Defaults to the environment variable
            `PLANETOID_DIR`, else `~/.keras/planetoid`. Files that are missing are downloaded
            into it. What is read has the right checksum.
        row_normalize: Whether the features of each node are divided by their sum.
        **kwargs: For `"synthetic-sbm"`, as of `block_graph`.

    Raises:
        ValueError: If there is no such graph, or a file is damaged.
        FileNotFoundError: If a file is missing and cannot be downloaded.
    """
    one_of("name", name, NAMES)
    optional(file_path, "folder", folder)
    boolean("row_normalize", row_normalize)
    known = keywords_of(block_graph) if name == _BLOCKS else []
    for given in kwargs:
        if given not in known:
            raise unknown_keyword("load", given, [*known, "folder", "row_normalize"])
    graph = block_graph(**kwargs) if name == _BLOCKS else _planetoid(name, folder)
    if not row_normalize:
        return graph
    sums = graph.features.sum(axis=1)
    scale = scipy.sparse.diags_array(1 / np.where(sums == 0, 1, sums))
    return dataclasses.replace(graph, features=scale @ graph.features)


def _planetoid(name: str, folder: str | os.PathLike[str] | None) -> Graph:
    chosen = folder or os.environ.get("PLANETOID_DIR") or "~/.keras/planetoid"
    directory = Path(chosen).expanduser()
    for part, checksum in zip(PARTS, CHECKSUMS[name], strict=True):
        path = directory / f"ind.{name}.{part}"
        if not path.exists():
            _download(path, checksum)
    return read_planetoid(name, directory)


def _download(path: Path, checksum: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        keras.utils.get_file(
            path.name,
            ADDRESS + path.name,
            file_hash=checksum,
            hash_algorithm="sha256",
            cache_dir=path.parent,
            cache_subdir="",
        )
    except Exception as error:
        raise FileNotFoundError(
            f"{os.fspath(path)!r} is missing and cannot be downloaded: {error}. Set the "
            "environment variable PLANETOID_DIR to a folder with Planetoid's files, or use the "
            f"graph {_BLOCKS!r}."
        ) from error
