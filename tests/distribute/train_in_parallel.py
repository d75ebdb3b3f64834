"""A worker of parallel grow-and-prune; what it has in the end goes to a file of its own.

train_in_parallel.py OUT BACKUP [RANK EPOCH]: worker RANK is killed in that epoch.
"""

import os
import signal
import sys
import threading
from pathlib import Path

import keras
import numpy as np

import keras_sparse as ks
from tests.training import compiled, conv_net, fit

_ONE_AT_A_TIME = threading.Lock()


class Killed(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            os.kill(os.getpid(), signal.SIGKILL)


def train(workers, backup=None, *callbacks):
    """Three rounds of one epoch and one of fine-tuning; each worker has its own order of data."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(96, 8, 8, 1)).astype("float32")
    y = generator.integers(0, 4, 96)
    mine = np.roll(x, workers.rank, 0), np.roll(y, workers.rank)
    with _ONE_AT_A_TIME:
        model = compiled(conv_net(seed=workers.rank))
    given = {"steps": 3, "epochs_per_step": 1, "finetune_epochs": 1, "seed": 0}
    gap = ks.ParallelGaP(0.8, workers, backup=backup, **given)
    history = fit(model, mine, gap, *callbacks, epochs=4).history
    return [keras.ops.convert_to_numpy(v) for v in model.variables], history


def main():
    out, backup = map(Path, sys.argv[1:3])
    workers = ks.distribute.connect()
    assert ks.distribute.connect() is workers
    rank, epoch = map(int, sys.argv[3:5] or (-1, -1))
    values, history = train(workers, backup, *([Killed(epoch)] if rank == workers.rank else []))
    np.savez(
        out / f"worker-{workers.rank}.npz",
        steps=history.get("gap_step", []),
        traffic=history.get("gap_traffic", []),
        received=workers.traffic,
        **{f"v{i}": value for i, value in enumerate(values)},
    )
    print("done", workers.rank, "of", workers.count)


if __name__ == "__main__":
    main()
