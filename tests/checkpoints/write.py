"""Writes the checkpoints in mid-training that later versions must go on from.

Run it with the version whose files are to be kept: `python -m tests.checkpoints.write FOLDER`.
"""

import json
import os
import sys
from collections.abc import Callable

import keras
import numpy as np

import keras_sparse as ks

EPOCHS, STOPPED_AFTER = 10, 5

METHODS: dict[str, Callable[[], keras.callbacks.Callback]] = {
    "ACDC": lambda: ks.ACDC(0.75, schedule="DDCCDDCCCC"),
    "ADMM": lambda: ks.ADMM(0.75),
    "CSAM": lambda: ks.CSAM([0.5, 0.75], seed=0),
    "CrAM": lambda: ks.CrAM([0.5, 0.75], seed=0, sparse_gradients=True),
    "CyclicGaP": lambda: ks.CyclicGaP(
        0.75, 2, steps=4, epochs_per_step=2, finetune_epochs=2, granularity=ks.Unstructured()
    ),
    "DPF": lambda: ks.DPF(0.75),
    "DSD": lambda: ks.DSD(0.75),
    "DSR": lambda: ks.DSR(0.75, seed=0),
    "DeepR": lambda: ks.DeepR(0.75, seed=0),
    "EdgePopup": lambda: ks.EdgePopup(0.75),
    "GMP": lambda: ks.GMP(0.75),
    "IHT": lambda: ks.IHT(0.75),
    "L0": lambda: ks.L0(seed=0),
    "MovementPruning": lambda: ks.MovementPruning(0.75),
    "RigL": lambda: ks.RigL(0.75, seed=0),
    "SAM": lambda: ks.SAM(),
    "SET": lambda: ks.SET(0.75, seed=0),
    "SNFS": lambda: ks.SNFS(0.75, seed=0),
    "SRSTE": lambda: ks.SRSTE(granularity="2:4"),
    "STE": lambda: ks.STE(0.75),
    "STR": lambda: ks.STR(),
    "SkinnyIHT": lambda: ks.SkinnyIHT(0.75),
    "SparseVariationalDropout": lambda: ks.SparseVariationalDropout(seed=0),
    "StaticMask": lambda: ks.StaticMask(0.75, seed=0),
    "TopKAST": lambda: ks.TopKAST(0.75, 0.5),
    "TopKPlus": lambda: ks.TopKPlus([0.5], seed=0),
}


def samples() -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets of the runs."""
    random = np.random.default_rng(0)
    x = random.normal(size=(64, 8)).astype("float32")
    return x, (x[:, :1] * x[:, 1:2] + x[:, 2:3]).astype("float32")


def build() -> keras.Model:
    """The model of the runs, compiled."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(16, activation="tanh", name="hidden"),
            keras.layers.Dense(4, name="out"),
            keras.layers.Dense(1, name="head"),
        ],
        name="net",
    )
    model.compile(keras.optimizers.SGD(0.02, momentum=0.9), "mse")
    return model


def train(model: keras.Model, callbacks: list[keras.callbacks.Callback], start: int = 0) -> None:
    """Trains from an epoch to the end."""
    x, y = samples()
    model.fit(
        x,
        y,
        batch_size=16,
        epochs=EPOCHS,
        initial_epoch=start,
        shuffle=False,
        verbose=0,
        callbacks=callbacks,
    )


class _Stop(keras.callbacks.Callback):
    """Writes the model at the end of an epoch in mid-training."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        if epoch + 1 == STOPPED_AFTER:
            self.model.save(self.path)


def main(folder: str) -> None:
    """Writes a checkpoint of each method, and the weights at the end of its run."""
    os.makedirs(folder, exist_ok=True)
    ends = {}
    for name, method in METHODS.items():
        model = build()
        train(model, [method(), _Stop(os.path.join(folder, f"{name}.keras"))])
        ends[name] = [np.round(w.astype(float), 6).tolist() for w in model.get_weights()]
        print(name, flush=True)
    with open(os.path.join(folder, "ends.json"), "w", encoding="utf-8") as file:
        json.dump({"version": ks_version(), "ends": ends}, file)


def ks_version() -> str:
    """The version that writes."""
    import importlib.metadata

    return importlib.metadata.version("keras-sparse")


if __name__ == "__main__":
    main(sys.argv[1])
