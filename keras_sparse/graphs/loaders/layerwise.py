"""Batches with nodes drawn for each layer, and so an adjacency for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse

from keras_sparse.graphs.data.graph import Graph
from keras_sparse.graphs.loaders.batches import Batch, Size, assembled, largest_rows
from keras_sparse.graphs.loaders.node_batches import NodeBatches
from keras_sparse.messages.arguments import integer, wrong


class LayerwiseLoader(NodeBatches):
    """Base of loaders that draw the nodes which a layer takes from, going down from the batch's.

    The network takes as many adjacencies: `ks.graphs.gcn(..., own_adjacency=True)`.

    Args:
        graph: The graph.
        kind: The adjacency that the layers take, as of `ks.graphs.normalized`.
        samples_per_layer: How many nodes are drawn for each layer, the first layer's first.
        batch_size: Nodes of a batch that have weight.
        split: Whose nodes have weight.
        shuffle: Whether they are shuffled every epoch.
        seed: Seed of all draws.
        **kwargs: As of `keras.utils.PyDataset`.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        graph: Graph,
        kind: str,
        samples_per_layer: Sequence[int],
        batch_size: int = 512,
        *,
        split: str = "train",
        shuffle: bool = True,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(graph, kind, split, batch_size, shuffle, seed, **kwargs)
        if not len(samples_per_layer):
            allowed = "a list of numbers of nodes, one for each layer"
            raise wrong("samples_per_layer", samples_per_layer, allowed)
        self.samples = [integer("samples_per_layer", each) for each in samples_per_layer]
        nodes = min(batch_size + sum(self.samples), graph.num_nodes)
        taking = min(batch_size + max(self.samples), graph.num_nodes)
        edges = min(largest_rows(self.links, taking), taking * taking)
        self.size = Size(nodes, edges, self.stored_features(nodes))

    def probabilities(self, rows: np.ndarray) -> np.ndarray:
        """With which probability a node is drawn for a layer.

        Args:
            rows: The nodes that the layer makes features of.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement probabilities")

    def drawn(
        self, draw: np.random.Generator, chances: np.ndarray, samples: int, targets: np.ndarray
    ) -> np.ndarray:
        """The nodes that a layer takes from.

        Args:
            draw: Random numbers.
            chances: As of `probabilities`.
            samples: How many are drawn.
            targets: The batch's nodes.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement drawn")

    def reweighted(self, part: Any, chances: np.ndarray, samples: int) -> Any:
        """What is kept of the adjacency, with weights for what is not.

        Args:
            part: Rows of a layer's nodes and columns of those that it takes from.
            chances: Of the latter.
            samples: How many were drawn.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement reweighted")

    def batch(self, epoch: int, index: int, stream: int = 0) -> Batch:
        """Some nodes, and those that are drawn for each layer."""
        draw = self.generator(stream, epoch, index)
        targets = self.targets(epoch, index, stream)
        rows, parts = targets, []
        for samples in reversed(self.samples):
            chances = self.probabilities(rows)
            columns = self.drawn(draw, chances, samples, targets)
            part = self.reweighted(self.links[rows][:, columns], chances[columns], samples)
            parts.append((rows, columns, part))
            # A node that is drawn twice is counted by its columns; as a row it stands once.
            rows = np.unique(columns)
        others = np.setdiff1d(np.concatenate([columns for _, columns, _ in parts]), targets)
        nodes = np.concatenate([targets, others])
        place = np.full(self.graph.num_nodes, -1)
        place[nodes] = np.arange(len(nodes))
        weights = np.arange(len(nodes)) < len(targets)
        links = [
            _placed(part, place[rows], place[columns], len(nodes))
            for rows, columns, part in reversed(parts)
        ]
        return assembled(self.graph, nodes, links, weights, self.size)


def _placed(part: Any, rows: np.ndarray, columns: np.ndarray, nodes: int) -> scipy.sparse.csr_array:
    """A layer's adjacency among all nodes of the batch."""
    entries = scipy.sparse.coo_array(part)
    at = (rows[entries.row], columns[entries.col])
    return scipy.sparse.csr_array((entries.data.astype(np.float32), at), (nodes, nodes))


def squared_share(matrix: Any) -> np.ndarray:
    """The share of each column in a sparse matrix's sum of squares."""
    squares = np.asarray(matrix.multiply(matrix).sum(axis=0)).ravel().astype(np.float64)
    return squares / max(squares.sum(), np.finfo(np.float64).tiny)
