"""Counting what is not zero."""

import numpy as np
import pytest

from keras_sparse.probe import nonzeros


@pytest.mark.parametrize("at_once", [1, 4, 7, 100])
def test_counts_part_by_part(monkeypatch, at_once):
    monkeypatch.setattr(nonzeros, "_AT_ONCE", at_once)
    values = np.random.default_rng(0).integers(-1, 2, (5, 3)).astype("float32")
    assert nonzeros.count_nonzero(values) == np.count_nonzero(values)
    assert nonzeros.count_nonzero(values != 0) == np.count_nonzero(values)
    assert nonzeros.count_nonzero(values[:0]) == 0
