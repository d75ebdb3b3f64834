"""LeNet-300-100 and LeNet-5 of Caffe."""

from collections.abc import Sequence

import keras
from keras import initializers, layers

from keras_sparse.models.parts import seeds
from keras_sparse.models.shapes import check_shape


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
    draw = seeds(seed)
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
    draw = seeds(seed)
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
