"""Starting workers on one machine: what they print, how they end, and starting again."""

import io
import signal
import subprocess
import sys
import time

import pytest
from rich.console import Console

from keras_sparse.cli import main
from keras_sparse.distribute import launch, read_cluster
from keras_sparse.distribute.launch import free_ports


def launched(tmp_path, code, *arguments, **given):
    """The status and the output of workers that run some code."""
    script = tmp_path / "script.py"
    script.write_text("import json, os, sys, time\n" + code)
    output = io.StringIO()
    console = Console(file=output, soft_wrap=True)
    return launch(script, arguments, console=console, **given), output.getvalue()


RANK = "rank = json.loads(os.environ['TF_CONFIG'])['task']['index']\n"


def test_each_has_its_tf_config_and_speaks_under_its_number(tmp_path):
    code = "print(os.environ['TF_CONFIG']); print(sys.argv[1:], file=sys.stderr)"
    status, output = launched(tmp_path, code, "--epochs", "3", workers=3)
    assert status == 0
    for rank in range(3):
        (own,) = [x for x in output.splitlines() if x.startswith(f'[worker {rank}] {{"cluster')]
        cluster = read_cluster({"TF_CONFIG": own.partition(" {")[1][1:] + own.partition(" {")[2]})
        assert (cluster.rank, len(cluster.addresses)) == (rank, 3)
        assert f"[worker {rank}] ['--epochs', '3']" in output


def test_output_comes_as_it_is_and_at_once(tmp_path):
    code = "print('[red]no markup[/red]', flush=True)\nprint('10%\\r90%\\r100%')"
    _, output = launched(tmp_path, code, workers=1)
    assert output.splitlines() == ["[worker 0] [red]no markup[/red]", "[worker 0] 100%"]


def test_the_first_to_fail_ends_the_others_and_gives_the_status(tmp_path):
    code = RANK + "time.sleep(0 if rank == 1 else 60)\nsys.exit(3 * rank)"
    began = time.monotonic()
    status, output = launched(tmp_path, code, workers=3)
    assert status == 3
    assert time.monotonic() - began < 20
    assert "worker 1 ended with status 3" in output


def test_a_worker_that_a_signal_ends(tmp_path):
    code = RANK + "os.kill(os.getpid(), 9) if rank == 0 else time.sleep(60)"
    status, output = launched(tmp_path, code, workers=2)
    assert status == 128 + 9
    assert "worker 0 ended with status 137" in output


def test_all_start_again(tmp_path):
    """The first time worker 1 fails; the second time all see that they have been there."""
    code = (
        RANK
        + """
mark = f"{sys.argv[1]}/{rank}"
if os.path.exists(mark):
    print("again")
    sys.exit(0)
open(mark, "w").close()
while not os.path.exists(f"{sys.argv[1]}/{1 - rank}"):
    time.sleep(0.01)
sys.exit(5) if rank == 1 else time.sleep(60)
"""
    )
    folder = tmp_path / "marks"
    folder.mkdir()
    status, output = launched(tmp_path, code, str(folder), workers=2, restarts=1)
    assert status == 0, output
    assert "all start again, restart 1 of 1" in output
    assert "[worker 0] again" in output
    assert "[worker 1] again" in output


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (signal.SIGINT, 130),
        pytest.param(signal.SIGTERM, 128 + signal.SIGTERM, marks=pytest.mark.thorough),
    ],
)
def test_ctrl_c_ends_all(tmp_path, sent, status):
    script = tmp_path / "script.py"
    script.write_text("import os, time\nprint('pid', os.getpid(), flush=True)\ntime.sleep(60)")
    words = [sys.executable, "-m", "keras_sparse.cli", "launch", "--workers", "2", str(script)]
    process = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Whoever runs the tests in the background of a shell has them ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    pids = [int(process.stdout.readline().split()[-1]) for _ in range(2)]
    process.send_signal(sent)
    _, errors = process.communicate(timeout=50)
    assert process.returncode == status
    assert ("Interrupted" in errors) == (sent == signal.SIGINT)
    for pid in pids:
        assert subprocess.run(["ps", "-p", str(pid)], capture_output=True).returncode == 1


def test_free_ports_are_distinct():
    assert len(set(free_ports(20))) == 20


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workers", "0", __file__], "workers must be an integer of at least 1"),
        (
            ["--workers", "2", "--restarts", "-1", __file__],
            "restarts must be an integer of at least 0",
        ),
        (["nothing.py"], "There is no script 'nothing.py'"),
    ],
)
def test_bad_arguments(capsys, words, message):
    assert main(["launch", *words]) == 2
    assert message in capsys.readouterr().err


def test_the_status_is_that_of_the_command(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import sys; sys.exit(int(sys.argv[2]))")
    assert main(["launch", "--workers", "1", str(script), "--status", "7"]) == 7
    assert main(["launch", "--workers", "1", str(script), "--status", "0"]) == 0
