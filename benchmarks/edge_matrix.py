"""Forty kinds of models to LiteRT: what each becomes, or the reason why it is refused.

    python benchmarks/edge_matrix.py

Random weights, 80 % zeros in each layer that `ks.prune` prunes; each is exported sparse and
verified under XNNPACK and LiteRT's built-in kernels, and by `CompiledModel` where that runs it. A
refusal is one of the errors that `to_litert` documents; anything else is a crash.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
from keras import layers
from networks import application

import keras_sparse as ks
from keras_sparse.experiments.benchmark import Document, Script, Study, Table, Variant, notes

HERE = Path(__file__).parent
# Those that take small images at the side given.
APPLICATIONS = {
    **dict.fromkeys(("DenseNet121", "DenseNet169", "EfficientNetB0", "EfficientNetB1"), 64),
    **dict.fromkeys(("EfficientNetV2B0", "EfficientNetV2B1", "EfficientNetV2S"), 64),
    **dict.fromkeys(("MobileNet", "MobileNetV2", "MobileNetV3Small", "MobileNetV3Large"), 64),
    **dict.fromkeys(("ResNet50", "ResNet101", "ResNet50V2", "ResNet101V2"), 64),
    **dict.fromkeys(("ConvNeXtTiny", "VGG16", "NASNetMobile"), 64),
    **dict.fromkeys(("InceptionV3", "InceptionResNetV2", "Xception"), 96),
}


def sequence(*body: layers.Layer) -> keras.Model:
    """A model of sequences of 12 vectors of 16 numbers."""
    return keras.Sequential([keras.Input((12, 16)), *body, layers.Dense(10)])


def images(*body: layers.Layer) -> keras.Model:
    """A model of 16x16 images."""
    return keras.Sequential([keras.Input((16, 16, 3)), *body])


def transformer(attention: layers.Layer) -> keras.Model:
    """A block of attention and two Dense layers."""
    inputs = keras.Input((12, 32))
    x = layers.LayerNormalization()(inputs + attention(inputs, inputs))
    y = layers.Dense(32)(layers.Dense(64, activation="gelu")(x))
    return keras.Model(inputs, layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x + y)))


def text() -> keras.Model:
    """Tokens of a vocabulary of 500 to one of 10 classes."""
    body = [layers.Embedding(500, 32), layers.GlobalAveragePooling1D(), layers.Dense(10)]
    return keras.Sequential([keras.Input((12,), dtype="int32"), *body])


def graph() -> keras.Model:
    """Two graph convolutions: features of 20 nodes, and their adjacency matrix."""
    features, adjacency = keras.Input((20, 16)), keras.Input((20, 20))
    hidden = keras.ops.relu(keras.ops.matmul(adjacency, layers.Dense(64)(features)))
    return keras.Model([features, adjacency], keras.ops.matmul(adjacency, layers.Dense(7)(hidden)))


def unet() -> keras.Model:
    """Down, up and across."""
    inputs = keras.Input((16, 16, 3))
    down = layers.Conv2D(16, 3, padding="same", activation="relu")(inputs)
    low = layers.Conv2D(32, 3, strides=2, padding="same", activation="relu")(down)
    up = layers.Conv2DTranspose(16, 3, strides=2, padding="same", activation="relu")(low)
    return keras.Model(inputs, layers.Conv2D(2, 1)(layers.Concatenate()([down, up])))


def two_ways() -> keras.Model:
    """Two inputs, two outputs."""
    one, other = keras.Input((8,), name="one"), keras.Input((6,), name="other")
    both = layers.Concatenate()([layers.Dense(32)(one), layers.Dense(32)(other)])
    return keras.Model([one, other], {"sum": layers.Dense(1)(both), "class": layers.Dense(5)(both)})


SMALL: dict[str, Callable[[], keras.Model]] = {
    "LeNet-300-100": ks.models.lenet_300_100,
    "ResNet-20": ks.models.resnet20,
    "mobilenet": lambda: ks.models.mobilenet(0.25, (96, 96, 3)),
    "LSTM": lambda: sequence(layers.LSTM(32)),
    "LSTM, unrolled": lambda: sequence(layers.LSTM(32, unroll=True)),
    "GRU": lambda: sequence(layers.GRU(32)),
    "SimpleRNN": lambda: sequence(layers.SimpleRNN(32)),
    "Bidirectional LSTM": lambda: sequence(layers.Bidirectional(layers.LSTM(32))),
    "LSTM that keeps its state": lambda: keras.Sequential(
        [keras.Input((12, 16), batch_size=1), layers.LSTM(32, stateful=True), layers.Dense(10)]
    ),
    "Conv1D": lambda: sequence(layers.Conv1D(32, 3), layers.GlobalAveragePooling1D()),
    "Conv3D": lambda: keras.Sequential([keras.Input((8, 8, 8, 1)), layers.Conv3D(16, 3)]),
    "ConvLSTM2D": lambda: keras.Sequential([keras.Input((4, 8, 8, 3)), layers.ConvLSTM2D(8, 3)]),
    "SeparableConv2D": lambda: images(layers.SeparableConv2D(32, 3), layers.ReLU()),
    "grouped Conv2D": lambda: images(layers.Conv2D(32, 1), layers.Conv2D(32, 3, groups=4)),
    "EinsumDense": lambda: sequence(layers.EinsumDense("btd,dhe->bthe", (12, 4, 8))),
    "attention": lambda: transformer(layers.MultiHeadAttention(4, 8)),
    "grouped-query attention": lambda: transformer(layers.GroupQueryAttention(8, 4, 2)),
    "embedding": text,
    "graph convolutions": graph,
    "U-Net": unet,
    "two inputs, two outputs": two_ways,
    "Dropout with its own noise": lambda: images(layers.GaussianNoise(1.0), layers.Conv2D(16, 3)),
}


def run(config: dict, folder: Path) -> dict[str, Any]:
    """Prunes and exports a model."""
    keras.utils.set_random_seed(0)
    name, x = config["model"], None
    if name in APPLICATIONS:
        model, x = application(name, 0, APPLICATIONS[name])
    else:
        model = SMALL[name]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ks.SparsityWarning)
        ks.prune(model, config["sparsity"], allocation="uniform")
        try:
            report = ks.deploy.to_litert(model, folder / "model.tflite", inputs=x)
        except (
            ValueError,
            ks.deploy.LiteRTConversionError,
            ks.deploy.LiteRTVerificationError,
        ) as error:
            return {"refused": f"{type(error).__name__}: {error}"}
    stored = sum(row.encoding != "dense" for row in report.tensors)
    return {
        "dense_bytes": report.dense_bytes,
        "bytes": report.bytes,
        "errors": report.max_error,
        "not_run": sorted(report.not_run),
        "stored_sparse": stored,
        "informative": report.informative,
    }


def describe(content: dict) -> Document:
    rows, refused = [], []
    for name, found in content["models"].items():
        if "refused" in found:
            rows.append((name, "refused", "", "", "", ""))
            refused.append(f"{name}: {found['refused']}")
            continue
        sizes = [f"{found[key] / 1e6:.2f}" for key in ("dense_bytes", "bytes")]
        worst = max(found["errors"].values())
        error = f"{worst:.0e}" if found["informative"] else "constant outputs"
        compiled = "no" if found["not_run"] else "yes"
        rows.append((name, *sizes, str(found["stored_sparse"]), error, compiled))
    header = ("model", "MB dense", "MB sparse", "weights stored sparse", "error", "CompiledModel")
    title = "Models to LiteRT at 80 % zeros"
    taken = len(rows) - len(refused)
    text = f"{len(rows)} models: {taken} are converted and verified, {len(refused)} refused:"
    return Document(title, [Table(title, header, rows), text, notes(refused)])


if __name__ == "__main__":
    script = Script(__doc__, models={**SMALL, **APPLICATIONS})
    args = script.args
    variants = {name: Variant({"model": name, "sparsity": 0.8}) for name in args.models}

    def kept(found: dict) -> dict:
        return {"models": {name: runs[0] for name, runs in found.items()}}

    script.study(Study(variants, [0], run), describe, content=kept)
