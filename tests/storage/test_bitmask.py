"""Packed arrays come back bit by bit, and are smaller or not packed at all."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sparse.storage.bitmask import pack, unpack

TYPES = ("float32", "float16", "float64", "int8", "uint32", "bool", "complex128", "V2", "V3")


@given(
    st.sampled_from(TYPES),
    st.lists(st.integers(0, 9), max_size=3),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)
def test_any_bits_under_any_mask_come_back(kind, shape, density, seed):
    generator, dtype = np.random.default_rng(seed), np.dtype(kind)
    bits = generator.integers(0, 2 if kind == "bool" else 256, (*shape, dtype.itemsize), np.uint8)
    bits *= generator.random((*shape, 1)) < density
    array = np.ndarray(tuple(shape), dtype, bits.tobytes())
    nonzero = int(bits.any(axis=-1).sum())
    smallest = -(-array.size // 8) + nonzero * dtype.itemsize
    packed = pack(array)
    if packed is None:
        assert smallest >= array.nbytes
        return
    assert len(packed) == smallest < array.nbytes
    back = unpack(packed, dtype, shape)
    assert back.shape == tuple(shape)
    assert back.dtype == dtype
    assert back.tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", ["float32", ml_dtypes.bfloat16])
def test_only_positive_zero_is_left_out(dtype):
    special = np.array([-0.0, 0.0, np.nan, -np.nan, np.inf, -np.inf, 1e-45, 0.0], dtype)
    array = np.concatenate([special, np.zeros(100, dtype)])
    packed = pack(array)
    kept = sum(any(value.tobytes()) for value in special)
    assert len(packed) == 14 + kept * array.itemsize
    assert unpack(packed, array.dtype, array.shape).tobytes() == array.tobytes()


def test_views_are_packed_by_their_own_entries():
    array = np.zeros((6, 8), "float32")
    array[1, 2] = 3
    for view in (array.T, array[::2], array[:, 1:5]):
        assert (unpack(pack(view), view.dtype, view.shape) == view).all()


def test_too_few_bytes_are_noticed():
    array = np.zeros(100, "float32")
    array[7] = 1
    packed = pack(array)
    for wrong in (packed[:-1], packed[:3], packed + b"0"):
        with pytest.raises(ValueError, match=r"takes .* bytes"):
            unpack(wrong, array.dtype, array.shape)
