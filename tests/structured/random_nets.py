"""Random networks of every kind of layer that joins, moves or divides channels."""

import keras
import numpy as np
from keras import layers, ops

SIDE = 4


def random_net(seed, blocks=8):
    """A model of random layers on images of random numbers of channels."""
    random = np.random.default_rng(seed)
    inputs = keras.Input((SIDE, SIDE, 4), name="image")
    tensors = [layers.Conv2D(8, 1, activation="sigmoid", name="first")(inputs)]
    for k in range(blocks):
        x = tensors[random.integers(len(tensors))]
        other = tensors[random.integers(len(tensors))]
        kind = BLOCKS[random.integers(len(BLOCKS))]
        tensors.append(kind(x, other, f"{kind.__name__}_{k}", random))
    used = [tensors[-1], *(t for t in tensors[:-1] if random.random() < 0.3)]
    x = layers.Concatenate(name="last")(used) if len(used) > 1 else used[0]
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(3, name="logits")(x), name=f"net{seed}")


def conv(x, other, name, random):
    filters = int(random.choice([4, 8, 12]))
    activation = random.choice(["linear", "relu", "sigmoid"])
    return layers.Conv2D(filters, 3, padding="same", activation=activation, name=name)(x)


def grouped(x, other, name, random):
    groups = int(random.choice([2, 4]))
    return layers.Conv2D(8, 1, groups=groups, name=name)(x)


def depthwise(x, other, name, random):
    return layers.DepthwiseConv2D(3, padding="same", name=name)(x)


def normalization(x, other, name, random):
    kind = random.choice(["Batch", "Layer", "Group"])
    options = {"groups": 2} if kind == "Group" else {}
    return getattr(layers, f"{kind}Normalization")(name=name, **options)(x)


def add(x, other, name, random):
    if x.shape[-1] != other.shape[-1]:
        other = layers.Conv2D(x.shape[-1], 1, name=f"{name}_fit")(other)
    return layers.Add(name=name)([x, other])


def concatenate(x, other, name, random):
    return layers.Concatenate(name=name)([x, other])


def gate(x, other, name, random):
    y = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_mean")(other)
    y = layers.Conv2D(4, 1, activation="relu", name=f"{name}_in")(y)
    y = layers.Conv2D(x.shape[-1], 1, activation="sigmoid", name=f"{name}_out")(y)
    return layers.Multiply(name=name)([x, y])


def split(x, other, name, random):
    first, second = ops.split(x, 2, axis=-1)
    return first * ops.sigmoid(second) if random.random() < 0.5 else second


def sliced(x, other, name, random):
    start = int(random.integers(0, x.shape[-1] // 2)) // 4 * 4
    return x[..., start : start + 4]


def shuffle(x, other, name, random):
    channels = x.shape[-1]
    groups = int(random.choice([2, 4])) if channels % 4 == 0 else 1
    x = ops.reshape(x, (-1, SIDE, SIDE, groups, channels // groups))
    return ops.reshape(ops.transpose(x, (0, 1, 2, 4, 3)), (-1, SIDE, SIDE, channels))


def space_to_depth_and_back(x, other, name, random):
    half, channels = SIDE // 2, x.shape[-1]
    x = ops.reshape(x, (-1, half, 2, half, 2, channels))
    x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, half, half, 4 * channels))
    x = layers.Conv2D(16, 1, activation="relu", name=name)(x)
    x = ops.transpose(ops.reshape(x, (-1, half, half, 2, 2, 4)), (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (-1, SIDE, SIDE, 4))


def attention(x, other, name, random):
    channels = x.shape[-1]
    rows = layers.Reshape((SIDE * SIDE, channels), name=f"{name}_rows")(x)
    rows = layers.MultiHeadAttention(2, 4, name=name)(rows, rows)
    return layers.Reshape((SIDE, SIDE, channels), name=f"{name}_image")(rows)


def inner(x, other, name, random):
    i = keras.Input(x.shape[1:])
    y = layers.Conv2D(8, 1, activation="relu", name="a")(i)
    y = layers.Conv2D(x.shape[-1], 1, name="b")(y)
    model = keras.Model(i, layers.Add(name="c")([i, y]), name=name)
    return model(x)


def over_places(x, other, name, random):
    channels = x.shape[-1]
    x = layers.Permute((3, 1, 2), name=f"{name}_there")(x)
    x = layers.Reshape((channels, SIDE * SIDE), name=f"{name}_flat")(x)
    x = layers.Dense(8, activation="relu", name=f"{name}_hidden")(x)
    x = layers.Dense(SIDE * SIDE, name=name)(x)
    x = layers.Reshape((channels, SIDE, SIDE), name=f"{name}_image")(x)
    return layers.Permute((2, 3, 1), name=f"{name}_back")(x)


BLOCKS = [
    conv,
    grouped,
    depthwise,
    normalization,
    add,
    concatenate,
    gate,
    split,
    sliced,
    shuffle,
    space_to_depth_and_back,
    attention,
    inner,
    over_places,
]
