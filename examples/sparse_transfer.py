"""A sparse model of one task, put to another: full, linear, and with a teacher.

A network is trained on the digits 0 to 4 while nine tenths of its weights are pruned. Then it
learns 5 to 9 from a hundred images: all of its nonzero weights (full), or a new head alone on
features that stay as they are (linear), by SGD and by L-BFGS. The same is done with a dense
network, and with one that was pruned in one shot.

    python examples/sparse_transfer.py
"""

import keras
import numpy as np
from keras import layers

import keras_sparse as ks

SPARSITY = 0.9
UPSTREAM_EPOCHS = 15
EPOCHS = 40
IMAGES = 100


def network() -> keras.Model:
    """Two convolutions with batch normalization."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(16, 3, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
            layers.Conv2D(32, 3, strides=2, use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(5, name="top"),
        ]
    )


def part(x: np.ndarray, y: np.ndarray, upper: bool) -> tuple[np.ndarray, np.ndarray]:
    """The images of 0 to 4, or those of 5 to 9, numbered from 0."""
    chosen = (y >= 5) == upper
    return x[chosen], y[chosen] % 5


def fitted(model: keras.Model, data: tuple, *callbacks: keras.callbacks.Callback) -> keras.Model:
    """The model, trained on the upstream task."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(2e-3), loss, metrics=["accuracy"])
    model.fit(*data, epochs=UPSTREAM_EPOCHS, verbose=0, callbacks=list(callbacks))
    return model


def main() -> None:
    """Trains upstream models, transfers each, and compares them with the dense one."""
    ks.transfer.recommend(transfer="linear", task="general", sparsity=SPARSITY).print()
    digits = ks.data.load("digits")
    upstream = part(*digits.train, upper=False)
    x, y = (side[:IMAGES] for side in part(*digits.train, upper=True))
    test = part(*digits.test, upper=True)

    dense = fitted(network(), upstream)
    teacher = ks.Distillation(dense, alpha=0.5, temperature=4)
    models = {
        "dense": dense,
        "pruned gradually, with a teacher": fitted(
            network(), upstream, ks.GMP(SPARSITY, exclude="top"), teacher
        ),
    }
    models["pruned in one shot"] = keras.models.clone_model(dense)
    models["pruned in one shot"].set_weights(dense.get_weights())
    ks.prune(models["pruned in one shot"], SPARSITY, exclude="top")
    ks.batch_norm_tuning(models["pruned in one shot"], upstream[0])

    accuracies: dict[str, dict[str, float]] = {}
    for name, model in models.items():
        more = {"dense": name == "dense", "verbose": 0}
        full = ks.transfer.full(model, x, y, epochs=EPOCHS, learning_rate=0.01, **more)
        sgd = ks.transfer.linear(model, x, y, epochs=EPOCHS, **more)
        lbfgs = ks.transfer.linear(model, x, y, solver="lbfgs", **more)
        accuracies[name] = {
            mode: task.model.evaluate(*test, verbose=0)[1]
            for mode, task in {"full": full, "linear": sgd, "L-BFGS": lbfgs}.items()
        }
        shown = ", ".join(f"{mode} {value:.1%}" for mode, value in accuracies[name].items())
        print(f"{name} ({full.backbone_sparsity:.0%} zeros): {shown} on 5 to 9")
    for name in list(models)[1:]:
        for mode, value in accuracies[name].items():
            increase = ks.transfer.relative_error_increase(value, accuracies["dense"][mode])
            print(f"{name}, {mode}: error {increase:+.0%} of the dense model's")


if __name__ == "__main__":
    main()
