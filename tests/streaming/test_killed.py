"""A stream that is killed at any moment and started again comes to the end of one that was not."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("stream_in_a_process.py")
ROOT = Path(__file__).parents[2]


def started(folder, result):
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), str(result)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
    )


def lines(process, count=None):
    """Steps that a process tells of, all or the next ones."""
    found = []
    for line in process.stdout:
        found.append(int(line))
        if len(found) == count:
            break
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert lines(started(folder, folder / "end.npz")) == list(range(1, 101))
    with np.load(folder / "end.npz") as stored:
        return dict(stored)


def end_after_kills(folder, kills, draw):
    """The end of a stream that is killed some times, and the steps at which it began again."""
    begins = []
    for _ in range(kills):
        process = started(folder, folder / "end.npz")
        met = lines(process, draw.randint(1, 30))
        time.sleep(draw.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        begins.append(met[0])
    process = started(folder, folder / "end.npz")
    begins.append(lines(process)[0])
    assert process.wait() == 0
    with np.load(folder / "end.npz") as stored:
        return dict(stored), begins


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "kills"),
    [(0, 2), *(pytest.param(seed, 1, marks=pytest.mark.thorough) for seed in range(1, 11))],
)
@pytest.mark.thorough
def test_killed_at_random_moments_it_comes_to_the_same_end(whole, tmp_path, seed, kills):
    found, begins = end_after_kills(tmp_path, kills, random.Random(seed))
    assert begins[0] == 1
    assert begins == sorted(begins)
    assert {begin % 7 for begin in begins} == {1}
    assert found.keys() == whole.keys()
    for name, values in whole.items():
        np.testing.assert_array_equal(found[name], values, name)
    assert not (tmp_path / "states").exists()
