"""Residual networks for small images."""

from collections.abc import Sequence

import keras
from keras import initializers, layers

from keras_sparse.messages.arguments import integer
from keras_sparse.models.parts import conv_bn, seeds
from keras_sparse.models.shapes import check_shape


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
    draw = seeds(seed)
    inputs = keras.Input(tuple(input_shape))
    x = layers.ReLU(name="stem_relu")(conv_bn(inputs, width, 3, 1, draw, "stem"))
    for stage in (1, 2, 3):
        for block in (1, 2, 3):
            filters, name = width * 2 ** (stage - 1), f"stage{stage}_block{block}"
            stride = 2 if stage > 1 and block == 1 else 1
            y = layers.ReLU(name=f"{name}_relu1")(
                conv_bn(x, filters, 3, stride, draw, f"{name}_conv1")
            )
            y = conv_bn(y, filters, 3, 1, draw, f"{name}_conv2")
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
