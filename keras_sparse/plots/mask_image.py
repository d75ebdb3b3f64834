"""A picture of the inputs that masks leave connected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from keras_sparse.messages.arguments import instance, integer, optional, text
from keras_sparse.plots.drawing import PicturePath, new_figure, written

_GAP = 1  # pixels between images


def mask_image(
    masks: Mapping[Any, Mapping[Any, Any]],
    image_shape: Sequence[int],
    path: PicturePath = None,
    *,
    title: str | None = None,
) -> Figure:
    """Draws which inputs keep connections, as a grid of images such as classes by sparsities.

    A pixel is the fraction of its weights that the first layer's mask keeps, averaged over the
    channels; each image is scaled to its own maximum, which is black.

    ```python
    masks = {
        digit: {
            s: ks.connection_sensitivity_masks(model, (x[y == digit], y[y == digit]), s)
            for s in (0.5, 0.7, 0.9)
        }
        for digit in range(10)
    }
    mask_image(masks, (28, 28), "masks.png")
    ```

    Args:
        masks: Rows of the grid by their names, and in each the images by the names of their
            columns: masks of shape `(..., outputs)`, or mappings whose first mask is taken.
        image_shape: `(height, width)` or `(height, width, channels)` of an input; for a
            convolution, of its window.
        path: The picture to write, ending in `.png`. Defaults to none.
        title: The title. Defaults to none.

    Returns:
        The matplotlib `Figure`.

    Raises:
        ValueError: If there is no mask, rows differ in columns, or a mask does not have
            `image_shape`.
        OSError: If `path` cannot be written.

    Source: Lee (2020), Figure 3.2.
    """
    instance("masks", masks, Mapping, "a mapping of mappings of masks")
    for name, images in masks.items():
        instance(f"masks[{name!r}]", images, Mapping, "a mapping of masks")
    optional(text, "title", title)
    columns = list(next(iter(masks.values()), ()))
    if not columns:
        raise ValueError("masks holds no mask: nothing to draw.")
    if any(list(row) != columns for row in masks.values()):
        raise ValueError(
            "Each row of masks needs the same columns in the same order. Received: "
            f"{ {name: list(row) for name, row in masks.items()} }"
        )
    instance(
        "image_shape", image_shape, (tuple, list), "(height, width) or (height, width, channels)"
    )
    shape = tuple(integer("image_shape", size) for size in image_shape)
    tiles = [[_image(mask, shape) for mask in row.values()] for row in masks.values()]
    height, width = shape[0] + _GAP, shape[1] + _GAP
    canvas = np.full((height * len(tiles) - _GAP, width * len(columns) - _GAP), np.nan)
    for i, row in enumerate(tiles):
        for j, tile in enumerate(row):
            canvas[i * height :, j * width :][: shape[0], : shape[1]] = tile
    inches = 0.6
    figure, axes = new_figure(1.5 + inches * len(columns), 1.2 + inches * len(tiles))
    axes.imshow(canvas, cmap="Greys", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks(np.arange(len(columns)) * width + (shape[1] - 1) / 2, [str(c) for c in columns])
    axes.set_yticks(np.arange(len(tiles)) * height + (shape[0] - 1) / 2, [str(r) for r in masks])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if title:
        axes.set_title(title)
    return written(figure, path)


def _image(mask: Any, shape: tuple[int, ...]) -> np.ndarray:
    array = np.asarray(next(iter(mask.values())) if isinstance(mask, Mapping) else mask, float)
    if len(shape) not in (2, 3) or array.ndim < 2 or np.prod(array.shape[:-1]) != np.prod(shape):
        raise ValueError(
            "image_shape is (height, width) or (height, width, channels) of the inputs of a mask "
            f"of shape (..., outputs). Received: image_shape={shape} and a mask of shape "
            f"{array.shape}"
        )
    image = array.mean(-1).reshape(shape[0], shape[1], -1).mean(-1)
    return image / max(image.max(), np.finfo(float).tiny)
