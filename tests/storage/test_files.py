"""A file is there whole or not at all."""

import errno
import os
import subprocess
import sys

import numpy as np
import pytest

from keras_sparse.storage import files
from keras_sparse.storage.states import StateFiles


@pytest.fixture
def path(tmp_path):
    """An earlier export."""
    path = tmp_path / "m.tflite"
    path.write_bytes(b"earlier")
    return path


def test_file_is_replaced_and_nothing_else_is_left(path):
    files.replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_interrupted_write_leaves_nothing(path, monkeypatch, failing, error):
    def fail(*args):
        raise error

    monkeypatch.setattr(files.os, failing, fail)
    with pytest.raises(type(error)):
        files.replace_file(path, b"new" * 1000)
    monkeypatch.undo()
    assert path.read_bytes() == b"earlier"
    assert os.listdir(path.parent) == [path.name]


def test_killed_process_leaves_the_earlier_file_whole(path):
    code = (
        "import os, sys, pathlib, runpy\n"
        "replace_file = runpy.run_path(sys.argv[1])['replace_file']\n"
        "os.replace = lambda *a: os._exit(9)\n"
        "replace_file(pathlib.Path(sys.argv[2]), b'x' * 1000)"
    )
    arguments = [sys.executable, "-c", code, files.__file__, str(path)]
    done = subprocess.run(arguments, check=False)
    assert done.returncode == 9
    assert path.read_bytes() == b"earlier"
    leftover = set(os.listdir(path.parent)) - {path.name}
    assert len(leftover) == 1
    files.remove_leftovers(path.parent, "other")
    assert set(os.listdir(path.parent)) == {path.name, *leftover}
    files.remove_leftovers(path.parent)
    assert os.listdir(path.parent) == [path.name]


def test_a_full_disk_names_the_file_and_the_cure(path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left.*kept\. Make room.*m\.tflite") as caught:
        files.replace_file(path, b"new")
    assert caught.value.errno == errno.ENOSPC


def test_a_damaged_file_is_named_with_its_cure(path):
    path.write_text('{"accuracy": 0.')
    with pytest.raises(ValueError, match=r"m\.tflite' is damaged \(.*\)\. Delete it"):
        files.read_json(path, "Delete it.")


def test_a_backup_cleans_up_after_one_that_was_killed(tmp_path):
    states = StateFiles(tmp_path, "round")
    states.write(1, "first", [np.zeros(3)])
    for name in (".round-00002.npz.", ".epoch-00002.npz.", ".mine."):
        (tmp_path / f"{name}{'0' * 32}.tmp").touch()
    assert states.newest()[0] == "first"
    left = {path.name.partition(".npz")[0] for path in tmp_path.glob(".*.tmp")}
    assert left == {".epoch-00002", f".mine.{'0' * 32}.tmp"}
