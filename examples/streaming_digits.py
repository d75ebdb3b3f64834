"""Learning from a stream that is sorted by class, one example at a time.

The digits 0 to 9 come one class after the other, each image once. A network that is trained on what
comes forgets what came before; with a buffer of 300 small images it does not, also when nine tenths
of its weights are zero.

    python examples/streaming_digits.py
"""

import keras
import numpy as np
from keras import layers

import keras_sparse as ks

IMAGES = 1000
CAPACITY = 300


def network() -> keras.Model:
    """Two hidden layers of 128."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(128, activation="relu"),
            layers.Dense(10),
        ]
    )


def main() -> None:
    """Streams the digits past three learners."""
    digits = ks.data.load("digits", limit=IMAGES)

    def pixels(x: np.ndarray) -> np.ndarray:
        return np.rint(15 * (x * digits.std + digits.mean)).astype("uint8")

    x, y = pixels(digits.x_train), digits.y_train
    test = pixels(digits.x_test), digits.y_test
    settings = {"standardize": (15 * digits.mean, 15 * digits.std)}
    replay = {"capacity": CAPACITY, "compression": ks.streaming.ImageCompression(bits=4)}
    sparse = {"sparse": ks.SET(0.9, every="5%", keep_dense=("last",)), "steps": len(y)}
    learners = {
        "without replay": ks.streaming.FineTuning(network(), **settings),
        "with replay": ks.streaming.StreamingLearner(network(), **settings, **replay),
        "and 90 % zeros": ks.streaming.StreamingLearner(network(), **settings, **replay, **sparse),
    }
    for name, learner in learners.items():
        history = learner.fit_stream(x, y, order="class-incremental", test=test)
        shown = ", ".join(f"{accuracy:.1%}" for accuracy in history.accuracies)
        print(
            f"{name}: {shown} on the classes met; forgets {history.forgetting:.1%}; "
            f"{learner.buffer.nbytes:,} bytes stored"
        )


if __name__ == "__main__":
    main()
