"""Sweeps in several processes, of which one is killed: nothing is lost but an epoch."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import keras
import pytest

from tests.tuning.networks import epochs_of
from tests.tuning.search_in_a_process import EPOCHS, TRIALS, search, sweep

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="as test_sweeps"),
]
ROOT = Path(__file__).parents[2]
_PATIENCE = 240.0


def start(kind, folder, workers=1, **variables):
    script = ROOT / "tests" / "tuning" / "search_in_a_process.py"
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, str(script), kind, str(folder), str(workers)],
        env={**os.environ, "PYTHONPATH": path, "TF_NUM_INTRAOP_THREADS": "1", **variables},
    )


def wait_for(condition):
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.1)


def in_an_epoch(folder, pid, epoch):
    return lambda: (pid, epoch) in epochs_of(folder / "epochs")


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    """What the trials of a sweep come to that nobody interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    return scores_of(search("keras-tuner", folder, 1, seconds=0))


def scores_of(made):
    return [(trial.status, trial.scores) for trial in made.result().trials]


def check_epochs(folder, killed):
    """Every epoch was made once, but for those in which something was killed."""
    made = Counter(epoch for _, epoch in epochs_of(folder / "epochs"))
    assert made.keys() == set(range(EPOCHS))
    assert TRIALS * EPOCHS <= sum(made.values()) <= TRIALS * EPOCHS + killed
    assert made[0] <= TRIALS + killed - 1, "the trial did not begin anew"


def end(processes):
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()


def test_a_killed_worker_process_is_started_again_and_goes_on(tmp_path, scores):
    parent = start("keras-tuner", tmp_path, workers=2)
    try:
        wait_for(lambda: any(epoch == 3 for _, epoch in epochs_of(tmp_path / "epochs")))
        pid = next(pid for pid, epoch in epochs_of(tmp_path / "epochs") if epoch == 3)
        os.kill(pid, signal.SIGKILL)
        assert parent.wait(_PATIENCE) == 0
    finally:
        end([parent])
    check_epochs(tmp_path, 1)
    assert scores_of(sweep("keras-tuner", tmp_path)) == scores


def test_a_killed_search_ends_its_workers_and_is_resumed(tmp_path, scores):
    parent = start("keras-tuner", tmp_path, workers=2)
    try:
        wait_for(lambda: sum(epoch == 3 for _, epoch in epochs_of(tmp_path / "epochs")) == 2)
        workers = {pid for pid, _ in epochs_of(tmp_path / "epochs")}
        parent.kill()
        parent.wait()
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    finally:
        end([parent])
    made = search("keras-tuner", tmp_path, 1, seconds=0)
    check_epochs(tmp_path, 3)
    assert scores_of(made) == scores


def test_keras_tuner_s_chief_and_workers_with_one_killed(tmp_path, scores):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": port}
    names = ("chief", "tuner0", "tuner1")
    processes = {
        name: start("keras-tuner", tmp_path, **place, KERASTUNER_TUNER_ID=name) for name in names
    }
    try:
        wait_for(in_an_epoch(tmp_path, processes["tuner0"].pid, 3))
        processes["tuner0"].kill()
        processes["tuner0"].wait()
        # Under its name, by which the chief knows which trial it had.
        again = start("keras-tuner", tmp_path, **place, KERASTUNER_TUNER_ID="tuner0")
        processes["again"] = again
        for name in ("again", "tuner1", "chief"):
            assert processes[name].wait(_PATIENCE) == 0
    finally:
        end(processes.values())
    check_epochs(tmp_path, 1)
    assert scores_of(sweep("keras-tuner", tmp_path)) == scores


def test_three_processes_on_one_journal_with_one_killed(tmp_path, scores):
    processes = [start("optuna", tmp_path) for _ in range(3)]
    try:
        wait_for(in_an_epoch(tmp_path, processes[0].pid, 3))
        processes[0].kill()
        for process in processes[1:]:
            assert process.wait(_PATIENCE) == 0
    finally:
        end(processes)
    check_epochs(tmp_path, 1)
    assert scores_of(sweep("optuna", tmp_path)) == scores
