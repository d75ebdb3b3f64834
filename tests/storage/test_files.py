"""A file is there whole or not at all."""

import os
import subprocess
import sys

import pytest

from keras_sparse.storage import files


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
