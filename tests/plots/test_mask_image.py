import numpy as np
import pytest

from keras_sparse.plots import mask_image


def drawn(figure):
    return np.ma.filled(figure.axes[0].images[0].get_array().astype(float), np.nan)


def test_fractions_of_kept_weights(tmp_path):
    one = np.zeros((6, 4), bool)
    one[0] = [True, True, True, True]
    one[5] = [True, False, False, True]
    two = np.ones((6, 4), bool)
    masks = {"a": {0.5: one, 0.9: {"first": two, "second": one}}, "b": {0.5: two, 0.9: ~two}}
    figure = mask_image(masks, (2, 3), tmp_path / "masks.png", title="masks")
    nan = np.nan
    expected = [
        [1, 0, 0, nan, 1, 1, 1],
        [0, 0, 0.5, nan, 1, 1, 1],
        [nan] * 7,
        [1, 1, 1, nan, 0, 0, 0],
        [1, 1, 1, nan, 0, 0, 0],
    ]
    np.testing.assert_allclose(drawn(figure), expected)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.5", "0.9"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert (tmp_path / "masks.png").read_bytes().startswith(b"\x89PNG")


def test_channels_are_averaged():
    mask = np.zeros((2, 2, 2, 1), bool)
    mask[0, 0], mask[1, 1, 0] = True, True
    np.testing.assert_allclose(drawn(mask_image({0: {0: mask}}, (2, 2, 2))), [[1, 0], [0, 0.5]])


@pytest.mark.parametrize(
    ("masks", "shape", "match"),
    [
        ({}, (2, 2), "nothing to draw"),
        ({0: {}}, (2, 2), "nothing to draw"),
        ({0: {1: np.ones((4, 2))}, 1: {2: np.ones((4, 2))}}, (2, 2), "same columns"),
        ({0: {1: np.ones((4, 2))}}, (2, 3), "image_shape is"),
    ],
)
def test_bad_arguments(masks, shape, match):
    with pytest.raises(ValueError, match=match):
        mask_image(masks, shape)
