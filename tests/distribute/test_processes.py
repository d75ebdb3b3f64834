"""Workers that are processes, over the loopback device: trained, killed, and trained on."""

import io
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest
from rich.console import Console

import keras_sparse as ks
from keras_sparse.distribute.cluster import tf_config
from keras_sparse.distribute.connection import lost_by_message
from keras_sparse.distribute.launch import free_ports
from keras_sparse.distribute.rounds import RECORD_BYTES
from keras_sparse.storage.processes import environment
from tests.distribute.train_in_parallel import train

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("train_in_parallel.py")
# Stated are 30; the end of the process takes its time too, on a machine that others use.
NOTICED_SECONDS = 120

pytestmark = [
    pytest.mark.distributed,
    pytest.mark.xdist_group("processes"),
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow", reason="workers are connected by tf.distribute"
    ),
]


class Runs(NamedTuple):
    """What a run of which a worker is killed left, and the one that went on with it."""

    killed_codes: list
    killed_outputs: list
    backups: list
    status: int
    output: str
    left: list
    files: list


def start(words, rank, ports):
    addresses = [f"127.0.0.1:{port}" for port in ports]
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *map(str, words)],
        env={**environment(1), "TF_CONFIG": tf_config(addresses, rank)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    backup = out / "backup"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        ports = free_ports(2)
        processes = [start([out, backup, 1, 2], rank, ports) for rank in range(2)]
        processes[1].wait(600)
        processes[0].wait(NOTICED_SECONDS)
        outputs = [process.communicate()[0] for process in processes]
        backups = sorted(path.name for path in backup.iterdir())
        output = io.StringIO()
        console = Console(file=output, soft_wrap=True)
        words = [str(out), str(backup)]
        status = ks.distribute.launch(SCRIPT, words, workers=2, threads=1, console=console)
    return Runs(
        killed_codes=[process.returncode for process in processes],
        killed_outputs=outputs,
        backups=backups,
        status=status,
        output=output.getvalue(),
        left=sorted(path.name for path in out.iterdir()),
        files=[dict(np.load(path)) for path in sorted(out.glob("worker-*.npz"))],
    )


@pytest.fixture(scope="module")
def whole():
    """The same training with threads for workers, and nothing that disturbs it."""
    return ks.distribute.in_threads(train, 2)


def weights(file):
    return [value for name, value in file.items() if name.startswith("v")]


@pytest.mark.slow
class TestKilled:
    def test_the_other_worker_notices_and_names_it(self, runs):
        assert runs.killed_codes == [1, -9], runs.killed_outputs
        lost = r"WorkerLostError: Lost worker 1 \(127\.0\.0\.1:\d+\)"
        assert re.search(lost, runs.killed_outputs[0]), runs.killed_outputs[0]

    def test_the_rounds_before_are_kept(self, runs):
        assert runs.backups == ["round-00001.npz", "round-00002.npz"]


@pytest.mark.slow
class TestResumed:
    def test_it_ends_well_and_says_who_speaks(self, runs):
        assert runs.status == 0, runs.output
        for rank in range(2):
            assert f"[worker {rank}] done {rank} of 2" in runs.output
        assert runs.left == ["worker-0.npz", "worker-1.npz"], "and no backup"

    def test_finished_rounds_are_not_trained_again(self, runs):
        assert [file["steps"].tolist() for file in runs.files] == [[2, 3], [2]]

    def test_all_workers_end_with_one_sparse_model(self, runs):
        one, two = map(weights, runs.files)
        for a, b in zip(one, two, strict=True):
            np.testing.assert_array_equal(a, b)
        kernels = [value for value in one if value.ndim > 1]
        size = sum(kernel.size for kernel in kernels)
        assert sum(map(np.count_nonzero, kernels)) == size - round(0.8 * size)

    def test_equals_a_training_that_nothing_disturbed(self, runs, whole):
        for a, b in zip(weights(runs.files[0]), whole[0][0], strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)

    def test_the_traffic_is_the_closed_form(self, runs):
        size = sum(value.nbytes for value in weights(runs.files[0]))
        per_round = size + 2 * (RECORD_BYTES + 8)
        for file in runs.files:
            assert file["traffic"][0] == per_round
            # Beyond it: what all agree upon, the state to go on with, and the model at the end.
            assert 0 < file["received"] - per_round - 2 * size < 10_000


def test_tensors_made_too_early_are_named(monkeypatch):
    keras.ops.zeros(1)
    monkeypatch.setenv("TF_CONFIG", tf_config([f"127.0.0.1:{free_ports(1)[0]}"], 0))
    with pytest.raises(RuntimeError, match=r"Call connect\(\) first in the script"):
        ks.distribute.connect()


@pytest.mark.parametrize(
    ("message", "lost"),
    [
        (
            "Collective ops is aborted by: Error reported from /job:worker/task:1: The following "
            "tasks are unhealthy (stopped sending heartbeats):\n/job:worker/replica:0/task:1\n"
            "/job:worker/replica:0/task:2\nThe tasks have crashed. Check the task logs",
            [1, 2],
        ),
        (
            "Collective ops is aborted by: Socket closed\nAdditional GRPC error information from "
            "remote target /job:worker/replica:0/task:0 while calling /tensorflow.WorkerService",
            [0],
        ),
        (
            "Collective ops is aborted by: Deadline Exceeded\n"
            "RPC: /tensorflow.CoordinationService/Heartbeat",
            [0],
        ),
        ("something else about /job:worker/replica:0/task:1", []),
    ],
)
def test_what_tensorflow_says_of_a_machine_that_is_gone(message, lost):
    jobs = [("worker", i) for i in range(3)]
    assert lost_by_message(message, jobs) == lost
    error = ks.distribute.WorkerLostError(lost, ["h0:1", "h1:1", "h2:1"])
    named = " and ".join(f"worker {i} (h{i}:1)" for i in lost) or "another worker"
    assert str(error).startswith(f"Lost {named}: ")
