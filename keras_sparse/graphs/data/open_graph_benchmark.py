"""Graphs of the Open Graph Benchmark, which its own package downloads and reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from keras_sparse.graphs.data.graph import Graph
from keras_sparse.messages.extras import check_extra

NAMES = ("ogbn-arxiv", "ogbn-products")


def read_ogb(name: str, folder: Path) -> Graph:
    """Reads a graph with the benchmark's split, its edges in both directions.

    Args:
        name: `"ogbn-arxiv"` or `"ogbn-products"`.
        folder: Where its files are, or are downloaded to. Ahead of a large download the package
            asks.

    Raises:
        MissingExtraError: If `ogb` is not installed.

    Source: Hu et al. (2020), section 4; Wolfe (2023), section 2.5.
    """
    check_extra("ogb", "ogb.nodeproppred")
    from ogb.nodeproppred import NodePropPredDataset

    dataset = NodePropPredDataset(name=name, root=str(folder))
    content, labels = dataset[0]
    split = dataset.get_idx_split()
    return Graph.from_edges(
        np.transpose(content["edge_index"]),
        content["node_feat"],
        np.ravel(labels),
        int(dataset.num_classes),
        train=split["train"],
        validation=split["valid"],
        test=split["test"],
        name=name,
    )
