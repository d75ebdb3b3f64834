"""The training that is compared between back ends."""

from keras_sparse import graphs
from tests.graphs.gist.small import network, small_graph, trained


def train(backend, backup=None, *callbacks):
    """Four rounds of two steps; blocks of unequal size, dropout, batches of each worker's own."""
    loader = graphs.ClusterLoader(
        small_graph(), "gcn", num_parts=6, parts_per_batch=1, partitioner="random", seed=3
    )
    gist = graphs.GIST(network((7, 12), dropout=0.3), 2, 2, backend=backend, backup=backup)
    return (*trained(gist, loader, 3, callbacks=list(callbacks)), gist.model)
