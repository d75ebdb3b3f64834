"""One process at a time in a folder, and none that has ended."""

import os
import signal
import subprocess
import sys

import pytest

from keras_sparse.storage.lock import FolderInUseError, locked

HOLD = """
import pathlib, runpy, sys
locked = runpy.run_path(sys.argv[1])["locked"]
with locked(pathlib.Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that has locked the folder."""
    import keras_sparse.storage.lock as module

    command = [sys.executable, "-c", HOLD, module.__file__, str(tmp_path / "run")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_process_names_the_first(holder, tmp_path):
    with (
        pytest.raises(FolderInUseError, match=rf"run' is in use by process {holder.pid}\."),
        locked(tmp_path / "run"),
    ):
        pass


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_was_killed_holds_nothing(holder, tmp_path, how):
    holder.send_signal(how)
    holder.wait()
    with locked(tmp_path / "run"):
        assert (tmp_path / "run" / ".lock").read_text() == f"{os.getpid()}\n"


def test_leaves_nothing_where_nothing_was_written(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "a" / "b"):
        1 / 0  # noqa: B018
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "file").touch()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["file"]


def test_one_after_the_other(tmp_path):
    for _ in range(2):
        with locked(tmp_path):
            pass
