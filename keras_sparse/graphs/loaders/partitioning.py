"""Parts of a graph between which there are few edges."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse

from keras_sparse.messages.arguments import integer, one_of
from keras_sparse.messages.extras import check_extra


def partition_nodes(
    adjacency: Any, num_parts: int, partitioner: str | None = None, seed: int = 0
) -> list[np.ndarray]:
    """Parts of a graph's nodes, disjoint and together all of them, none of them empty.

    Args:
        adjacency: Sparse `(n, n)`, symmetric.
        num_parts: How many parts at most, up to `n`.
        partitioner: `"metis"` (of the extra `graphs`) cuts the fewest edges; `"ldg"` gives one
            node after the other to the part that has most of its neighbors and is not full;
            `"random"` looks at no edge. Defaults to METIS where it is installed, else to LDG.
        seed: Seed of the way chosen.

    Raises:
        ValueError: If a number is out of range.
        MissingExtraError: If METIS is asked for and not installed.

    Source: Karypis and Kumar (1998); Stanton and Kliot (2012), section 4.
    """
    graph = scipy.sparse.csr_array(adjacency)
    integer("num_parts", num_parts, 1, graph.shape[0])
    integer("seed", seed, 0)
    number_of = PARTITIONERS[chosen_partitioner(partitioner)]
    graph = scipy.sparse.csr_array(graph - scipy.sparse.diags_array(graph.diagonal()))
    graph.eliminate_zeros()
    numbers = number_of(graph, num_parts, seed)
    order = np.argsort(numbers, kind="stable")
    counts = np.bincount(numbers, minlength=num_parts)
    return [part for part in np.split(order, np.cumsum(counts)[:-1]) if part.size]


def chosen_partitioner(partitioner: str | None) -> str:
    """The name of a partitioner, for `None` the best that is installed.

    Raises:
        ValueError: If there is none of that name.
    """
    if partitioner is None:
        return "metis" if importlib.util.find_spec("pymetis") else "ldg"
    return one_of("partitioner", partitioner, PARTITIONERS)


def edge_cut(adjacency: Any, parts: list[np.ndarray]) -> int:
    """How many undirected edges lead from one part to another.

    Args:
        adjacency: Sparse `(n, n)`, symmetric.
        parts: Node indices of each part.
    """
    edges = scipy.sparse.coo_array(adjacency)
    number = np.empty(edges.shape[0], np.int64)
    for index, part in enumerate(parts):
        number[part] = index
    return int((number[edges.row] != number[edges.col]).sum()) // 2


def _metis(graph: scipy.sparse.csr_array, parts: int, seed: int) -> np.ndarray:
    check_extra("graphs", "pymetis")
    import pymetis

    adjacency = pymetis.CSRAdjacency(adj_starts=graph.indptr, adjacent=graph.indices)
    found = pymetis.part_graph(parts, adjacency=adjacency, options=pymetis.Options(seed=seed))
    return np.asarray(found.vertex_part, np.int64)


def _ldg(graph: scipy.sparse.csr_array, parts: int, seed: int) -> np.ndarray:
    nodes = graph.shape[0]
    capacity = -(-nodes // parts)
    numbers = np.full(nodes, -1)
    filled = np.zeros(parts)
    for node in np.random.default_rng(seed).permutation(nodes):
        near = numbers[graph.indices[graph.indptr[node] : graph.indptr[node + 1]]]
        score = np.bincount(near[near >= 0], minlength=parts) * (1 - filled / capacity)
        # Among equals the emptiest; one that is full is out of the question.
        score = np.where(filled < capacity, score - 1e-6 * filled / capacity, -np.inf)
        numbers[node] = score.argmax()
        filled[numbers[node]] += 1
    return numbers


def _random(graph: scipy.sparse.csr_array, parts: int, seed: int) -> np.ndarray:
    return np.argsort(np.random.default_rng(seed).random(graph.shape[0])) % parts


PARTITIONERS: dict[str, Callable[[scipy.sparse.csr_array, int, int], np.ndarray]] = {
    "metis": _metis,
    "ldg": _ldg,
    "random": _random,
}
