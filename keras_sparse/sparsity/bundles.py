"""Many small tensors as few vectors: what is done to each number is traced and run but once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_sparse.backend.graph_tensors import parts
from keras_sparse.backend.step_random import (
    normal,
    normal_in_one,
    uniform,
    uniform_in_one,
)

# Longer tensors stay by themselves.
_SMALL = 2**16
# No vector is longer.
_LONGEST = 2**19


class Bundles:
    """How tensors are put together: small ones in vectors, each of one type, others as they are.

    For functions of single numbers, which need not know what tensor a number is of.

    Args:
        tensors: Tensors of static shapes.
    """

    def __init__(self, tensors: Sequence[Any]) -> None:
        self.shapes = [tuple(tensor.shape) for tensor in tensors]
        self.sizes = [math.prod(shape) for shape in self.shapes]
        self.places = list(self._planned([str(tensor.dtype) for tensor in tensors]))

    def _planned(self, dtypes: Sequence[str]) -> Iterator[list[int]]:
        together: dict[str, list[int]] = {}
        for i, (size, dtype) in enumerate(zip(self.sizes, dtypes, strict=True)):
            if size > _SMALL:
                yield [i]
                continue
            held = together.setdefault(dtype, [])
            if sum(self.sizes[j] for j in held) + size > _LONGEST:
                yield together.pop(dtype)
                held = together.setdefault(dtype, [])
            held.append(i)
        yield from together.values()

    def join(self, tensors: Sequence[Any]) -> list[Any]:
        """The bundles of tensors, one for each of those that were given at first."""
        return [
            ops.concatenate([ops.reshape(tensors[i], (-1,)) for i in places])
            if len(places) > 1
            else tensors[places[0]]
            for places in self.places
        ]

    def split(self, bundles: Sequence[Any]) -> list[Any]:
        """The tensors of bundles, in the order and the shapes of those given at first."""
        found: list[Any] = [None] * len(self.shapes)
        for places, bundle in zip(self.places, bundles, strict=True):
            if len(places) == 1:
                found[places[0]] = bundle
                continue
            cut = parts(bundle, [self.sizes[i] for i in places])
            for i, part in zip(places, cut, strict=True):
                found[i] = ops.reshape(part, self.shapes[i])
        return found

    def spread(self, scalars: Sequence[Any]) -> list[Any]:
        """For each bundle a number's own tensor's scalar; a scalar where it has but one tensor."""
        return [
            ops.take(ops.stack([scalars[i] for i in places]), self._owners(places))
            if len(places) > 1
            else scalars[places[0]]
            for places in self.places
        ]

    def counts(self, tensors: Sequence[Any]) -> Any:
        """How many numbers of each tensor are not zero, integers of shape `(tensors,)`."""
        counted = [
            ops.segment_sum(
                ops.cast(ops.cast(bundle, "bool"), "int32"), self._owners(places), len(places)
            )
            if len(places) > 1
            else ops.reshape(ops.count_nonzero(bundle), (1,))
            for places, bundle in zip(self.places, self.join(tensors), strict=True)
        ]
        order = np.argsort(np.concatenate(self.places))
        return ops.take(ops.concatenate(counted), order.astype("int32"))

    def _owners(self, places: Sequence[int]) -> np.ndarray:
        return np.repeat(np.arange(len(places), dtype="int32"), [self.sizes[i] for i in places])

    def uniform(self, seed: int, step: Any, first: int = 0) -> list[Any]:
        """Uniform numbers, of stream `first + i` for tensor i (see `step_random.uniform`)."""
        return self._drawn(uniform, uniform_in_one, seed, step, first)

    def normal(self, seed: int, step: Any, first: int = 0) -> list[Any]:
        """Normal numbers, of stream `first + i` for tensor i (see `step_random.normal`)."""
        return self._drawn(normal, normal_in_one, seed, step, first)

    def _drawn(
        self,
        one: Callable[..., Any],
        several: Callable[..., Any],
        seed: int,
        step: Any,
        first: int,
    ) -> list[Any]:
        return [
            several([self.sizes[i] for i in places], seed, step, [first + i for i in places])
            if len(places) > 1
            else one(self.shapes[places[0]], seed, step, first + places[0])
            for places in self.places
        ]
