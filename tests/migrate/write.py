"""Writes `files.zip`: models that tfmot pruned, as the Keras that it needs saves them.

It runs without keras_sparse, where tensorflow-model-optimization and tf_keras are installed:
`TF_USE_LEGACY_KERAS=1 python tests/migrate/write.py`. Each model has a `.h5` file or the folder of
a SavedModel, and a `.npz` file with inputs and the outputs that tf_keras computed.
"""

import tempfile
import zipfile
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras

layers, sparsity = keras.layers, tfmot.sparsity.keras
FILES = Path(__file__).with_name("files.zip")
HALF = sparsity.ConstantSparsity(0.5, 0, frequency=1)
GRADUAL = sparsity.PolynomialDecay(0.0, 0.6, 0, 4, frequency=1)


def pruned(layer, schedule=HALF):
    return sparsity.prune_low_magnitude(layer, pruning_schedule=schedule)


def sequential():
    """All layers wrapped, those without weights as well."""
    plain = keras.Sequential(
        [
            layers.Conv2D(4, 3, activation="relu", input_shape=(8, 8, 3), name="conv"),
            layers.Flatten(name="flat"),
            layers.Dropout(0.5, name="drop"),
            layers.Dense(3, activation="softmax", name="head"),
        ],
        name="net",
    )
    return pruned(plain, GRADUAL)


def unbuilt():
    """Wrapped before they have weights, as in tfmot's own guide."""
    first = sparsity.prune_low_magnitude(
        layers.Dense(8, activation="relu", name="one"), pruning_schedule=HALF, input_shape=(6,)
    )
    return keras.Sequential([first, pruned(layers.Dense(3, name="two"))], name="net")


def nested():
    """A frozen model inside, called twice, and layers that have other settings in Keras 3."""
    inputs = keras.Input((8, 8, 3))
    x = pruned(layers.Conv2D(4, 3, use_bias=False, name="conv/one"))(inputs)
    x = layers.BatchNormalization(name="norm/one")(x)
    x = layers.LeakyReLU(0.1)(x)
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.SpatialDropout2D(0.1)(x)
    x = pruned(layers.SeparableConv2D(4, 3, name="separable"))(x)
    base = keras.Model(inputs, layers.Flatten()(x), name="base")
    base.trainable = False
    left, right = keras.Input((8, 8, 3), name="left"), keras.Input((8, 8, 3), name="right")
    x = layers.Concatenate()([base(left), base(right)])
    top = keras.Sequential(
        [keras.Input((128,)), pruned(layers.Dense(6, name="hidden"))], name="top"
    )
    x = layers.Subtract()([top(x), layers.Dense(6, name="skip")(x)])
    return keras.Model([left, right], pruned(layers.Dense(3, name="head"))(x), name="net")


def recurrent():
    """Several masks in a layer, which tfmot cannot save as HDF5."""
    return keras.Sequential(
        [
            pruned(layers.Embedding(10, 4, input_length=5, name="words")),
            pruned(layers.SimpleRNN(3, name="recurrent")),
            pruned(layers.Dense(2, name="head")),
        ],
        name="net",
    )


def attention():
    """Layers in layers, and inputs given by name."""
    inputs = keras.Input((5, 8))
    x = layers.MultiHeadAttention(2, 4, name="attention")(inputs, inputs)
    x = layers.Bidirectional(layers.GRU(4), name="both")(x)
    x = pruned(layers.Dense(3, name="head"))(x)
    return keras.Model(inputs, x, name="net")


def operations():
    """Operations of TensorFlow between layers, which are no layers in Keras 3."""
    image, row = keras.Input((8, 8, 3), name="image"), keras.Input((4,), name="row")
    x = tf.pad(image * [0.5, 1.0, 2.0], [[0, 0], [1, 0], [0, 1], [0, 0]])
    x = pruned(layers.Conv2D(4, 3, use_bias=False, name="conv"))(1.0 - x)
    x = tf.nn.relu6(x + 0.5) / 2.0
    pooled = tf.reduce_mean(x, [1, 2]) - tf.reduce_max(x, axis=[1, 2])
    left = tf.reshape(x[:, 1:3, ::2, -1], [-1, 8])
    inner = keras.Input((8,), name="inner")
    base = keras.Model(inner, tf.nn.leaky_relu(inner, 0.1) - tf.square(inner), name="base")
    x = tf.concat([base(left), pooled, tf.maximum(row, tf.nn.softmax(pooled))], axis=-1)
    x = tf.transpose(tf.expand_dims(x, 1), [0, 2, 1])
    x = tf.nn.gelu(tf.squeeze(x, 2)) * tf.sigmoid(-tf.abs(row[..., 0, tf.newaxis]))
    x = tf.clip_by_value(tf.cast(x, tf.float32), -1.0, 1.0) ** 3
    x = tf.reduce_sum(tf.stack([x, tf.tanh(x)], axis=1), axis=1, keepdims=False)
    return keras.Model([image, row], pruned(layers.Dense(3, name="head"))(x), name="net")


def unknown():
    """An operation that Keras 3 has only as a layer."""
    inputs = keras.Input((4, 4, 1))
    x = layers.Flatten()(tf.image.resize(inputs, [2, 2]))
    return keras.Model(inputs, pruned(layers.Dense(4, name="head"))(x), name="net")


def transposed():
    """A setting that the operation of Keras 3 does not have."""
    inputs = keras.Input((4, 6))
    x = layers.Flatten()(tf.matmul(inputs, inputs, transpose_b=True))
    return keras.Model(inputs, pruned(layers.Dense(4, name="head"))(x), name="net")


def computed():
    """A shape that is computed."""
    inputs = keras.Input((4, 6))
    x = tf.reshape(inputs, [tf.shape(inputs)[0], 24])
    return keras.Model(inputs, pruned(layers.Dense(4, name="head"))(x), name="net")


MODELS = {
    "sequential": (sequential, ("h5", "savedmodel", "stripped")),
    "unbuilt": (unbuilt, ("h5",)),
    "nested": (nested, ("h5",)),
    "recurrent": (recurrent, ("savedmodel",)),
    "attention": (attention, ("h5",)),
    "operations": (operations, ("h5", "savedmodel")),
    "unknown": (unknown, ("h5",)),
    "transposed": (transposed, ("h5",)),
    "computed": (computed, ("h5",)),
}


def trained(model, generator):
    """Inputs on which a model was trained until its masks are what they should be."""
    shapes = [(8, *tensor.shape[1:]) for tensor in model.inputs]
    words = isinstance(getattr(model.layers[0], "layer", None), layers.Embedding)
    x = [
        generator.integers(0, 10, shape) if words else generator.normal(size=shape).astype("f")
        for shape in shapes
    ]
    y = generator.normal(size=(8, model.output_shape[-1]))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    callbacks = [sparsity.UpdatePruningStep()]
    model.fit(x, y, batch_size=4, epochs=4, verbose=0, callbacks=callbacks)
    return x


def main():
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, (build, formats) in MODELS.items():
            keras.utils.set_random_seed(0)
            model = build()
            x = trained(model, generator)
            named = {f"x{i}": value for i, value in enumerate(x)}
            np.savez(folder / f"{name}.npz", y=model.predict(x, verbose=0), **named)
            if "h5" in formats:
                model.save(folder / f"{name}.h5", include_optimizer=False)
            if "savedmodel" in formats:
                model.save(folder / name, save_format="tf", include_optimizer=False)
            if "stripped" in formats:
                plain = sparsity.strip_pruning(model)
                plain.save(folder / f"{name}_stripped.h5", include_optimizer=False)
        with zipfile.ZipFile(FILES, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for path in sorted(folder.rglob("*")):
                archive.write(path, path.relative_to(folder))


if __name__ == "__main__":
    main()
