"""Random numbers inside the compiled graph that follow from a seed and the step alone.

Backends draw other numbers from the same seed, and TensorFlow itself does with and without XLA.
These are the same everywhere, on every replica and after a resume, and need no state: a number's
position, the step and the seed are mixed by a hash (the finalizer of MurmurHash3).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

_GOLDEN = 0x9E3779B9


def uniform(shape: tuple[int, ...], seed: int, step: Any, stream: int = 0) -> Any:
    """Uniform numbers in [0, 1), float32.

    ```python
    uniform((3,), seed=0, step=7)
    ```

    Args:
        shape: The tensor's shape.
        seed: Integer.
        step: Integer scalar, may be a tensor.
        stream: Integer; other streams of the same step give other numbers.
    """
    start = np.uint32(_start(seed, stream))
    return ops.reshape(_drawn()(start, step, math.prod(shape)), shape)


def _start(seed: int, stream: int) -> int:
    return _mixed_number(seed + _GOLDEN * (stream + 1))


def noise(shape: Any, seed: int, step: Any, stream: int = 0) -> Any:
    """Uniform numbers in [0, 1), float32, by the backend's own generator of stateless numbers.

    Faster than `uniform`, and other on each backend: for noise that is drawn for whole
    activations.

    Args:
        shape: The tensor's shape, may be a tensor.
        seed: Integer.
        step: Integer scalar, may be a tensor.
        stream: Integer; other streams of the same step give other numbers.
    """
    start = _mixed_number(seed + _GOLDEN * (stream + 1)) >> 1
    if keras.backend.backend() == "jax":
        import jax

        key = jax.random.fold_in(jax.random.key(start), step)
        return jax.random.uniform(key, shape)
    import tensorflow as tf

    return tf.random.stateless_uniform(shape, tf.stack([start, tf.cast(step, "int32")]))


@functools.cache
def _drawn() -> Callable[[Any, Any, Any], Any]:
    """`_numbers`, of which TensorFlow traces one graph for all tensors of a model."""
    if keras.backend.backend() != "tensorflow":
        return _numbers
    import tensorflow as tf

    scalars = (tf.TensorSpec((), dtype) for dtype in ("uint32", "uint32", "int32"))
    graph = tf.function(_numbers, input_signature=tuple(scalars), autograph=False)
    return lambda start, step, count: graph(start, tf.cast(step, "uint32"), count)


def _numbers(start: Any, step: Any, count: Any) -> Any:
    key = _mixed(ops.bitwise_xor(ops.cast(step, "uint32"), start))
    position = ops.cast(ops.arange(count, dtype="int32"), "uint32")
    return _hashed(position * _word(_GOLDEN), key)


def _hashed(position: Any, key: Any) -> Any:
    bits = _mixed(ops.bitwise_xor(_mixed(position + key), key))
    return ops.cast(ops.right_shift(bits, _word(8)), "float32") * 2.0**-24


def uniform_in_one(sizes: Sequence[int], seed: int, step: Any, streams: Sequence[int]) -> Any:
    """What `uniform` gives for several streams, one after the other in one vector.

    Args:
        sizes: How many numbers of each stream.
        seed: Integer.
        step: Integer scalar, may be a tensor.
        streams: As many integers as sizes.
    """
    starts = np.array([_start(seed, stream) for stream in streams], "uint32")
    keys = _mixed(ops.bitwise_xor(ops.cast(step, "uint32"), ops.convert_to_tensor(starts)))
    key = ops.take(keys, np.repeat(np.arange(len(sizes), dtype="int32"), sizes))
    positions = np.concatenate([np.arange(size, dtype="uint32") for size in sizes])
    return _hashed(ops.convert_to_tensor(positions * np.uint32(_GOLDEN)), key)


def normal(shape: tuple[int, ...], seed: int, step: Any, stream: int = 0) -> Any:
    """Standard normal numbers, float32 (Box and Muller's transform of two uniform ones).

    The arguments are those of `uniform`.
    """
    return _turned(*(uniform(shape, seed, step, 2 * stream + i) for i in (0, 1)))


def normal_in_one(sizes: Sequence[int], seed: int, step: Any, streams: Sequence[int]) -> Any:
    """What `normal` gives for several streams: see `uniform_in_one`."""
    twice = ([2 * stream + i for stream in streams] for i in (0, 1))
    return _turned(*(uniform_in_one(sizes, seed, step, one) for one in twice))


def _turned(radius: Any, angle: Any) -> Any:
    return ops.sqrt(-2 * ops.log(1 - radius)) * ops.cos(2 * math.pi * angle)


def _mixed(word: Any) -> Any:
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        word = ops.bitwise_xor(word, ops.right_shift(word, _word(shift))) * _word(factor)
    return ops.bitwise_xor(word, ops.right_shift(word, _word(16)))


def _mixed_number(number: int) -> int:
    word = number % 2**32
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        word = (word ^ (word >> shift)) * factor % 2**32
    return word ^ (word >> 16)


def _word(number: int) -> Any:
    return ops.convert_to_tensor(np.uint32(number))
