"""Reference networks as plain functional `keras.Model`s.

Every builder returns stock Keras layers only, so a saved model loads without this package. The last
layer gives logits: compile with a loss that has `from_logits=True`. Images are channels-last. With
a `seed` each layer draws from its own generator and two models of one seed start equal; without
one Keras's global seed (`keras.utils.set_random_seed`) has its say.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import initializers, layers

from keras_sparse.messages.arguments import integer, number, one_of, random_seed, wrong
from keras_sparse.messages.keywords import keywords_of, unknown_keyword
from keras_sparse.models.shapes import are_blocks, check_shape

# (filters before alpha, stride of the depthwise convolution); the stem before them has stride 2.
IMAGENET_BLOCKS = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1),) * 5,
    *((1024, 2), (1024, 1)),
)
# The same widths, with two strides left of four: 32x32 images end as 4x4 instead of 1x1.
CIFAR_BLOCKS = (
    *((64, 1), (128, 1), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1),) * 5,
    *((1024, 1), (1024, 1)),
)


def lenet_300_100(
    input_shape: Sequence[int] = (28, 28, 1), num_classes: int = 10, seed: int | None = None
) -> keras.Model:
    """Builds LeNet-300-100: two hidden Dense layers of 300 and 100 units with ReLU.

    266,610 parameters at 28x28x1 (LeCun et al. 1998; the table of Lee et al., SNIP, section 3.5).

    ```python
    from keras_sparse import models

    model = models.lenet_300_100(seed=0)
    print(model.count_params())  # 266610
    ```

    Args:
        input_shape: Shape of one example, of any rank: images `(h, w, c)` or vectors `(features,)`.
        num_classes: Number of logits.
        seed: Makes the initial weights reproducible (Glorot uniform).

    Returns:
        The uncompiled model, `(batch, *input_shape)` to `(batch, num_classes)`.

    Raises:
        ValueError: If a shape or a number is not positive.
    """
    check_shape("lenet_300_100", input_shape, num_classes, rank=None)
    draw = _seeds(seed)
    inputs = keras.Input(tuple(input_shape))
    x = layers.Flatten(name="flatten")(inputs)
    x = layers.Dense(
        300, activation="relu", kernel_initializer=initializers.GlorotUniform(draw()), name="dense1"
    )(x)
    x = layers.Dense(
        100, activation="relu", kernel_initializer=initializers.GlorotUniform(draw()), name="dense2"
    )(x)
    outputs = layers.Dense(
        num_classes, kernel_initializer=initializers.GlorotUniform(draw()), name="logits"
    )(x)
    return keras.Model(inputs, outputs, name="lenet_300_100")


def lenet5_caffe(
    input_shape: Sequence[int] = (28, 28, 1), num_classes: int = 10, seed: int | None = None
) -> keras.Model:
    """Builds LeNet-5-Caffe: two 5x5 convolutions (20, 50) with max-pooling, then Dense 500.

    431,080 parameters at 28x28x1. As in Caffe's network the only ReLU follows the Dense layer
    (SNIP, section 3.5). Images of less than 16 pixels on a side, such as the 8x8 digits, would
    vanish between the unpadded convolutions, so for them both are padded to keep the size.

    Args:
        input_shape: `(height, width, channels)`, at least 4x4 pixels.
        num_classes: Number of logits.
        seed: Makes the initial weights reproducible (Glorot uniform).

    Returns:
        The uncompiled model, `(batch, *input_shape)` to `(batch, num_classes)`.

    Raises:
        ValueError: If the images are too small or a number is not positive.
    """
    check_shape("lenet5_caffe", input_shape, num_classes, smallest=4)
    draw = _seeds(seed)
    padding = "same" if min(input_shape[:2]) < 16 else "valid"
    inputs = x = keras.Input(tuple(input_shape))
    for i, filters in enumerate((20, 50), start=1):
        x = layers.Conv2D(
            filters,
            5,
            padding=padding,
            kernel_initializer=initializers.GlorotUniform(draw()),
            name=f"conv{i}",
        )(x)
        x = layers.MaxPooling2D(2, name=f"pool{i}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(
        500, activation="relu", kernel_initializer=initializers.GlorotUniform(draw()), name="dense1"
    )(x)
    outputs = layers.Dense(
        num_classes, kernel_initializer=initializers.GlorotUniform(draw()), name="logits"
    )(x)
    return keras.Model(inputs, outputs, name="lenet5_caffe")


def resnet20(
    width: int = 16,
    input_shape: Sequence[int] = (32, 32, 3),
    num_classes: int = 10,
    seed: int | None = None,
) -> keras.Model:
    """Builds the CIFAR ResNet-20 of He et al. (2016, section 4.2): 3 stages of 3 residual blocks.

    Filters are `width`, `2 * width` and `4 * width`; convolutions have no bias and are followed by
    batch normalization. Shortcuts are the paper's option A, without parameters: where the size
    halves, every other pixel is taken and the new channels are zeros. Strided convolutions pad one
    pixel on all sides (Keras's own "same" would look one pixel beside the shortcut). Width 16 has
    269,722 trainable parameters.

    Args:
        width: Filters of the first stage.
        input_shape: `(height, width, channels)`, at least 4x4 pixels.
        num_classes: Number of logits.
        seed: Makes the initial weights reproducible (He normal).

    Returns:
        The uncompiled model, `(batch, *input_shape)` to `(batch, num_classes)`.

    Raises:
        ValueError: If the images are too small or a number is not positive.
    """
    check_shape("resnet20", input_shape, num_classes, smallest=4)
    integer("width", width)
    draw = _seeds(seed)
    inputs = keras.Input(tuple(input_shape))
    x = layers.ReLU(name="stem_relu")(_conv_bn(inputs, width, 3, 1, draw, "stem"))
    for stage in (1, 2, 3):
        for block in (1, 2, 3):
            filters, name = width * 2 ** (stage - 1), f"stage{stage}_block{block}"
            stride = 2 if stage > 1 and block == 1 else 1
            y = layers.ReLU(name=f"{name}_relu1")(
                _conv_bn(x, filters, 3, stride, draw, f"{name}_conv1")
            )
            y = _conv_bn(y, filters, 3, 1, draw, f"{name}_conv2")
            if stride == 2:
                x = layers.AveragePooling2D(1, strides=2, name=f"{name}_shortcut_pixels")(x)
                zeros = layers.Rescaling(0.0, name=f"{name}_shortcut_zeros")(x)
                x = layers.Concatenate(name=f"{name}_shortcut")([x, zeros])
            x = layers.ReLU(name=f"{name}_relu2")(layers.Add(name=f"{name}_add")([x, y]))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = layers.Dense(
        num_classes, kernel_initializer=initializers.HeNormal(draw()), name="logits"
    )(x)
    return keras.Model(inputs, outputs, name="resnet20")


def mobilenet(
    alpha: float = 1.0,
    input_shape: Sequence[int] = (224, 224, 3),
    num_classes: int = 10,
    blocks: Sequence[tuple[int, int]] | None = None,
    seed: int | None = None,
) -> keras.Model:
    """Builds a MobileNetV1 that XNNPACK can run sparse, by construction.

    XNNPACK runs 1x1 convolutions sparse only in a cluster that begins with a 3x3 stride-2
    convolution of 3 channels, padded by 1 on *all* sides, and ends in a global average; Keras's
    `padding="same"` pads (0, 1) at stride 2 and loses that. Here each 3x3 convolution is a
    `ZeroPadding2D(1)` before `padding="valid"`, which the runtime folds into one; batch
    normalization folds into the convolutions when the model is converted. Prune the layers named
    `block*_pointwise`, to more than 2/3 zeros over all of them.

    Args:
        alpha: Multiplies the number of filters, which are then rounded to multiples of 8.
        input_shape: `(height, width, 3)`.
        num_classes: Number of logits.
        blocks: `(filters, stride)` of each block, the filters before `alpha` and a stride of 1
            or 2. `None` takes `IMAGENET_BLOCKS` (4 strides after that of the stem) for images of
            at least 96 pixels on both sides and `CIFAR_BLOCKS` (2 strides) for smaller ones.
        seed: Makes the initial weights reproducible (He normal).

    Returns:
        The uncompiled model, `(batch, *input_shape)` to `(batch, num_classes)`.

    Raises:
        ValueError: If the images do not have 3 channels, a stride is neither 1 nor 2, or a number
            is not positive.
    """
    check_shape("mobilenet", input_shape, num_classes)
    if input_shape[2] != 3:
        raise wrong(
            "input_shape",
            tuple(input_shape),
            "(height, width, 3), as XNNPACK's sparse kernels need it",
            "Repeat a gray channel three times.",
        )
    number("alpha", alpha, "(0, inf)")
    if blocks is None:
        blocks = IMAGENET_BLOCKS if min(input_shape[:2]) >= 96 else CIFAR_BLOCKS
    if not are_blocks(blocks):
        allowed = "pairs (filters, stride) of at least 1 filter and a stride of 1 or 2"
        raise wrong("blocks", blocks, allowed)
    draw = _seeds(seed)
    inputs = keras.Input(tuple(input_shape))
    x = layers.ReLU(name="stem_relu")(_conv_bn(inputs, _scaled(32, alpha), 3, 2, draw, "stem"))
    for i, (filters, stride) in enumerate(blocks, start=1):
        x = layers.ZeroPadding2D(1, name=f"block{i}_pad")(x)
        # He normal by hand: Keras counts all channels in the fan-in of a depthwise kernel.
        x = layers.DepthwiseConv2D(
            3,
            stride,
            use_bias=False,
            depthwise_initializer=initializers.RandomNormal(stddev=(2 / 9) ** 0.5, seed=draw()),
            name=f"block{i}_depthwise",
        )(x)
        x = layers.BatchNormalization(name=f"block{i}_depthwise_bn")(x)
        x = layers.ReLU(name=f"block{i}_depthwise_relu")(x)
        x = _conv_bn(x, _scaled(filters, alpha), 1, 1, draw, f"block{i}_pointwise")
        x = layers.ReLU(name=f"block{i}_pointwise_relu")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = layers.Dense(
        num_classes, kernel_initializer=initializers.HeNormal(draw()), name="logits"
    )(x)
    return keras.Model(inputs, outputs, name="mobilenet")


_BUILDERS: dict[str, Callable[..., keras.Model]] = {
    "lenet300": lenet_300_100,
    "lenet5": lenet5_caffe,
    "resnet20": resnet20,
    "mobilenet": mobilenet,
}


def names() -> tuple[str, ...]:
    """Lists the short names that `get` knows.

    Returns:
        The names, `"lenet300"`, `"lenet5"`, `"resnet20"` and `"mobilenet"`.
    """
    return tuple(_BUILDERS)


def get(name: str, **kwargs: Any) -> keras.Model:
    """Builds the model of a short name, as the command line gives it.

    ```python
    from keras_sparse import models

    model = models.get("resnet20", width=8, seed=0)
    ```

    Args:
        name: One of `names()`.
        **kwargs: Arguments of the builder, such as `input_shape`, `num_classes` and `seed`.

    Returns:
        The uncompiled model.

    Raises:
        ValueError: If there is no model of that name, or its builder refuses an argument's value.
        TypeError: If its builder has no such argument.
    """
    builder = _BUILDERS[one_of("name", name, _BUILDERS)]
    known = keywords_of(builder)
    for given in kwargs:
        if given not in known:
            raise unknown_keyword(builder.__name__, given, known)
    return builder(**kwargs)


def _seeds(seed: int | None) -> Callable[[], int | None]:
    # One seed for all layers would give layers of one shape the same weights.
    if random_seed("seed", seed) is None:
        return lambda: None
    generator = random.Random(seed)
    return lambda: generator.randrange(2**31)


def _conv_bn(
    x: Any, filters: int, kernel: int, stride: int, draw: Callable[[], int | None], name: str
) -> Any:
    if stride == 2:
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    x = layers.Conv2D(
        filters,
        kernel,
        stride,
        padding="same" if stride == 1 else "valid",
        use_bias=False,
        kernel_initializer=initializers.HeNormal(draw()),
        name=name,
    )(x)
    return layers.BatchNormalization(name=f"{name}_bn")(x)


def _scaled(filters: int, alpha: float) -> int:
    return max(8, int(filters * alpha + 4) // 8 * 8)
