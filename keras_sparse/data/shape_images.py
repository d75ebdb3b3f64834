"""Images of simple shapes with the class of every pixel, for segmentation without a download."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from keras_sparse.messages.arguments import integer, number, one_of, strings, wrong

_Shape = Callable[[np.ndarray, np.ndarray], np.ndarray]
# Which points are inside, of coordinates that are 0 in the middle and 1 at the rim.
_INSIDE: dict[str, _Shape] = {
    "circle": lambda x, y: x**2 + y**2 < 1,
    "square": lambda x, y: np.maximum(abs(x), abs(y)) < 0.85,
    "triangle": lambda x, y: (y < 0.8) & (y > 2 * abs(x) - 0.9),
    "cross": lambda x, y: (np.minimum(abs(x), abs(y)) < 0.3) & (np.maximum(abs(x), abs(y)) < 1),
}
SHAPES = tuple(_INSIDE)
_LARGEST, _SMALLEST = 0.24, 0.12  # Of the image's side.


def shape_images(
    shapes: Sequence[str],
    samples: int,
    *,
    size: int = 64,
    most: int = 3,
    noise: float = 0.2,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Draws images of one to three shapes on noise, and which pixel belongs to which.

    ```python
    x, y = shape_images(["circle", "square"], 200)
    print(x.shape, y.shape, y.max())  # (200, 64, 64, 1) (200, 64, 64) 2
    ```

    Args:
        shapes: Any of `SHAPES`, which are the classes 1, 2, ...; 0 is the background.
        samples: How many images.
        size: Height and width.
        most: Shapes in an image, at most; a later one covers an earlier one.
        noise: Standard deviation of what is added to each pixel.
        seed: Of all that is random.

    Returns:
        Float32 images `(samples, size, size, 1)` and int32 classes `(samples, size, size)`.

    Raises:
        ValueError: If a shape is unknown or a number out of range.
    """
    strings("shapes", shapes)
    if not shapes:
        raise wrong("shapes", shapes, f"one at least of {list(SHAPES)}")
    for shape in shapes:
        one_of("shapes", shape, SHAPES)
    integer("samples", samples)
    integer("size", size, 8)
    integer("most", most)
    number("noise", noise, "[0, inf)")
    generator = np.random.default_rng(integer("seed", seed, 0))
    rows, columns = np.mgrid[:size, :size]
    x = generator.normal(0, noise, (samples, size, size, 1))
    y = np.zeros((samples, size, size), "int32")
    for image, classes in zip(x, y, strict=True):
        for _ in range(generator.integers(1, most + 1)):
            kind = int(generator.integers(len(shapes)))
            radius = size * generator.uniform(_SMALLEST, _LARGEST)
            row, column = generator.uniform(radius, size - radius, 2)
            inside = _INSIDE[shapes[kind]]((columns - column) / radius, (rows - row) / radius)
            image[inside, 0] += generator.uniform(0.6, 1.2) - image[inside, 0] * 0.5
            classes[inside] = kind + 1
    return x.astype("float32"), y
