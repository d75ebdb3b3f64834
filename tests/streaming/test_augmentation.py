"""The operations against Pillow, the policies against their tables, the mixing by hand."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from scipy.stats import binomtest, chisquare

from keras_sparse.streaming import StreamingAugment
from keras_sparse.streaming.augmentation import operations, policies
from keras_sparse.streaming.augmentation.mixing import cut_box, mix, paste


def images():
    random = np.random.default_rng(0)
    smooth = np.linspace(20, 190, 32)[:, None, None] + np.linspace(0, 50, 32)[:, None] * [1, 0.5, 0]
    yield random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    yield smooth.astype(np.uint8)
    yield np.full((32, 32, 3), 77, np.uint8)
    yield random.integers(60, 90, (17, 24, 3), dtype=np.uint8)


def affine(image, *matrix):
    return image.transform(
        image.size, Image.Transform.AFFINE, matrix, fillcolor=(128,) * len(image.getbands())
    )


PILLOW = {
    "invert": (operations.invert, ImageOps.invert, [()]),
    "autocontrast": (operations.autocontrast, ImageOps.autocontrast, [()]),
    "equalize": (operations.equalize, ImageOps.equalize, [()]),
    "solarize": (operations.solarize, ImageOps.solarize, [(0,), (100,), (255,), (256,)]),
    "posterize": (operations.posterize, ImageOps.posterize, [(4,), (6,), (8,)]),
    **{
        name: (
            getattr(operations, name),
            lambda image, factor, kind=kind: kind(image).enhance(factor),
            [(0.1,), (0.7,), (1.0,), (1.9,)],
        )
        for name, kind in (
            ("brightness", ImageEnhance.Brightness),
            ("color", ImageEnhance.Color),
            ("contrast", ImageEnhance.Contrast),
            ("sharpness", ImageEnhance.Sharpness),
        )
    },
    "shear_x": (
        operations.shear_x,
        lambda image, slope: affine(image, 1, slope, 0, 0, 1, 0),
        [(0.3,), (-0.21,)],
    ),
    "shear_y": (
        operations.shear_y,
        lambda image, slope: affine(image, 1, 0, 0, slope, 1, 0),
        [(0.3,), (-0.21,)],
    ),
    "translate_x": (
        operations.translate_x,
        lambda image, share: affine(image, 1, 0, share * image.width, 0, 1, 0),
        [(0.45,), (-0.2,)],
    ),
    "translate_y": (
        operations.translate_y,
        lambda image, share: affine(image, 1, 0, 0, 0, 1, share * image.height),
        [(0.45,), (-0.2,)],
    ),
    "rotate": (
        operations.rotate,
        lambda image, degrees: image.rotate(degrees, fillcolor=(128, 128, 128)),
        [(30,), (-17.5,), (6.67,)],
    ),
}


@pytest.mark.parametrize("name", PILLOW)
def test_an_operation_is_that_of_pillow(name):
    own, theirs, strengths = PILLOW[name]
    for image in images():
        for strength in strengths:
            expected = np.asarray(theirs(Image.fromarray(image), *strength))
            found = own(image, *strength)
            assert found.dtype == np.uint8
            np.testing.assert_array_equal(found, expected, f"{strength}")


@pytest.mark.parametrize("name", PILLOW)
def test_gray_images_of_one_channel_go_through(name):
    own, _, strengths = PILLOW[name]
    image = next(images())[..., :1]
    assert own(image, *strengths[0]).shape == image.shape


def test_the_policies_are_their_tables():
    cifar10, imagenet = policies.POLICIES["cifar10"], policies.POLICIES["imagenet"]
    assert len(cifar10) == len(imagenet) == 25
    assert cifar10[0] == (("Inv", 0.1, 0), ("Con", 0.2, 6))
    assert cifar10[21] == (("TrY", 0.9, 9), ("TrY", 0.7, 9))
    assert cifar10[-1] == (("TrY", 0.7, 9), ("AC", 0.9, 0))
    assert imagenet[0] == (("Pos", 0.4, 8), ("Rot", 0.6, 9))
    assert imagenet[15] == (("Rot", 0.8, 8), ("Col", 1, 2))
    assert imagenet[-1] == (("Eq", 0.8, 0), ("Eq", 0.6, 0))


@pytest.mark.parametrize(
    ("name", "level", "same_as"),
    [
        ("ShX", 9, {("shear_x", 0.3), ("shear_x", -0.3)}),
        ("TrY", 9, {("translate_y", 150 / 331), ("translate_y", -150 / 331)}),
        ("Rot", 9, {("rotate", 30), ("rotate", -30)}),
        ("Bri", 9, {("brightness", 1.9), ("brightness", 0.1)}),
        ("Pos", 9, {("posterize", 4)}),
        ("Pos", 0, {("posterize", 8)}),
        ("Sol", 0, {("solarize", 255)}),
        ("Sol", 9, {("solarize", 0)}),
    ],
)
def test_levels_are_equal_steps_of_their_ranges(name, level, same_as):
    image, random = next(images()), np.random.default_rng(0)
    allowed = {getattr(operations, each)(image, by).tobytes() for each, by in same_as}
    found = {policies.apply(image, name, level, random).tobytes() for _ in range(20)}
    assert found == allowed


def test_each_pair_of_a_policy_is_as_likely(monkeypatch):
    applied = []
    monkeypatch.setattr(policies, "apply", lambda image, *step: applied.append(step[:2]) or image)
    random = np.random.default_rng(0)
    for _ in range(5000):
        policies.auto_augment(np.zeros((2, 2, 3), np.uint8), "cifar10", random)
    # "Inv" at .1 of the first pair and of the 24th, and never of the 15th.
    count = sum(step[0] == "Inv" for step in applied)
    assert binomtest(count, 5000, 0.2 / 25).pvalue > 0.001
    turns = [
        sum(step == ("Rot", 2) for step in applied),
        sum(step == ("Col", 9) for step in applied),
    ]
    assert chisquare(turns, np.array([0.7, 0.9]) / 1.6 * sum(turns)).pvalue > 0.001


@pytest.mark.parametrize(
    ("share", "center", "rows", "columns", "label"),
    [
        (0.75, (16, 16), (8, 24), (8, 24), 0.75),
        (0.75, (0, 0), (0, 8), (0, 8), 0.9375),
        (0.36, (5, 30), (0, 18), (18, 32), 1 - 18 * 14 / 1024),
        (1.0, (9, 9), (9, 9), (9, 9), 1.0),
    ],
)
def test_the_box_of_cutmix_is_clipped(share, center, rows, columns, label):
    box = cut_box((32, 32, 3), share, center)
    assert (box.top, box.bottom, box.left, box.right) == (*rows, *columns)
    assert 1 - box.area / 1024 == pytest.approx(label)
    pasted = paste(np.zeros((32, 32, 3)), np.ones((32, 32, 3)), box)
    assert 1 - pasted[..., 0].mean() == pytest.approx(label)


def test_each_example_is_mixed_one_way_or_the_other():
    n, random = 2000, np.random.default_rng(0)
    x = np.broadcast_to(np.arange(n, dtype=np.float32)[:, None, None, None], (n, 8, 8, 1))
    mixed, labels = mix(x, np.eye(n, dtype=np.float32), 0.8, 0.8, random)
    np.testing.assert_allclose(labels.sum(1), 1, rtol=1e-6)
    # The label says how much of each there is, whichever way they were mixed.
    np.testing.assert_allclose(mixed.mean((1, 2, 3)), labels @ np.arange(n), rtol=1e-3, atol=1e-2)
    changed = np.array([len(np.unique(image)) > 1 for image in mixed])
    alone = labels.max(1) > 0.99
    cut = int(changed[~alone].sum())
    assert binomtest(cut, int((~alone).sum()), 0.5).pvalue > 1e-4
    assert len(np.unique(labels.argmax(1))) > n / 2


@pytest.mark.parametrize("alphas", [(0.8, None), (None, 0.8)])
def test_one_of_the_two_alone(alphas):
    x = np.random.default_rng(0).normal(size=(200, 8, 8, 1)).astype("float32")
    mixed, labels = mix(x, np.eye(200), *alphas, np.random.default_rng(1))
    kept = np.array([(one == two).mean() for one, two in zip(x, mixed, strict=True)])
    whole = labels.max(1) == 1
    assert (kept[~whole] == 0).all() if alphas[1] is None else (kept[~whole] > 0).any()
    np.testing.assert_allclose(labels.sum(1), 1, rtol=1e-6)


def test_nothing_is_done_without_anything_to_do():
    augment = StreamingAugment(0, False, None, None, None, None)
    x, y = np.stack([next(images())] * 3), np.eye(3)
    mixed, labels = augment(x, y, np.random.default_rng(0))
    np.testing.assert_array_equal(mixed, x)
    np.testing.assert_array_equal(labels, y)
    assert mixed.dtype == np.float32


def test_crops_and_flips_are_uniform():
    augment = StreamingAugment(2, True, None, None, None, None)
    x = np.tile(np.arange(1, 65, dtype=np.uint8).reshape(1, 8, 8, 1), (5000, 1, 1, 1))
    found, _ = augment(x, np.eye(5000, 1), np.random.default_rng(0))
    padded = np.pad(x[0, ..., 0], 2)
    views = {}
    for top in range(5):
        for left in range(5):
            crop = padded[top : top + 8, left : left + 8]
            views |= {crop.tobytes(): 0, crop[:, ::-1].copy().tobytes(): 0}
    for image in found.astype(np.uint8):
        views[image.tobytes()] += 1
    assert len(views) == 50
    assert chisquare(list(views.values())).pvalue > 0.001


def test_the_same_random_numbers_give_the_same():
    x, y = np.stack([next(images())] * 20), np.eye(20)
    for augment in (StreamingAugment(), StreamingAugment(policy=None, rand_augment=(2, 9))):
        one, two = (augment(x, y, np.random.default_rng(5))[0] for _ in range(2))
        np.testing.assert_array_equal(one, two)
        assert not np.array_equal(one, augment(x, y, np.random.default_rng(6))[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"crop": -1}, "crop must be an integer of at least 0"),
        ({"policy": "cifar"}, "Did you mean 'cifar10'"),
        ({"mixup_alpha": 0}, "mixup_alpha must be a finite number greater than 0"),
        ({"policy": None, "rand_augment": 3}, "rand_augment must be two numbers"),
        ({"rand_augment": (2, 9)}, "rand_augment must be None beside a policy"),
    ],
)
def test_wrong_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        StreamingAugment(**arguments)


def test_only_bytes_are_varied():
    with pytest.raises(ValueError, match="x must be uint8 images"):
        StreamingAugment()(np.zeros((2, 8, 8, 1)), np.eye(2), np.random.default_rng(0))
