"""A sweep as a process of its own: `python search_in_a_process.py KIND FOLDER WORKERS`.

Each epoch takes half a second, so that there is time to kill it.
"""

import sys
from pathlib import Path

import keras_sparse as ks
from tests.tuning.networks import Epochs, hypermodel, samples

TRIALS, EPOCHS = 4, 6
OBJECTIVES = ("accuracy", "nonzeros")


def sweep(kind, folder):
    model = hypermodel(sparsity=[0.5, 0.8])
    if kind == "optuna":
        return ks.tuning.OptunaSweep(
            model, OBJECTIVES, folder / "journal.log", max_trials=TRIALS, directory=folder
        )
    return ks.tuning.SparseTuner(model, OBJECTIVES, max_trials=TRIALS, directory=folder)


def search(kind, folder, workers, seconds=0.5):
    made = sweep(kind, folder)
    callbacks = [Epochs(folder / "epochs", seconds)]
    data = samples()
    made.search(*data, epochs=EPOCHS, validation_data=data, callbacks=callbacks, workers=workers)
    return made


if __name__ == "__main__":
    search(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
