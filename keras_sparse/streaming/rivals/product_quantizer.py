"""Product quantization: a vector as a few small numbers."""

from __future__ import annotations

import warnings

import numpy as np

from keras_sparse.messages.arguments import integer, wrong


class ProductQuantizer:
    """Splits the channels into parts, each of which is one of a codebook's vectors.

    ```python
    vectors = np.random.default_rng(0).normal(size=(100, 8)).astype("float32")
    quantizer = ProductQuantizer(codebooks=4, size=16)
    quantizer.fit(vectors)
    quantizer.decode(quantizer.encode(vectors)).shape  # (100, 8)
    ```

    Args:
        codebooks: Parts of the channels.
        size: Vectors in each codebook, at most 256, so that a code is a byte.
        seed: Of k-means.

    Raises:
        ValueError: If an argument is out of range.

    Source: Jegou et al. (2011), as REMIND uses it; Wolfe (2023), Table 10.
    """

    def __init__(self, codebooks: int = 32, size: int = 256, seed: int = 0) -> None:
        self.codebooks = integer("codebooks", codebooks)
        self.size, self.seed = integer("size", size, 1, 256), integer("seed", seed, 0)
        self.centers = np.empty((0, 0, 0), np.float32)

    def fit(self, vectors: np.ndarray) -> None:
        """Makes the codebooks by k-means.

        Args:
            vectors: `(..., channels)`.

        Raises:
            ValueError: If the channels cannot be split so.
        """
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning

        parts = self._parts(vectors).reshape(
            -1, self.codebooks, vectors.shape[-1] // self.codebooks
        )
        size, found = min(self.size, len(parts)), []
        with warnings.catch_warnings():
            # Fewer different vectors than centers: some centers are the same then.
            warnings.simplefilter("ignore", ConvergenceWarning)
            for i in range(self.codebooks):
                means = KMeans(size, n_init=1, max_iter=50, random_state=self.seed)
                found.append(means.fit(parts[:, i]).cluster_centers_)
        self.centers = np.stack(found).astype(np.float32)

    def _parts(self, vectors: np.ndarray) -> np.ndarray:
        channels = vectors.shape[-1]
        if channels % self.codebooks:
            raise wrong("codebooks", self.codebooks, f"a divisor of the {channels} channels")
        return vectors.reshape(*vectors.shape[:-1], self.codebooks, channels // self.codebooks)

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """The nearest of each codebook: uint8 `(..., codebooks)` of `(..., channels)`."""
        parts = self._parts(vectors)
        norms = (self.centers**2).sum(-1)
        products = np.einsum("...kd,ksd->...ks", parts, self.centers)
        return np.argmin(norms - 2 * products, axis=-1).astype(np.uint8)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """The vectors of codes: float32 `(..., channels)`."""
        found = self.centers[np.arange(self.codebooks), codes]
        return found.reshape(*codes.shape[:-1], -1)
