"""How the examples of a step are varied before the model sees them."""

from __future__ import annotations

import dataclasses

import numpy as np

from keras_sparse.messages.arguments import boolean, integer, number, one_of, optional, wrong
from keras_sparse.streaming.augmentation.mixing import mix
from keras_sparse.streaming.augmentation.policies import POLICIES, auto_augment, rand_augment


@dataclasses.dataclass(frozen=True)
class StreamingAugment:
    """Crop and flip, a policy, and Mixup or CutMix.

    Images are uint8 until they are mixed. Each turn an image is varied afresh.

    ```python
    augment = StreamingAugment(policy=None)
    images = np.zeros((11, 32, 32, 3), "uint8")
    x, y = augment(images, np.eye(10)[[0] * 11], np.random.default_rng(0))
    ```

    Args:
        crop: Pixels of zeros on each side, of which a crop of the image's size is taken; 0 for no
            crop.
        flip: Whether half of the images are mirrored.
        policy: `"cifar10"` or `"imagenet"`, one of AutoAugment's; `None` for none.
        rand_augment: Number of operations and magnitude (0 to 30) of RandAugment, instead of a
            policy.
        mixup_alpha: Of the Beta distribution of Mixup's share; `None` for no Mixup.
        cutmix_alpha: The same for CutMix.

    Raises:
        ValueError: If a value is out of range, or there are a policy and RandAugment.

    Source: Wolfe (2023), 5.3.2 and D.2.1.
    """

    crop: int = 4
    flip: bool = True
    policy: str | None = "cifar10"
    rand_augment: tuple[int, float] | None = None
    mixup_alpha: float | None = 0.1
    cutmix_alpha: float | None = 0.8

    def __post_init__(self) -> None:
        integer("crop", self.crop, 0)
        boolean("flip", self.flip)
        optional(one_of, "policy", self.policy, tuple(POLICIES))
        optional(number, "mixup_alpha", self.mixup_alpha, "(0, inf)")
        optional(number, "cutmix_alpha", self.cutmix_alpha, "(0, inf)")
        if self.rand_augment is not None:
            given = self.rand_augment
            if not isinstance(given, (tuple, list)) or len(given) != 2:
                raise wrong("rand_augment", given, "two numbers: operations and magnitude")
            integer("rand_augment", given[0])
            number("rand_augment", given[1], "[0, 30]")
            if self.policy is not None:
                raise wrong("rand_augment", given, "None beside a policy", "Give policy=None.")

    def __call__(
        self, x: np.ndarray, y: np.ndarray, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Varies a batch.

        Args:
            x: Uint8 images, `(n, h, w, c)`.
            y: One-hot labels, `(n, classes)`.
            random: Random numbers.

        Returns:
            Float32 images in the same units, and labels that sum to 1.

        Raises:
            ValueError: If `x` is no uint8 images.
        """
        if x.dtype != np.uint8 or x.ndim != 4:
            raise wrong("x", f"{x.dtype}{list(x.shape)}", "uint8 images (n, h, w, c)")
        varied = np.stack([self._image(image, random) for image in x])
        return mix(
            varied.astype(np.float32),
            y.astype(np.float32),
            self.mixup_alpha,
            self.cutmix_alpha,
            random,
        )

    def _image(self, image: np.ndarray, random: np.random.Generator) -> np.ndarray:
        height, width = image.shape[:2]
        if self.crop:
            top, left = random.integers(2 * self.crop + 1, size=2).tolist()
            padded = np.zeros(
                (height + 2 * self.crop, width + 2 * self.crop, image.shape[2]), np.uint8
            )
            padded[self.crop : -self.crop, self.crop : -self.crop] = image
            image = padded[top : top + height, left : left + width]
        if self.flip and random.random() < 0.5:
            image = image[:, ::-1]
        if self.policy is not None:
            return auto_augment(image, self.policy, random)
        if self.rand_augment is not None:
            return rand_augment(image, *self.rand_augment, random)
        return image
