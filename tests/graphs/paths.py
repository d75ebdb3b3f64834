"""The path 0-1-2, on which the worked numbers are."""

import numpy as np
import scipy.sparse

from keras_sparse import graphs
from keras_sparse.backend.sparse_tensors import from_scipy

X = np.array([[1, 0], [0, 1], [1, 1]], "float32")
EDGES = [(0, 1), (1, 2)]
KERNEL_0 = np.array([[1, -1, 2, 0], [0, 1, -1, 1]], "float32")
KERNEL_1 = np.array([[1, 0], [0, 1], [1, -1], [-1, 2]], "float32")
BIAS_1 = np.array([0.5, -0.5], "float32")


def path_graph(**kwargs):
    return graphs.Graph.from_edges(EDGES, X, np.array([0, 1, 0]), train=[0, 1, 2], **kwargs)


def adjacency(kind):
    return sparse(graphs.normalized(path_graph().adjacency, kind))


def sparse(matrix):
    return from_scipy(scipy.sparse.coo_array(matrix))
