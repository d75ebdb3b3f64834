"""The Lipschitz constant of the gradient along the training of dense and sparse networks.

    python benchmarks/smoothness.py

A small convolutional network (two convolutions of 5 x 5, LeCun's initialization) on images of
MNIST, SGD, masks of connection sensitivity before the first step. Beside it the variance beta of
the gradients of single examples and twice the first loss, of which the theory's constant C is made,
and the steps that the study of batch sizes has measured on another network.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench
from keras_sparse.experiments.pictures import lines


def network(filters: list[int]) -> keras.Model:
    def lecun() -> Any:
        return keras.initializers.LecunNormal()

    model = keras.Sequential([keras.Input((28, 28, 1))])
    for count in filters:
        model.add(layers.Conv2D(count, 5, activation="relu", kernel_initializer=lecun()))
        model.add(layers.MaxPooling2D())
    model.add(layers.Flatten())
    model.add(layers.Dense(10, kernel_initializer=lecun()))
    return model


def run(config: dict, folder: Path) -> dict[str, Any]:
    """One training, with the constants before it and the smoothness along it."""
    seed, sparsity = config["seed"], config["sparsity"]
    keras.utils.set_random_seed(seed)
    mnist = ks.data.load("mnist", limit=config["images"], seed=seed)
    model = network(config["filters"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(config["rate"]), loss, metrics=["accuracy"])
    smoothness = ks.tuning.LipschitzSmoothness(mnist.train, every=config["every"])
    snip = ks.SNIP(sparsity, data=mnist.train, batch_size=1000) if sparsity else None
    before = {}

    def measure(logs: Any) -> None:
        noise = ks.scaling.gradient_noise(model, mnist.train, samples=config["samples"])
        first = model.compute_loss(y=mnist.y_train, y_pred=model(mnist.x_train))
        before.update(beta=noise.variance, noise_scale=noise.scale, delta=2 * float(first))

    steps = config["steps"]
    model.fit(
        ks.data.pipeline(*mnist.train, batch_size=64, seed=seed).repeat(),
        steps_per_epoch=steps,
        shuffle=False,
        verbose=0,
        callbacks=[
            *([snip] if snip else ()),
            keras.callbacks.LambdaCallback(on_train_begin=measure),
            smoothness,
        ],
    )
    accuracy = bench.accuracy(model, mnist.test)
    return {**before, "values": smoothness.values, "mean": smoothness.mean, "accuracy": accuracy}


def describe(content: Mapping[str, Any]) -> bench.Document:
    found = content["results"]
    rows = []
    for name, runs in found.items():
        means = {
            key: float(np.mean([run[key] for run in runs])) for key in ("mean", "beta", "delta")
        }
        dense = {key: float(np.mean([run[key] for run in found["0%"]])) for key in means}
        ratio = ks.scaling.predicted_ratio(
            (means["delta"], dense["delta"]),
            (means["beta"], dense["beta"]),
            (means["mean"], dense["mean"]),
        )
        spread = bench.spread([run["mean"] for run in runs]) if len(runs) > 1 else float("nan")
        accuracy = f"{np.mean([run['accuracy'] for run in runs]):.2%}"
        rows.append(
            (
                name,
                f"{means['mean']:.3f}",
                f"{spread:.3f}",
                f"{means['beta']:.1f}",
                f"{means['delta']:.2f}",
                f"{ratio:.2f}",
                accuracy,
            )
        )
    values = [value for runs in found.values() for run in runs for _, value in run["values"]]
    positive = bool(np.isfinite(values).all() and min(values) > 0)
    dense, sparse = (float(np.mean([run["mean"] for run in found[name]])) for name in ("0%", "90%"))
    claims = [
        ("all estimates are finite and above 0", "", "holds" if positive else "does not hold"),
        (
            "at 90 % at least 0.8 of what it is dense",
            f"{sparse / dense:.2f}",
            "holds" if sparse >= 0.8 * dense else "does not hold",
        ),
    ]
    header = ("zeros", "L", "spread", "beta", "2 Delta", "predicted ratio", "test accuracy")
    blocks: list[Any] = [
        f"{len(next(iter(found.values())))} seeds, {content['config']['steps']} steps of batches "
        f"of 64 on {content['config']['images']} images.",
        bench.Table("Smoothness along the training", header, rows),
        bench.Table("Claims", ("claim", "measured", ""), claims),
        "The predicted ratio is that of the theory's constants C, of a bound: it is no estimate "
        "of the steps, which sparse networks take more of (see batch_size.md).",
    ]
    curves = {
        name: np.mean([[value for _, value in run["values"]] for run in runs], axis=0).tolist()
        for name, runs in found.items()
        if len({len(run["values"]) for run in runs}) == 1
    }
    picture = lines({"Lipschitz estimate": curves}, "measurement", fractions=False)
    return bench.Document("Smoothness of sparse training", blocks, picture, "L over the training")


def main() -> None:
    script = bench.Script(
        __doc__, seeds=3, steps=400, every=50, images=2000, samples=300, rate=0.05, filters=[8, 16]
    )
    args = script.args
    names = ("steps", "every", "images", "samples", "rate", "filters")
    config = {name: getattr(args, name) for name in names}
    variants = {
        f"{sparsity:.0%}": bench.Variant({**config, "sparsity": sparsity})
        for sparsity in (0.0, 0.5, 0.7, 0.9)
    }
    script.study(bench.Study(variants, range(args.seeds), run), describe, config)


if __name__ == "__main__":
    main()
