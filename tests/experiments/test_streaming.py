"""The `stream` command: what it leaves, what it refuses, and that it goes on where it was."""

import dataclasses
import json

import numpy as np
import pytest

from keras_sparse.cli import main
from keras_sparse.experiments.stream_config import METHODS, StreamConfig, model_of, stream_of
from keras_sparse.experiments.stream_objects import similar_images
from keras_sparse.experiments.stream_run import stream_run
from keras_sparse.experiments.stream_summary import omegas
from keras_sparse.streaming import orderings
from keras_sparse_cli.options import STREAM_OPTIONS

SMALL = {"limit": 60, "capacity": 20, "replay": 10, "base_epochs": 2, "offline_epochs": 2}


def test_the_options_are_fields_with_their_defaults():
    fields = {field.name: field.default for field in dataclasses.fields(StreamConfig)}
    for name, option in STREAM_OPTIONS.items():
        assert fields[name] == option.default, name


def test_images_are_those_of_the_data_set():
    stream = stream_of(StreamConfig(limit=100))
    assert stream.x.dtype == np.uint8
    assert stream.x.max() == 240
    assert len(stream.order.ends) == 5
    mean, std = stream.standardize
    whole = stream_of(StreamConfig())
    assert abs((whole.x - np.float64(mean)).mean() / std[0]) < 0.01
    noisy = stream_of(StreamConfig(limit=100, noise=50))
    assert 20 < np.abs(noisy.x.astype(int) - stream.x).mean() < 60


def test_objects_are_groups_of_similar_images():
    generator = np.random.default_rng(0)
    turned, y = generator.permutation(40), generator.integers(0, 2, 40)
    x = np.zeros((40, 4, 4, 1), np.uint8)
    x[np.arange(40), y, 0, 0] = 10 + 2 * turned + 100 * (turned >= 20)
    rows, groups = similar_images(x, y, per_class=2)
    assert sorted(rows) == list(range(40))
    shown = turned[rows]
    for group in range(4):
        steps = shown[groups == group]
        assert len(set(y[rows][groups == group])) == len(set(steps >= 20)) == 1
        assert (np.diff(steps) > 0).all() or (np.diff(steps) < 0).all()


@pytest.mark.parametrize("order", orderings.NAMES)
def test_a_stream_in_every_order(order):
    stream = stream_of(StreamConfig(limit=80, order=order))
    assert sorted(stream.order.indices) == list(range(80))
    assert stream.order.by_class == order.startswith("class")


BY_DEFAULT = ("cssl", "slda")


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [
        *BY_DEFAULT,
        *(
            pytest.param(name, marks=pytest.mark.thorough)
            for name in (*METHODS, "offline")
            if name not in BY_DEFAULT
        ),
    ],
)
def test_each_method_runs(method, tmp_path):
    result = stream_run({**SMALL, "method": method}, tmp_path)
    assert len(result["accuracies"]) == 5
    json.dumps(result)
    if method != "offline":
        assert np.sum(result["confusion"]) > 0
        assert omegas([result], [{"accuracies": [0.5] * 5}])[0] > 0
    if method == "sparse-cssl":
        assert result["zeros"] > 0.8


@pytest.mark.slow
@pytest.mark.thorough
def test_the_command_leaves_a_table_and_pictures_and_does_nothing_twice(tmp_path, capsys):
    words = ["stream", "--method", "cssl", "--seeds", "1", "--out", str(tmp_path / "out")]
    for name, value in {**SMALL, "limit": 40}.items():
        words += ["--" + name.replace("_", "-"), str(value)]
    assert main(words) == 0
    out = tmp_path / "out"
    content = json.loads((out / "results.json").read_text("utf-8"))
    assert set(content["results"]) == {"offline", "cssl"}
    assert "| cssl |" in (out / "table.md").read_text("utf-8")
    for name in ("table", "memory", "reliability_cssl", "confusion_cssl", "buffer_cssl"):
        assert (out / f"{name}.png").stat().st_size > 5_000
    assert main([*content["command"].split()[1:-1], str(out)]) == 0
    assert json.loads((out / "results.json").read_text("utf-8"))["results"] == content["results"]


def test_a_run_that_was_interrupted_goes_on(tmp_path, monkeypatch):
    from keras_sparse.experiments import stream_run as module

    whole = stream_run(SMALL, tmp_path / "whole")
    fit, steps = module.StreamLearner.fit_stream, []

    def interrupted(self, *arguments, **named):
        def stop(done):
            if done == 25:
                raise KeyboardInterrupt

        return fit(self, *arguments, **{**named, "backup_every": 10}, after=stop)

    with monkeypatch.context() as patch:
        patch.setattr(module.StreamLearner, "fit_stream", interrupted)
        with pytest.raises(KeyboardInterrupt):
            stream_run(SMALL, tmp_path / "half")
    assert (tmp_path / "half" / "states" / "step-00020.npz").exists()

    def counted(self, *arguments, **named):
        return fit(self, *arguments, **named, after=steps.append)

    monkeypatch.setattr(module.StreamLearner, "fit_stream", counted)
    resumed = stream_run(SMALL, tmp_path / "half")
    assert steps[0] == 21
    drop = {"seconds"}
    assert {k: v for k, v in resumed.items() if k not in drop} == {
        k: v for k, v in whole.items() if k not in drop
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "ssl"], "Did you mean 'cssl'"),
        (["--method", "cssl", "--order", "sorted"], "order must be one of"),
        (["--method", "cssl", "--bits", "9"], "bits must be an integer from 1 to 8"),
        (["--method", "cssl", "--data", "cifar"], "Did you mean 'cifar10"),
        (["--method", "cssl", "--seeds", "0"], "seeds must be an integer of at least 1"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_done(words, message, tmp_path, capsys):
    assert main(["stream", *words, "--out", str(tmp_path / "out")]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_models_have_the_layers_that_methods_cut_at():
    for name in ("mlp", "conv", "small-conv"):
        config = StreamConfig(model=name, limit=20)
        model = model_of(config, stream_of(config))
        assert {"middle", "features"} <= {layer.name for layer in model.layers}
