"""Networks that sparse runtimes speed up."""

from collections.abc import Sequence

import keras
from keras import initializers, layers

from keras_sparse.messages.arguments import number, wrong
from keras_sparse.models.parts import conv_bn, seeds
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
    draw = seeds(seed)
    inputs = keras.Input(tuple(input_shape))
    x = layers.ReLU(name="stem_relu")(conv_bn(inputs, _scaled(32, alpha), 3, 2, draw, "stem"))
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
        x = conv_bn(x, _scaled(filters, alpha), 1, 1, draw, f"block{i}_pointwise")
        x = layers.ReLU(name=f"block{i}_pointwise_relu")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = layers.Dense(
        num_classes, kernel_initializer=initializers.HeNormal(draw()), name="logits"
    )(x)
    return keras.Model(inputs, outputs, name="mobilenet")


def _scaled(filters: int, alpha: float) -> int:
    return max(8, int(filters * alpha + 4) // 8 * 8)
