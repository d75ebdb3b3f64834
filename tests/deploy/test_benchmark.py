"""Latencies of files: the order of what differs much, and what is refused."""

import json

import keras
import pytest

from keras_sparse import cli, deploy


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A small and a large network."""
    folder, made = tmp_path_factory.mktemp("files"), []
    for name, units in (("large", 1024), ("small", 8)):
        model = keras.Sequential([keras.Input((units,)), keras.layers.Dense(units)])
        made.append(folder / f"{name}.tflite")
        deploy.to_litert(model, made[-1], sparse=False)
    return made


@pytest.mark.parametrize("kernels", ["all", "built-in"])
def test_more_computation_takes_more_time_and_memory(files, kernels):
    found = deploy.benchmark(files, runs=20, rounds=2, kernels=kernels)
    large, small = found.rows
    assert (large.path, small.path) == tuple(map(str, files))
    assert large.bytes == files[0].stat().st_size
    assert large.median > 2 * small.median > 0
    for row in found.rows:
        assert row.low <= row.median <= row.high
    if large.memory is not None:
        assert large.memory > small.memory + 1024 * 1024 * 2
    assert found.runs == 40


def test_what_empties_the_caches_is_not_counted_as_memory(files, capsys):
    warm, cold = (deploy.benchmark(files[0], 3, 1, cold=cold) for cold in (False, True))
    if warm.rows[0].memory is not None:
        assert abs(cold.rows[0].memory - warm.rows[0].memory) < 8 * 1024 * 1024
    cold.print()
    warm.print()
    assert capsys.readouterr().out.count("caches emptied") == 1
    with pytest.raises(ValueError, match="cold must be"):
        deploy.benchmark(files[0], cold="yes")


def test_the_picture_and_the_command(files, tmp_path, capsys):
    picture = tmp_path / "latency.png"
    command = ["benchmark", *map(str, files), "--runs", "3", "--picture", str(picture)]
    assert cli.main([*command, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 2
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert cli.main(["benchmark", str(tmp_path / "missing.tflite")]) == 2


def test_what_is_no_file_of_litert_is_refused(files, tmp_path):
    (tmp_path / "other.tflite").write_bytes(b"something else")
    with pytest.raises(ValueError, match="no LiteRT file"):
        deploy.benchmark([files[0], tmp_path / "other.tflite"])
    for paths in ([], 3, [3]):
        with pytest.raises(ValueError, match="paths must be"):
            deploy.benchmark(paths)
