"""Features cut into blocks, weights cut along with them and put together again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_sparse.messages.arguments import integer, wrong

# For each axis of a weight the indices that a sub-network has, `None` for the whole axis.
Places = Sequence[np.ndarray | None]


def partition_features(
    width: int, num_blocks: int, seed: int = 0, round: int = 0, layer: int = 0
) -> list[np.ndarray]:
    """Cuts features at random into disjoint blocks, anew for each round and layer.

    The sizes are those of an even cut, the first blocks having one more, and stay the same over
    rounds. Every worker can draw the same blocks, so that none has to be sent.

    ```python
    ks.graphs.partition_features(4, 2)  # two blocks, each with two of the indices 0 to 3
    ```

    Args:
        width: Number of features.
        num_blocks: Number of blocks, at most `width`.
        seed: Seed of the training.
        round: Number of the round.
        layer: Number of the features' layer.

    Returns:
        Sorted int64 indices of each block.

    Raises:
        ValueError: If there are more blocks than features, or a number is negative.

    Source: Wolfe (2023), Algorithm 1 and section 2.2.1.
    """
    integer("width", width)
    integer("num_blocks", num_blocks, 1, width, cure=f"There are {width} features to share out")
    key = [integer(n, v, 0) for n, v in (("seed", seed), ("round", round), ("layer", layer))]
    order = np.random.default_rng(key).permutation(width)
    return [np.sort(block) for block in np.array_split(order, num_blocks)]


def cut_weight(weight: np.ndarray, places: Places) -> np.ndarray:
    """The part of a weight that a sub-network has, as a copy.

    Args:
        weight: The weight of the whole network.
        places: For each axis the sub-network's indices, `None` for all.

    Source: Wolfe (2023), section 2.2.1.
    """
    return weight[grid(weight, places)]


def merge_weight(
    weight: np.ndarray, parts: Sequence[np.ndarray], places: Sequence[Places]
) -> np.ndarray:
    """A weight with the trained parts of all sub-networks in it.

    Parts of disjoint blocks are copied, and what no sub-network had stays as it was, bit for bit.
    Of a weight that no block cuts, which each of them trained whole, the mean is taken.

    Args:
        weight: The weight before.
        parts: What each sub-network made of its part.
        places: As each part was cut.

    Raises:
        ValueError: If the number of parts is another than that of places.

    Source: Wolfe (2023), Algorithm 1 and section 2.2.3.
    """
    if len(parts) != len(places) or not len(parts):
        raise wrong("parts", len(parts), f"as many as places, of which there are {len(places)}")
    if all(each is None for place in places for each in place):
        return np.mean(parts, axis=0, dtype=np.float64).astype(weight.dtype)
    merged = weight.copy()
    for part, place in zip(parts, places, strict=True):
        merged[grid(weight, place)] = part
    return merged


def grid(weight: np.ndarray, places: Places) -> tuple[np.ndarray, ...]:
    """What selects a sub-network's part of a weight.

    Args:
        weight: The weight of the whole network.
        places: As of `cut_weight`.
    """
    pairs = zip(weight.shape, places, strict=True)
    return np.ix_(*(np.arange(size) if place is None else place for size, place in pairs))
