"""killed_server.py BACKUP: trains with processes, and is killed in the third round."""

import os
import signal
import sys

import keras

from tests.graphs.gist.processes import train


class Killed(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    train("process", sys.argv[1], Killed())
