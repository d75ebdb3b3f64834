"""When labels come into the convex hull of neurons in training, by the data's size.

    python benchmarks/hull_membership.py

The experiment of Table 20 of Wolfe (2023), B.2.2, on scikit-learn's digits: whether a digit is
below 5. A mean of sigmoid neurons without bias, weights from N(0, 1), binary cross entropy, SGD
with one image a step. Of several learning rates for each neuron the one that comes to it first is
told, as in the source. Of m images there are just above m^2 / 64 neurons. After some epochs a
linear program finds the largest margin tau with which a weighting of the neurons classifies all
images, at most 1, and non-negative least squares the distance from labels of -1 and 1 to the hull,
here of one image's.
"""

import itertools
import math
from pathlib import Path

import keras
import numpy as np

import keras_sparse as ks
from keras_sparse.analysis.bounds.hull import hull_distance, hull_membership
from keras_sparse.experiments import benchmark as bench

IMAGES = (100, 150, 200, 300)
EPOCHS = (0, 1, 2, 3, 4, 6, 8, 10, 12)
MEMBER = 0.1
RATES = (1.0, 0.3, 0.1)


def network(units: int, inputs: int, activation: str = "sigmoid") -> keras.Model:
    """A mean of neurons without bias, and what is applied to it."""
    normal = keras.initializers.RandomNormal(stddev=1.0)
    hidden = keras.layers.Dense(
        units, "sigmoid", use_bias=False, kernel_initializer=normal, name="hidden"
    )
    output = keras.layers.Dense(1, activation, use_bias=False, kernel_initializer=normal)
    mean = keras.layers.Rescaling(1 / units)
    return keras.Sequential([keras.Input((inputs,)), hidden, mean, output])


def neurons(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """What each adds to the mean, (m, N)."""
    seen = keras.ops.convert_to_numpy(model.get_layer("hidden")(x))
    return seen * keras.ops.convert_to_numpy(model.layers[-1].kernel)[:, 0]


def run(config: dict, folder: Path) -> dict:
    """The training with the rate whose margin is the first to be large enough."""
    trained = [train(config["images"], config["seed"], rate) for rate in RATES]

    def order(found: dict) -> tuple[float, float]:
        first = math.inf if found["first"] is None else found["first"]
        return first, -found["margin"][-1]

    return min(trained, key=order)


def train(m: int, seed: int, rate: float) -> dict:
    """Margins and distances in one training."""
    data = ks.data.load("digits", limit=m, seed=seed, flatten=True)
    x, labels = (data.x_train * data.std + data.mean) / 16, (data.y_train < 5).astype("float32")
    units = int(1.05 * m**2 / x.shape[1])
    keras.utils.set_random_seed(seed)
    model = network(units, x.shape[1])
    model.compile(keras.optimizers.SGD(rate * units), "binary_crossentropy")
    found: dict[str, list[float]] = {"margin": [], "distance": []}
    past = 0
    for epochs in EPOCHS:
        if epochs > past:
            model.fit(x, labels, batch_size=1, epochs=epochs - past, verbose=0)
            past = epochs
        columns = neurons(model, x)
        found["margin"].append(hull_membership(columns, labels, tau_min=MEMBER).margin)
        distance = hull_distance(columns, 2 * labels - 1)[0]
        found["distance"].append(distance / m**0.5)
    first = next((e for e, tau in zip(EPOCHS, found["margin"], strict=True) if tau > MEMBER), None)
    return {"units": units, "rate": rate, "first": first, **found}


def describe(content: dict) -> bench.Document:
    results = content["results"]
    rows, steps = [], []
    for name, runs in results.items():
        firsts = [each["first"] for each in runs]
        told = " / ".join("never" if first is None else str(first) for first in firsts)
        known = [first for first in firsts if first is not None]
        m = int(name.split()[0])
        steps.append(m * bench.mean(known) if len(known) == len(firsts) else math.inf)
        cells = [
            f"{bench.mean([each[what][at] for each in runs]):.3f}"
            for what in ("margin", "distance")
            for at in (0, -1)
        ]
        rates = " / ".join(f"{each['rate']:g}" for each in runs)
        mean = f"{steps[-1]:,.0f}" if math.isfinite(steps[-1]) else ""
        rows.append((name, str(runs[0]["units"]), rates, told, mean, *cells))
    header = ("", "neurons", "rates", "first epoch with tau > 0.1", "in steps")
    header += ("tau at the beginning",)
    header += ("at the end", "distance at the beginning", "at the end")
    every = [each for runs in results.values() for each in runs]
    claims = {
        "Never at the beginning": all(each["margin"][0] < MEMBER for each in every),
        "The steps to it grow with the data": all(b > a for a, b in itertools.pairwise(steps)),
        "The distance to the hull falls in training": all(
            each["distance"][-1] < each["distance"][0] for each in every
        ),
    }
    lines = [f"{text}: {'holds' if told else 'does not hold'}." for text, told in claims.items()]
    lines.append(
        f"Means over {len(runs)} seeds, firsts of each. The margin of a member is above 0.1."
    )
    panels = {
        what: {
            name: np.mean([each[key] for each in runs], axis=0) for name, runs in results.items()
        }
        for key, what in (("margin", "largest margin"), ("distance", "distance to the hull"))
    }
    picture = bench.lines(panels, "epochs", [str(epochs) for epochs in EPOCHS], fractions=False)
    blocks = [bench.Table("Labels in the hull of neurons", header, rows), bench.notes(lines)]
    title = "Labels in the convex hull of neurons"
    return bench.Document(title, blocks, picture, "margin and distance in training")


if __name__ == "__main__":
    script = bench.Script(__doc__, seeds=3)
    variants = {f"{m} images": bench.Variant({"images": m}) for m in IMAGES}
    script.study(bench.Study(variants, range(script.args.seeds), run), describe)
