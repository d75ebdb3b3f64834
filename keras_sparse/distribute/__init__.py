"""Rounds of local training and combination, between processes on `tf.distribute`."""

from keras_sparse.distribute.cluster import Cluster, ClusterError, read_cluster
from keras_sparse.distribute.communicator import Communicator, WorkerLostError, alone, in_threads
from keras_sparse.distribute.connection import connect
from keras_sparse.distribute.launch import launch
from keras_sparse.distribute.rounds import Rounds, WorkersDifferError

__all__ = [
    "Cluster",
    "ClusterError",
    "Communicator",
    "Rounds",
    "WorkerLostError",
    "WorkersDifferError",
    "alone",
    "connect",
    "in_threads",
    "launch",
    "read_cluster",
]
