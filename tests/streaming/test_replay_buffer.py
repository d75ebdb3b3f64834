"""What stays in a replay buffer, what leaves it, and that nothing gets lost."""

import errno
import pathlib
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from keras_sparse.streaming import ImageCompression, ReplayBuffer

EVICTIONS = ("class_balanced", "uniform", "reservoir", "mixup", "cutmix", "sample_pairing")


def image_of(number, side=4):
    """An image that tells which it is."""
    return np.full((side, side, 1), number % 256, np.uint8)


def filled(labels, **arguments):
    buffer = ReplayBuffer(**arguments)
    for number, label in enumerate(labels):
        buffer.add(image_of(number), label)
    return buffer


def content(buffer):
    x, y = buffer.read()
    return list(zip(x[:, 0, 0, 0].tolist(), y.tolist(), strict=True))


@pytest.mark.parametrize(
    ("most", "numbers"), [(None, range(7)), (3, (0, 2, 4)), (7, range(7)), (9, range(7))]
)
def test_reads_some_at_equal_distances(most, numbers):
    x, y = filled(range(7)).read(most)
    assert x[:, 0, 0, 0].tolist() == y.tolist() == list(numbers)


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.integers(0, 5), min_size=1, max_size=80),
    capacity=st.integers(1, 12),
    eviction=st.sampled_from(EVICTIONS),
    seed=st.integers(0, 9),
)
def test_never_fuller_than_allowed_and_examples_keep_their_labels(labels, capacity, eviction, seed):
    buffer = ReplayBuffer(capacity, eviction=eviction, seed=seed)
    for number, label in enumerate(labels):
        buffer.add(image_of(number), label)
        assert len(buffer) <= capacity
        assert buffer.seen == number + 1
        if number < capacity:
            assert content(buffer) == list(enumerate(labels[: number + 1]))
        assert sum(buffer.class_counts.values()) == len(buffer)
        assert Counter(buffer.labels.tolist()) == buffer.class_counts
    if eviction in EVICTIONS[:3]:
        assert all(labels[number] == label for number, label in content(buffer))


@settings(max_examples=40, deadline=None)
@given(labels=st.lists(st.integers(0, 4), min_size=5, max_size=60), capacity=st.integers(1, 9))
def test_the_one_evicted_is_of_a_class_with_most(labels, capacity):
    buffer = ReplayBuffer(capacity)
    for number, label in enumerate(labels):
        before = Counter(dict(content(buffer)).values()) if len(buffer) else Counter()
        before[label] += 1
        buffer.add(image_of(number), label)
        (lost,) = (before - Counter(buffer.class_counts)) or [None]
        if lost is not None:
            assert before[lost] == max(before.values())
            assert lost == min(each for each in before if before[each] == before[lost])


def test_a_sorted_stream_leaves_as_many_of_each_class():
    buffer, finished = ReplayBuffer(100), []
    for label in range(10):
        for number in range(100):
            buffer.add(image_of(number), label)
            counts = [buffer.class_counts[each] for each in finished]
            if len(buffer) == 100 and counts:
                assert max(counts) - min(counts) <= 1
        finished.append(label)
    assert buffer.class_counts == dict.fromkeys(range(10), 10)


def test_the_reservoir_keeps_all_with_one_probability():
    kept = np.zeros(30)
    for seed in range(400):
        buffer = filled(range(30), capacity=6, eviction="reservoir", seed=seed)
        kept[[number for number, _ in content(buffer)]] += 1
    assert kept.sum() == 400 * 6
    assert chisquare(kept).pvalue > 0.001


def test_a_sample_is_uniform_without_one_twice():
    buffer, drawn = filled([0, 1] * 10, capacity=20), np.zeros(20)
    for _ in range(1000):
        x, y = buffer.sample(5)
        numbers = x[:, 0, 0, 0]
        assert len(set(numbers.tolist())) == 5
        assert (numbers % 2 == y).all()
        drawn[numbers] += 1
    assert chisquare(drawn).pvalue > 0.001
    assert len(buffer.sample(100)[1]) == 20


@pytest.mark.parametrize("kind", EVICTIONS[3:])
def test_consolidation_makes_one_of_two_of_a_class(kind):
    buffer = filled([0] * 6 + [1] * 6, capacity=6, eviction=kind)
    assert len(buffer) == 6
    assert buffer.class_counts[1] >= 2
    if kind == "sample_pairing":
        two = ReplayBuffer(2, eviction=kind)
        for value in (10, 21, 40):
            two.add(image_of(value), 3)
        assert {number for number, _ in content(two)} == {16, 40}


def test_what_was_interpolated_often_enough_is_evicted():
    buffer = ReplayBuffer(2, eviction="sample_pairing", max_interpolations=1)
    for value in (0, 100, 200, 255):
        buffer.add(image_of(value), 0)
    assert {number for number, _ in content(buffer)} == {200, 255}


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_bytes_decide_how_many_there_is_room_for(bits):
    compression = ImageCompression(bits=bits)
    buffer = filled(range(50), capacity_bytes=160, compression=compression)
    assert len(buffer) == 160 // (16 * bits // 8)
    assert buffer.nbytes == len(buffer) * 16 * bits // 8


def jpeg(folder):
    return ImageCompression(jpeg=95, directory=folder)


def test_files_of_evicted_images_are_removed(tmp_path):
    ramps = np.random.default_rng(0).integers(0, 256, (40, 2, 1, 3)).repeat(8, 1).repeat(16, 2)
    images = ramps.astype(np.uint8)
    buffer = ReplayBuffer(capacity_bytes=5000, compression=jpeg(tmp_path))
    for number, image in enumerate(images):
        buffer.add(image, number % 4)
        files = list(tmp_path.glob("*.jpg"))
        assert len(files) == len(buffer)
        assert sum(file.stat().st_size for file in files) == buffer.nbytes <= 5000
    x, _ = buffer.sample(5)
    near = np.abs(images[:, None].astype(int) - x).mean((2, 3, 4)).min(0)
    assert near.max() < 5
    assert buffer.seen > len(buffer)


@pytest.mark.parametrize("eviction", EVICTIONS)
@pytest.mark.parametrize("stored", ["packed", "jpeg"])
def test_a_loaded_buffer_goes_on_as_the_saved_one(eviction, stored, tmp_path):
    def made(folder):
        kind = jpeg(tmp_path / folder) if stored == "jpeg" else ImageCompression(bits=6, area=0.8)
        return ReplayBuffer(7, eviction=eviction, compression=kind, max_interpolations=2)

    one, other = made("one"), made("other")
    for number in range(30):
        one.add(image_of(5 * number, 8), number % 3)
        one.sample(3)
    one.save(tmp_path / "buffer.npz")
    if stored == "jpeg":
        other.add(image_of(1, 8), 0)  # What it held before is forgotten.
    other.load(tmp_path / "buffer.npz")
    for number in range(30, 60):
        for buffer in (one, other):
            buffer.add(image_of(5 * number, 8), number % 3)
        for first, second in zip(one.sample(4), other.sample(4), strict=True):
            np.testing.assert_array_equal(first, second)
    assert content(one) == content(other)
    assert one.seen == other.seen == 60


def test_an_empty_buffer_can_be_saved(tmp_path):
    ReplayBuffer(3).save(tmp_path / "empty.npz")
    buffer = filled([0], capacity=3)
    buffer.load(tmp_path / "empty.npz")
    assert len(buffer) == 0


def test_a_file_that_is_cut_off_or_of_another_buffer_changes_nothing(tmp_path):
    path = tmp_path / "buffer.npz"
    filled([0, 1, 2], capacity=3).save(path)
    other = filled([5], capacity=3, compression=ImageCompression(bits=4))
    with pytest.raises(ValueError, match=r"has compression=.*: 8.*this one has.*: 4"):
        other.load(path)
    path.write_bytes(path.read_bytes()[:-200])
    same = filled([5], capacity=3)
    with pytest.raises(ValueError, match=r"buffer.npz' is damaged"):
        same.load(path)
    assert content(same) == content(other) == [(0, 5)]


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    buffer = filled([0, 1], capacity=2, compression=jpeg(tmp_path))
    before = content(buffer)
    write = pathlib.Path.write_bytes

    def full(path, contents):
        write(path, contents[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"No space left on device.*Make room"):
        buffer.add(image_of(9), 2)
    monkeypatch.undo()
    assert content(buffer) == before
    assert len(list(tmp_path.glob("*.jpg"))) == 2
    buffer.add(image_of(9), 2)
    assert buffer.seen == 3


@pytest.mark.parametrize(
    ("example", "label", "message"),
    [
        (image_of(1), -1, "label must be an integer of at least|label must be an integer from 0"),
        (image_of(1), 1.5, "label must be an integer"),
        (image_of(1, 5), 0, r"example must be like those stored, uint8\[4, 4, 1\]"),
        (image_of(1).astype("float32"), 0, r"Received: example='float32\[4, 4, 1\]'"),
        (np.full((4, 4, 1), np.nan), 0, "example must be an array of finite numbers"),
        (np.array(["a"]), 0, "example must be an array of numbers"),
    ],
)
def test_a_wrong_example_is_refused_and_not_counted(example, label, message):
    buffer = filled([0, 1], capacity=5)
    with pytest.raises(ValueError, match=message):
        buffer.add(example, label)
    assert len(buffer) == buffer.seen == 2


def test_other_bad_input(tmp_path):
    with pytest.raises(ValueError, match="which alone can be compressed"):
        ReplayBuffer(5, compression=ImageCompression(bits=4)).add(np.zeros(3), 0)
    with pytest.raises(ValueError, match="capacity_bytes must be room for an example of 16"):
        ReplayBuffer(capacity_bytes=15).add(image_of(0), 0)
    with pytest.raises(ValueError, match="capacity must be an integer of at least 1"):
        ReplayBuffer(0)
    with pytest.raises(ValueError, match="drawn of a buffer that examples were added to"):
        ReplayBuffer(5).sample(3)
    filled([0], capacity=2, compression=jpeg(tmp_path))
    with pytest.raises(ValueError, match="an empty folder, and there are 1 images of another"):
        filled([0], capacity=2, compression=jpeg(tmp_path))


def test_what_arrives_twice_is_stored_and_counted_twice():
    buffer = ReplayBuffer(5)
    for _ in range(2):
        buffer.add(image_of(7), 3)
    assert (len(buffer), buffer.seen) == (2, 2)


def test_any_numbers_can_be_stored_uncompressed():
    buffer = ReplayBuffer(5)
    values = np.random.default_rng(0).normal(size=(5, 7)).astype("float32")
    for label, value in enumerate(values):
        buffer.add(value, label)
    np.testing.assert_array_equal(buffer.read()[0], values)


@pytest.mark.slow
def test_time_is_by_the_batch_and_not_by_what_is_stored():
    def seconds(size):
        buffer = filled((number % 10 for number in range(size)), capacity=size)
        times = []
        for _ in range(5):
            begin = time.process_time()
            for number in range(100):
                buffer.sample(50)
                buffer.add(image_of(number), number % 10)
            times.append(time.process_time() - begin)
        return min(times)

    assert seconds(100_000) < 5 * seconds(5_000)


@pytest.mark.thorough
def test_a_large_buffer_takes_the_bytes_that_its_images_do():
    import tracemalloc

    compression = ImageCompression(bits=4, area=0.66)
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    tracemalloc.start()
    buffer = ReplayBuffer(100_000, compression=compression)
    for number in range(100_000):
        buffer.add(image, number % 10)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert buffer.nbytes == 100_000 * 1014
    assert used < 1.05 * buffer.nbytes
