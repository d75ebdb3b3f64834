"""Rounds of local training and combination, without any training."""

import keras
import numpy as np
import pytest

from keras_sparse.distribute import (
    Rounds,
    WorkerLostError,
    WorkersDifferError,
    alone,
    in_threads,
)
from keras_sparse.distribute.rounds import RECORD_BYTES, pack, unpack

to_array = keras.ops.convert_to_numpy
IDENTITY = {"version": "1", "sizes": [3, 4], "schedule": {"rounds": 2}}


class Crash(Exception):
    """What ends a worker in the middle."""


def add(workers, folder=None, rounds=3, crash=None, identity=IDENTITY):
    """Each worker adds its number + 1 to its own variable, and sums up what all have."""
    total = keras.Variable(np.full((2, 3), 100.0 * (workers.rank + 1), "float32"))
    flags = keras.Variable(np.array([True, False, True]), dtype="bool", trainable=False)
    mine = keras.Variable(np.zeros(workers.rank + 1, "float32"))
    own = keras.Variable(0, dtype="int32", trainable=False)
    kept = Rounds(workers, identity, folder)
    kept.begin([total, flags], [own])
    began = kept.number
    while kept.number < rounds:
        own.assign(own + workers.rank + 1)
        if crash == (workers.rank, kept.number):
            raise Crash
        mine.assign(0 * mine + float(own))
        like = [np.zeros(rank + 1, "float32") for rank in range(workers.count)]
        made = kept.exchange([mine], [[each] for each in like])
        total.assign(total + sum(float(values[0].sum()) for values in made))
        kept.save([total, flags])
    traffic = kept.traffic
    total.assign(total + workers.rank)
    kept.finish([total])
    return to_array(total), to_array(own), traffic, began


def test_all_see_what_all_have_made_and_start_and_end_as_worker_0():
    results = in_threads(add, 3)
    # Round r brings (r + 1) * (1 * 1 + 2 * 2 + 3 * 3).
    for rank, (total, own, _, _) in enumerate(results):
        np.testing.assert_array_equal(total, np.full((2, 3), 100 + 14 * (1 + 2 + 3)))
        assert own == 3 * (rank + 1)


def test_the_traffic_is_what_each_says_to_all_others():
    for _, _, traffic, _ in in_threads(add, 3):
        arrays = sum(4 * (rank + 1) for rank in range(3))
        assert traffic == 3 * 2 * (arrays + 3 * (RECORD_BYTES + 4))
    assert add(alone())[2] == 0


@pytest.mark.parametrize("crash", [(0, 1), (2, 2), (1, 0)])
def test_going_on_equals_the_whole(tmp_path, crash):
    whole = in_threads(add, 3)
    folder = tmp_path / "new" / "folder"
    with pytest.raises(Crash):
        in_threads(lambda workers: add(workers, folder, crash=crash), 3)
    resumed = in_threads(lambda workers: add(workers, folder), 3)
    for one, other in zip(resumed, whole, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        assert one[1] == other[1]
        assert one[3] == crash[1]
    assert not folder.exists()


def test_a_damaged_state_costs_one_round_and_two_are_an_error(tmp_path):
    with pytest.raises(Crash):
        in_threads(lambda workers: add(workers, tmp_path, crash=(1, 2)), 2)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["round-00001.npz", "round-00002.npz"]
    newest = tmp_path / names[1]
    newest.write_bytes(newest.read_bytes()[:-100])
    with pytest.warns(UserWarning, match=r"round-00002\.npz"):
        resumed = in_threads(lambda workers: add(workers, tmp_path), 2)
    assert resumed[0][3] == 1
    np.testing.assert_array_equal(resumed[0][0], in_threads(add, 2)[0][0])
    tmp_path.mkdir(exist_ok=True)
    for name in names:
        (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(
        ValueError, match=r"No backup .* can be read: .*resume from the first round"
    ):
        in_threads(lambda workers: add(workers, tmp_path), 2)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"version": "2"}, "version is '2' there and '1'"),
        ({"sizes": [3, 5]}, "sizes 1 is 5 there and 4"),
        ({"sizes": [3]}, "the number of sizes is 1 there and 2"),
        ({"schedule": {"rounds": 3}}, "schedule rounds is 3 there and 2"),
        ({"more": "a {brace}"}, "more is 'a {brace}' there and None"),
    ],
)
def test_other_trainings_are_refused_by_name(tmp_path, other, message):
    other = {**IDENTITY, **other}
    with pytest.raises(WorkersDifferError, match=f"Worker 1 .thread 1.*worker 0: {message}"):
        in_threads(lambda w: add(w, identity=other if w.rank == 1 else IDENTITY), 2)
    with pytest.raises(Crash):
        in_threads(lambda workers: add(workers, tmp_path, crash=(0, 1), identity=other), 2)
    with pytest.raises(WorkersDifferError, match=f"The backup in .*another training: {message}"):
        in_threads(lambda workers: add(workers, tmp_path), 2)


def test_a_worker_that_stops_is_named():
    def work(workers):
        kept = Rounds(workers, IDENTITY)
        kept.begin([], [])
        if workers.rank == 1:
            return kept.stop()
        return kept.exchange([], [[], []])

    with pytest.raises(RuntimeError, match=r"Worker 1 .* stopped training after 0 rounds"):
        in_threads(work, 2)


def test_bytes_and_arrays():
    values = [
        np.arange(6, dtype="float32").reshape(2, 3),
        np.array([True, False, True]),
        np.float64(2.5),
        np.zeros((0, 4), "int64"),
        np.array([-0.0, np.nan], "float16"),
    ]
    data = pack(values)
    assert len(data) == 24 + 3 + 8 + 0 + 4
    for one, other in zip(unpack(data, values), values, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="39 bytes cannot hold exactly 4 arrays, of 35"):
        unpack(data, values[:4])


def test_an_exchange_that_all_took_part_in_is_complete_whoever_ends_after_it():
    for _ in range(200):
        heard = in_threads(lambda workers: workers.exchange(bytes([workers.rank])), 3)
        assert heard == [[b"\0", b"\1", b"\2"]] * 3


def test_whoever_returns_too_early_is_lost():
    def work(workers):
        workers.exchange()
        if workers.rank == 0:
            workers.exchange()

    with pytest.raises(WorkerLostError, match="Lost worker 1"):
        in_threads(work, 2)
