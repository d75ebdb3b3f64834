"""What a stored image takes and gives back."""

import numpy as np
import pytest
from keras import ops
from PIL import Image

from keras_sparse.streaming import ImageCompression
from keras_sparse.streaming.replay.bits import pack_bits, unpack_bits
from keras_sparse.streaming.replay.resizing import resize

PIXELS = np.arange(256, dtype=np.uint8)


def through(compression, images):
    return compression.decompress(compression.compress(images), images.shape[1:])


@pytest.mark.parametrize(
    ("bits", "pixels"),
    [
        (4, {0: 0, 7: 0, 15: 0, 16: 16, 130: 128, 200: 192, 255: 240}),
        (6, {7: 4, 15: 12, 130: 128, 255: 252}),
    ],
)
def test_pixels_keep_their_upper_bits(bits, pixels):
    images = np.array(list(pixels), np.uint8).reshape(1, -1, 1, 1)
    assert through(ImageCompression(bits=bits), images).ravel().tolist() == list(pixels.values())


@pytest.mark.parametrize("bits", range(1, 9))
def test_quantization_is_idempotent_and_errs_by_what_the_lower_bits_hold(bits):
    kept = through(ImageCompression(bits=bits), PIXELS.reshape(1, 16, 16, 1))
    error = PIXELS.astype(int) - kept.ravel()
    assert error.min() == 0
    assert error.max() == 2 ** (8 - bits) - 1
    assert error.mean() == (2 ** (8 - bits) - 1) / 2
    np.testing.assert_array_equal(through(ImageCompression(bits=bits), kept), kept)


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("count", [1, 5, 8, 27])
def test_packing_is_exact_and_leaves_no_gap(bits, count):
    values = np.random.default_rng(0).integers(0, 256, (4, count), dtype=np.uint8)
    packed = pack_bits(values, bits)
    assert packed.shape == (4, -(-count * bits // 8))
    step = 2 ** (8 - bits)
    np.testing.assert_array_equal(unpack_bits(packed, bits, count), values // step * step)
    written = "".join(f"{value // step:0{bits}b}" for value in values[0])
    assert int.from_bytes(packed[0].tobytes(), "big") == int(
        written.ljust(packed.shape[1] * 8, "0"), 2
    )


@pytest.mark.parametrize(
    ("bits", "area", "side", "nbytes"),
    [
        (8, 1, 32, 3072),
        (6, 1, 32, 2304),
        (4, 1, 32, 1536),
        (8, 0.66, 32, 2028),
        (8, 0.5, 32, 1587),
        (6, 0.66, 32, 1521),
        (4, 0.66, 32, 1014),
        (4, 0.75, 224, 56454),
        (8, 1, 128, 49152),
        (4, 1, 128, 24576),
        (4, 0.75, 128, 18481),
    ],
)
def test_bytes_of_an_image(bits, area, side, nbytes):
    compression = ImageCompression(bits=bits, area=area)
    # An odd number of half bytes ends with half a byte of nothing.
    assert compression.nbytes((side, side, 3)) in (nbytes, nbytes + 1)
    images = np.zeros((2, side, side, 3), np.uint8)
    assert compression.compress(images).shape == (2, compression.nbytes((side, side, 3)))


def test_resizing_is_that_of_keras():
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 28, 3), dtype=np.uint8)
    for size in ((26, 23), (40, 51), (1, 1)):
        expected = ops.image.resize(images.astype("float32"), size, antialias=False)
        found = resize(images, *size).astype(float)
        assert np.abs(found - ops.convert_to_numpy(expected)).max() <= 0.501


def test_a_smaller_image_comes_back_in_its_own_size():
    rows = np.broadcast_to(np.linspace(0, 248, 32)[:, None, None], (32, 32, 3)).astype(np.uint8)
    back = through(ImageCompression(area=0.5), rows[None])
    assert back.shape == (1, 32, 32, 3)
    assert np.abs(back[0].astype(int) - rows)[2:-2].max() <= 2


def test_jpeg_is_what_pillow_writes(tmp_path):
    compression = ImageCompression(jpeg=90, directory=tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "own.jpg", quality=90)
    assert compression.encode(image) == (tmp_path / "own.jpg").read_bytes()
    gray = compression.decode(compression.encode(image[..., :1]), (16, 16, 1))
    assert gray.shape == (16, 16, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bits": 9}, "bits must be an integer from 1 to 8"),
        ({"area": 0}, r"area must be a number in \(0, 1\]"),
        ({"jpeg": 95}, "directory must be a folder for the JPEG files. Received: directory=None"),
        ({"jpeg": 95, "bits": 4, "directory": "x"}, "jpeg must be None where bits or area"),
        ({"directory": "x"}, "directory must be None without JPEG"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ImageCompression(**arguments)
