"""Random graphs with blocks of nodes that are linked more among themselves."""

from __future__ import annotations

import numpy as np
import scipy.sparse

from keras_sparse.graphs.data.graph import Graph
from keras_sparse.messages.arguments import integer, number


def block_graph(
    nodes: int = 1000,
    num_classes: int = 5,
    words: int = 600,
    *,
    degree: float = 8.0,
    within: float = 0.7,
    words_a_node: int = 20,
    topical: float = 0.3,
    train_a_class: int = 20,
    seed: int = 0,
) -> Graph:
    """A stochastic block graph with bags of words as features.

    A class is a block. Of each node's words a share is drawn from the class's own part of the
    vocabulary, the others from all of it. Per class some nodes are for training, half of the rest
    for validation, half for testing.

    Args:
        nodes: Number of nodes, per class at least 10 more than are for training.
        num_classes: Number of classes.
        words: Number of words, at least one a class.
        degree: Mean number of edges of a node that are drawn; duplicates and loops are dropped.
        within: Share of edges that stay within a block, in [0, 1].
        words_a_node: How many words are drawn for a node.
        topical: Share of words that tell the class, in [0, 1].
        train_a_class: Nodes for training of each class.
        seed: Seed of all draws.

    Raises:
        ValueError: If a number is out of range.

    Source: Holland et al. (1983), section 2.
    """
    integer("num_classes", num_classes)
    least = integer("train_a_class", train_a_class) + 10
    cure = f"That is {least} for each of {num_classes} classes"
    integer("nodes", nodes, least * num_classes, cure=cure)
    integer("words", words, num_classes)
    number("degree", degree, "[0, inf)")
    number("within", within, "[0, 1]")
    integer("words_a_node", words_a_node)
    number("topical", topical, "[0, 1]")
    draw = np.random.default_rng(integer("seed", seed, 0))
    labels = draw.permutation(np.arange(nodes) % num_classes)
    order = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels, minlength=num_classes)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    first = draw.integers(0, nodes, int(nodes * degree / 2))
    block = labels[first]
    near = order[starts[block] + draw.integers(0, sizes[block])]
    second = np.where(draw.random(len(first)) < within, near, draw.integers(0, nodes, len(first)))

    share = words // num_classes
    own = labels[:, None] * share + draw.integers(0, share, (nodes, words_a_node))
    common = draw.integers(0, words, (nodes, words_a_node))
    chosen = np.where(draw.random((nodes, words_a_node)) < topical, own, common)
    rows = np.repeat(np.arange(nodes), words_a_node)
    bags = scipy.sparse.csr_array((np.ones(len(rows)), (rows, chosen.ravel())), (nodes, words))

    shuffled = draw.permutation(nodes)
    by_class = [shuffled[labels[shuffled] == each] for each in range(num_classes)]
    rest = np.concatenate([each[train_a_class:] for each in by_class])
    return Graph.from_edges(
        np.stack([first, second], axis=1),
        bags,
        labels,
        num_classes,
        train=np.concatenate([each[:train_a_class] for each in by_class]),
        validation=rest[::2],
        test=rest[1::2],
        name="synthetic-sbm",
    )
