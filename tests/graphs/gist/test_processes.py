"""Workers that are processes: they agree with one process, and are replaced."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from rich.console import Console

import keras_sparse as ks
from keras_sparse import graphs
from keras_sparse.distribute.worker_processes import WorkerProcesses
from keras_sparse.storage.processes import environment
from tests.graphs.gist.processes import train
from tests.graphs.gist.small import assert_same

ROOT = Path(__file__).parents[3]

pytestmark = [pytest.mark.slow, pytest.mark.distributed, pytest.mark.xdist_group("processes")]


@pytest.fixture(scope="module")
def sequential():
    return train("sequential")


@pytest.fixture(scope="module")
def killed():
    """A training of which a worker is killed before its third round."""
    made = []

    class Seen(WorkerProcesses):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

    class Killing(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                os.kill(made[0].processes()[1], signal.SIGKILL)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_sparse.graphs.gist.backends.WorkerProcesses", Seen)
        return train("process", None, Killing()), made[0]


def test_a_killed_worker_is_replaced_and_its_round_done_again(sequential, killed):
    (weights, history, _), workers = killed
    assert workers.restarted == 1
    assert_same(weights, sequential[0])
    assert history["loss"] == pytest.approx(sequential[1]["loss"], rel=1e-5)


def test_bytes_measured_are_those_of_the_closed_form(sequential, killed):
    (_, history, model), _ = killed
    a_round = graphs.communication_volume(model, 2, 1) * 4
    assert sequential[1]["comm_bytes"] == [a_round * number for number in (1, 2, 3, 4, 5)]
    assert history["comm_bytes"][:2] == [a_round, 2 * a_round]
    # What the killed worker was sent was sent again, if it was still there to be written to.
    again = history["comm_bytes"][-1] - 5 * a_round
    assert 0 <= again < a_round / 2


def test_processes_are_gone_afterwards(killed):
    with pytest.raises(KeyError):
        killed[1].processes()


@pytest.mark.thorough
def test_a_killed_server_leaves_a_backup_to_go_on_with(sequential, tmp_path):
    script = Path(__file__).with_name("killed_server.py")
    ended = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "backup")],
        env={**environment(1), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    weights, history, _ = train("sequential", tmp_path / "backup")
    assert_same(weights, sequential[0])
    assert history["loss"] == pytest.approx(sequential[1]["loss"][2:], rel=1e-5)
    assert not (tmp_path / "backup").exists()


@pytest.mark.thorough
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="workers are connected by tf.distribute"
)
def test_launched_workers_agree_with_one_process(sequential, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    script = Path(__file__).with_name("launched.py")
    said = io.StringIO()
    console = Console(file=said, soft_wrap=True)
    status = ks.distribute.launch(script, [str(tmp_path)], threads=1, console=console)
    assert status == 0, said.getvalue()
    for rank in range(2):
        found = dict(np.load(tmp_path / f"worker-{rank}.npz"))
        assert found.pop("loss") == pytest.approx(sequential[1]["loss"], rel=1e-5)
        assert_same(list(found.values()), sequential[0])
