"""Attention heads of a small encoder, chosen in three ways, before and after it is trained on.

    python benchmarks/heads.py

Two layers of twelve heads read the 28 rows of an MNIST image. i-SpaSP (Wolfe 2023, 4.6.4) goes from
layer to layer; the uniform baseline draws as many heads of each layer at random; the sensitivity of
Michel et al. (2019) ranks the heads of all layers together, by the absolute derivative of each
image's loss with respect to a gate on the head, divided by the layer's norm of these.
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench

SETTINGS = {"images": 5000, "epochs": 8, "further": 1, "samples": 1280, "draws": 5, "batch": 64}
LAYERS, HEADS, SIZE = 2, 12, 48
KEPT = (3, 5)
METHODS = ("i-SpaSP", "uniform", "sensitivity")
WHEN = ("before", "after")
CLAIMS = tuple(bench.Claim("i-SpaSP, after", "uniform, after", 0.0, kept) for kept in KEPT)
ABOUT = """\
Test accuracy in percent, with 3 or 5 of the twelve heads of each layer, before and after
{further} epoch of training; for the sensitivity as many in all. {images:,} training images, the
dense network was trained for {epochs} epochs; heads are chosen by {samples:,} images. Means and
standard deviations over seeds, of uniform over the means of {draws} draws."""


def rows_of(images: np.ndarray) -> np.ndarray:
    """The rows of images, each with its place as a one-hot vector, (n, 28, 56)."""
    places = np.broadcast_to(np.eye(28, dtype="float32"), (len(images), 28, 28))
    return np.concatenate([images[..., 0], places], axis=-1)


def encoder() -> keras.Model:
    rows = keras.Input((28, 56))
    x = layers.Dense(SIZE, name="embedding")(rows)
    for i in range(LAYERS):
        normed = layers.LayerNormalization()(x)
        attention = layers.MultiHeadAttention(HEADS, 8, name=f"attention{i}")(normed, normed)
        x = layers.Add()([x, attention])
        y = layers.Dense(2 * SIZE, activation="gelu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(SIZE)(y)])
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    return keras.Model(rows, layers.Dense(10, name="logits")(x))


def groups() -> list[str]:
    return [f"attention{i}/heads" for i in range(LAYERS)]


def trained(model: keras.Model, data: Any, config: dict, epochs: int, rate: float) -> keras.Model:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    model.fit(*data, epochs=epochs, batch_size=config["batch"], verbose=0)
    return model


def sensitivities(model: keras.Model, data: Any) -> np.ndarray:
    """Mean absolute derivatives with respect to gates on the heads, (layers, heads), of norm 1.

    A gate on a head does what the same factor on its part of the output projection does.
    """
    kernels = [model.get_layer(f"attention{i}").output_dense.kernel for i in range(LAYERS)]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function
    def gates(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            value = loss(y, model(x, training=False))
        slopes = tape.gradient(value, [kernel.value for kernel in kernels])
        return [
            tf.abs(tf.reduce_sum(slope * kernel.value, (1, 2)))
            for slope, kernel in zip(slopes, kernels, strict=True)
        ]

    single = tf.data.Dataset.from_tensor_slices(data).batch(1)
    means = np.mean([gates(x, y) for x, y in single], axis=0)
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def choices(model: keras.Model, data: Any, kept: int, config: dict) -> dict[str, list[dict]]:
    """The heads that stay, by method, of uniform several draws."""
    random = np.random.default_rng(config["seed"])
    sample = tuple(part[: config["samples"]] for part in data)
    keep = dict.fromkeys(groups(), kept)
    pursued = ks.structured.prune_layerwise(model, sample[0], "i_spasp", keep=keep).kept
    scores = sensitivities(model, sample)
    best = np.unravel_index(np.argsort(-scores, axis=None)[: LAYERS * kept], scores.shape)
    ranked = [np.sort(best[1][best[0] == i]) for i in range(LAYERS)]
    # No layer can lose all of its heads.
    ranked = [
        heads if len(heads) else scores[i].argmax(keepdims=True) for i, heads in enumerate(ranked)
    ]
    return {
        "i-SpaSP": [{name: pursued[name] for name in groups()}],
        "uniform": [
            {name: random.permutation(HEADS)[:kept] for name in groups()}
            for _ in range(config["draws"])
        ],
        "sensitivity": [dict(zip(groups(), ranked, strict=True))],
    }


def run(config: dict, folder: Path) -> dict[str, Any]:
    """Accuracies by heads kept, method and whether the network was trained on."""
    keras.utils.set_random_seed(config["seed"])
    loaded = ks.data.load("mnist", limit=config["images"], seed=config["seed"])
    data, test = ((rows_of(x), y) for x, y in (loaded.train, loaded.test))
    model = trained(encoder(), data, config, config["epochs"], 2e-3)
    found: dict[str, Any] = {"dense": model.evaluate(*test, verbose=0)[1]}
    for kept in KEPT:
        chosen = choices(model, data, kept, config)
        for method, several in chosen.items():
            scores = []
            for keep in several:
                small = ks.structured.shrink(model, keep)
                small.compile(loss=model.loss, metrics=["accuracy"])
                before = small.evaluate(*test, verbose=0)[1]
                trained(small, data, config, config["further"], 5e-4)
                scores.append((before, small.evaluate(*test, verbose=0)[1]))
            for when, values in zip(WHEN, zip(*scores, strict=True), strict=True):
                found[f"{method}, {when}, {kept}"] = bench.mean(values)
    return found


def describe(content: dict) -> bench.Document:
    runs, config = content["results"]["encoder"], content["config"]

    def accuracies(label: str, kept: int) -> list[float]:
        return [one[f"{label}, {kept}"] for one in runs]

    places = [(kept, when) for kept in KEPT for when in WHEN]
    rows = [
        (name, *(bench.percent(accuracies(f"{name}, {when}", kept)) for kept, when in places))
        for name in METHODS
    ]
    header = ("", *(f"{kept} heads, {when}" for kept, when in places))
    dense = bench.percent([one["dense"] for one in runs])
    first = {"claim": lambda claim: f"{claim.better} over {claim.worse}, {claim.at} heads"}
    points = {
        f"{method}, {kept} heads": accuracies(f"{method}, after", kept)
        for kept in KEPT
        for method in METHODS
    }
    colors = {label: f"C{i % len(METHODS)}" for i, label in enumerate(points)}
    title = "Heads of an encoder on MNIST"
    blocks = [
        ABOUT.format(**config),
        f"Dense: {dense}.",
        bench.Table("Heads", header, rows),
        bench.claims_table("Claims", first, CLAIMS, accuracies),
    ]
    picture = bench.points(points, "test accuracy after training on", colors, title)
    return bench.Document(title, blocks, picture, "test accuracy by method and heads kept")


if __name__ == "__main__":
    script = bench.Script(__doc__, seeds=3, images=int, epochs=int, samples=int, draws=int)
    config = script.chosen(SETTINGS)
    study = bench.Study({"encoder": bench.Variant(config)}, range(script.args.seeds), run)
    script.study(study, describe, config)
