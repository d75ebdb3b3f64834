"""How stored images are made smaller: fewer bits, fewer pixels, or JPEG files."""

from __future__ import annotations

import dataclasses
import io
import math
import os
from typing import Any

import numpy as np

from keras_sparse.messages.arguments import file_path, integer, number, optional, wrong
from keras_sparse.streaming.replay.bits import pack_bits, unpack_bits
from keras_sparse.streaming.replay.resizing import resize


@dataclasses.dataclass(frozen=True)
class ImageCompression:
    """Lossy compression of single uint8 images that needs no training.

    Pixels keep their upper bits, packed without a gap, and come back as `p // 2^(8-b) * 2^(8-b)`.
    The sides shrink by the root of the area, and both ways are bilinear. JPEG takes the place of
    both.

    ```python
    ImageCompression(bits=6, area=0.66).nbytes((32, 32, 3))  # 1521 instead of 3072
    ```

    Args:
        bits: Of each pixel, 1 to 8.
        area: The share of the pixels that is kept, in (0, 1].
        jpeg: The quality of JPEG, 1 to 100, instead of bits and area; `None` for no JPEG.
        directory: Where the JPEG files go: an empty folder, which is made if need be. The file of
            an example that is evicted is deleted.

    Raises:
        ValueError: If a value is out of range, or JPEG has no directory or comes with another
            compression.

    Source: Wolfe (2023), 5.3.2 and D.2.2.
    """

    bits: int = 8
    area: float = 1.0
    jpeg: int | None = None
    directory: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        integer("bits", self.bits, 1, 8)
        number("area", self.area, "(0, 1]")
        optional(integer, "jpeg", self.jpeg, 1, 100)
        optional(file_path, "directory", self.directory)
        if self.jpeg is not None and self.directory is None:
            raise wrong("directory", None, "a folder for the JPEG files")
        if self.jpeg is None and self.directory is not None:
            raise wrong("directory", self.directory, "None without JPEG", "Give jpeg=95.")
        if self.jpeg is not None and (self.bits, self.area) != (8, 1):
            raise wrong("jpeg", self.jpeg, "None where bits or area are given")

    def get_config(self) -> dict[str, Any]:
        """What must be the same for a stored image to be read; the folder need not."""
        return {"bits": self.bits, "area": self.area, "jpeg": self.jpeg}

    @property
    def lossless(self) -> bool:
        """Whether what comes back is what was stored, so that any array can be."""
        return self.get_config() == {"bits": 8, "area": 1, "jpeg": None}

    def sides(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of an image as it is stored."""
        if self.area == 1:
            return shape
        root = math.sqrt(self.area)
        return max(1, round(shape[0] * root)), max(1, round(shape[1] * root)), *shape[2:]

    def nbytes(self, shape: tuple[int, ...]) -> int:
        """The bytes of a stored image, where all of a shape have as many.

        Args:
            shape: Of the image, `(h, w, c)`.

        Raises:
            ValueError: With JPEG, where they have not.
        """
        if self.jpeg is not None:
            raise wrong("jpeg", self.jpeg, "None: the size of a JPEG file depends on the image")
        return math.ceil(math.prod(self.sides(shape)) * self.bits / 8)

    def compress(self, images: np.ndarray) -> np.ndarray:
        """Packs images.

        Args:
            images: Uint8, `(n, h, w, c)`.

        Returns:
            Uint8, `(n, bytes)`.
        """
        small = images
        if self.area < 1:
            small = resize(images, *self.sides(images.shape[1:])[:2])
        return pack_bits(small.reshape(len(images), -1), self.bits)

    def decompress(self, packed: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Unpacks images.

        Args:
            packed: Uint8, `(n, bytes)`.
            shape: Of an image before it was compressed.

        Returns:
            Uint8, `(n, h, w, c)`.
        """
        small = self.sides(shape)
        images = unpack_bits(packed, self.bits, math.prod(small)).reshape(len(packed), *small)
        return resize(images, *shape[:2]) if self.area < 1 else images

    def encode(self, image: np.ndarray) -> bytes:
        """The contents of a JPEG file of a uint8 image, `(h, w, 1)` or `(h, w, 3)`."""
        from PIL import Image

        file = io.BytesIO()
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(
            file, "JPEG", quality=self.jpeg
        )
        return file.getvalue()

    def decode(self, contents: bytes, shape: tuple[int, ...]) -> np.ndarray:
        """The uint8 image of a JPEG file."""
        from PIL import Image

        with Image.open(io.BytesIO(contents)) as image:
            return np.asarray(image).reshape(shape)
