"""launched.py OUT: a worker of a training on tf.distribute; its weights go to a file of its own."""

import sys
from pathlib import Path

import numpy as np

import keras_sparse as ks
from tests.graphs.gist.processes import train

if __name__ == "__main__":
    workers = ks.distribute.connect()
    weights, history, _ = train("tf.distribute")
    np.savez(Path(sys.argv[1]) / f"worker-{workers.rank}.npz", *weights, loss=history["loss"])
