"""Graph networks on Keras 3: layers with sparse adjacency, data and loaders."""

from keras_sparse.graphs.data.block_graph import block_graph
from keras_sparse.graphs.data.graph import Cleaning, Graph
from keras_sparse.graphs.data.load import load
from keras_sparse.graphs.data.normalization import normalized
from keras_sparse.graphs.gist.accounting import communication_volume, forward_macs, sub_gcns
from keras_sparse.graphs.gist.gist import GIST
from keras_sparse.graphs.gist.partition import cut_weight, merge_weight, partition_features
from keras_sparse.graphs.gist.wide import WideGIST
from keras_sparse.graphs.layers.cuts import Cut
from keras_sparse.graphs.layers.gat_conv import GATConv
from keras_sparse.graphs.layers.graph_conv import GraphConv
from keras_sparse.graphs.layers.sage_conv import SAGEConv
from keras_sparse.graphs.loaders.base import GraphLoader
from keras_sparse.graphs.loaders.cluster import ClusterLoader
from keras_sparse.graphs.loaders.fast_gcn import FastGCNLoader
from keras_sparse.graphs.loaders.full_graph import FullGraph
from keras_sparse.graphs.loaders.ladies import LadiesLoader
from keras_sparse.graphs.loaders.neighbor import NeighborLoader
from keras_sparse.graphs.loaders.partitioning import edge_cut, partition_nodes
from keras_sparse.graphs.loaders.saint import SaintLoader
from keras_sparse.graphs.networks import gat, gcn, sage
from keras_sparse.graphs.rivals.data_parallel import DataParallel
from keras_sparse.graphs.rivals.ensemble import SubGCNEnsemble
from keras_sparse.graphs.rivals.local_sgd import LocalSGD

__all__ = [
    "GIST",
    "Cleaning",
    "ClusterLoader",
    "Cut",
    "DataParallel",
    "FastGCNLoader",
    "FullGraph",
    "GATConv",
    "Graph",
    "GraphConv",
    "GraphLoader",
    "LadiesLoader",
    "LocalSGD",
    "NeighborLoader",
    "SAGEConv",
    "SaintLoader",
    "SubGCNEnsemble",
    "WideGIST",
    "block_graph",
    "communication_volume",
    "cut_weight",
    "edge_cut",
    "forward_macs",
    "gat",
    "gcn",
    "load",
    "merge_weight",
    "normalized",
    "partition_features",
    "partition_nodes",
    "sage",
    "sub_gcns",
]
