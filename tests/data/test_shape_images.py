"""Images of shapes, and the classes of their pixels."""

import numpy as np
import pytest

from keras_sparse import data


def test_pixels_of_a_shape_are_brighter_and_have_its_class():
    x, y = data.shape_images(["triangle", "cross"], 40, size=32, noise=0.05, seed=1)
    assert x.shape == (40, 32, 32, 1)
    assert set(np.unique(y)) == {0, 1, 2}
    assert x[y > 0].mean() > 0.5 > 0.02 > abs(x[y == 0].mean())
    assert (y.reshape(40, -1) > 0).any(1).all()
    again = data.shape_images(["triangle", "cross"], 40, size=32, noise=0.05, seed=1)
    assert np.array_equal(x, again[0])
    assert not np.array_equal(x, data.shape_images(["triangle", "cross"], 40, size=32)[0])


@pytest.mark.parametrize("shape", data.SHAPES)
def test_each_shape_fills_a_part_of_its_square(shape):
    _, y = data.shape_images([shape], 20, most=1)
    share = (y > 0).mean((1, 2))
    assert 0.01 < share.min() <= share.max() < 0.25


def test_bad_input():
    with pytest.raises(ValueError, match="Did you mean 'circle'"):
        data.shape_images(["circles"], 3)
    with pytest.raises(ValueError, match="samples must be"):
        data.shape_images(["circle"], 0)
    with pytest.raises(ValueError, match="one at least"):
        data.shape_images([], 3)
