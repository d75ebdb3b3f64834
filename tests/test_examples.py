"""The examples run, and the method that one of them adds keeps the engine's properties."""

import re
import runpy
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_sparse as ks
from tests.training import Probe, assert_same, compiled, conv_net, fit, kernels

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def shortened(tmp_path, monkeypatch, capsys):
    """Runs an example with other settings than it has, and gives what it prints."""

    def run(name, **settings):
        monkeypatch.chdir(tmp_path)
        main = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]
        main.__globals__.update(settings)
        main()
        return capsys.readouterr().out

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["quickstart", pytest.param("taylor_pruning", marks=pytest.mark.thorough)]
)
def test_runs(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert "of the prunable weights are zero" in capsys.readouterr().out
    if name == "quickstart":
        assert (tmp_path / "digits.tflite").stat().st_size > 10_000


@pytest.mark.slow
def test_streaming_digits_runs(shortened):
    forgetful, replaying, sparse = shortened("streaming_digits", IMAGES=400).splitlines()[-3:]
    last = [float(line.split("%")[4].split()[-1]) for line in (forgetful, replaying, sparse[14:])]
    assert last[0] < 30 < 75 < min(last[1:])


@pytest.mark.thorough
@pytest.mark.thorough
def test_sparse_transfer_runs(shortened):
    output = shortened("sparse_transfer", UPSTREAM_EPOCHS=6, EPOCHS=8)
    lines = [line for line in output.splitlines() if "zeros): full" in line]
    assert len(lines) == 3
    assert "(90% zeros)" in lines[1]
    best = [max(map(float, re.findall(r"([\d.]+)%(?=,| on)", line))) for line in lines]
    assert min(best) > 60
    assert output.count("of the dense model's") == 6


@pytest.mark.slow
@pytest.mark.thorough
def test_edge_mobilenet_runs(shortened, tmp_path):
    output = shortened("edge_mobilenet", EPOCHS=2)
    assert "of the prunable weights are zero" in output
    assert "have zeros that save time on xnnpack-arm" in output
    sizes = [(tmp_path / f"mobilenet{kind}.tflite").stat().st_size for kind in ("", "_dense")]
    assert 3 * sizes[0] < sizes[1]


@pytest.mark.slow
@pytest.mark.thorough
def test_cyclic_precision_runs(shortened):
    output = shortened("cyclic_precision", SCHEDULES=("RR",))
    assert "RR: " in output
    assert "CR and AC/DC at 90 % zeros: 9" in output


@pytest.mark.slow
@pytest.mark.thorough
def test_trainable_random_mask_runs(shortened, tmp_path):
    output = shortened("trainable_random_mask", LAYERS=5, WIDTH=64, EPOCHS=40)
    blocked, trained = (float(found) for found in re.findall(r": ([\d.]+)% of the test", output))
    assert blocked < 30 < 60 < trained
    for name in ("", "_signals"):
        assert (tmp_path / f"trainable_random_mask{name}.png").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.thorough
def test_compression_aware_runs(shortened, tmp_path):
    operators = {"sparsities": [0.9], "operators": ["3bit"]}
    output = shortened("compression_aware", EPOCHS=2, OPERATORS=operators)
    assert "after batch-norm tuning" in output
    assert "90.00% of the prunable weights are zero" in output
    assert (tmp_path / "cram.png").stat().st_size > 10_000


@pytest.mark.slow
def test_grow_and_prune_runs(shortened, tmp_path):
    output = shortened("grow_and_prune", STEPS=4, EPOCHS_PER_STEP=1, FINETUNE_EPOCHS=1, EPOCHS=5)
    assert "of the prunable weights are zero" in output
    assert "of the weights were trained at once" in output
    assert (tmp_path / "grow_and_prune.png").stat().st_size > 10_000


@pytest.mark.slow
def test_parallel_grow_and_prune_runs(shortened, tmp_path, monkeypatch):
    """As its only worker."""
    monkeypatch.setattr(ks.distribute, "connect", ks.distribute.alone)
    rounds = {"ROUNDS": 2, "EPOCHS_PER_ROUND": 1, "FINETUNE_EPOCHS": 1}
    output = shortened("parallel_grow_and_prune", **rounds)
    assert "of the prunable weights are zero" in output
    assert "the workers received 0 bytes" in output
    assert not list(tmp_path.iterdir()), "no backup is left"


@pytest.fixture(scope="module")
def taylor():
    return runpy.run_path(str(EXAMPLES / "taylor_pruning.py"))["TaylorPruning"]


def test_the_example_method_scores_by_gradient(taylor, images):
    """The weights kept at the first step are those of the largest |w * gradient| there."""
    import tensorflow as tf

    model = compiled(conv_net(), keras.optimizers.SGD(0.0))
    x, y = images
    with tf.GradientTape() as tape:
        loss = model.compute_loss(y=y[:16], y_pred=model(x[:16], training=True))
    gradients = tape.gradient(loss, model.trainable_variables)
    scores = np.concatenate(
        [
            np.abs(v.numpy() * g.numpy()).ravel()
            for v, g in zip(model.trainable_variables, gradients, strict=True)
            if len(v.shape) > 1
        ]
    )
    keep = scores.size - round(0.7 * scores.size)
    wanted = np.zeros(scores.size, bool)
    wanted[np.argsort(-scores, kind="stable")[:keep]] = True
    model = compiled(conv_net(), keras.optimizers.SGD(0.0))
    callback = taylor(0.7, ks.OneShot(0))
    probe = Probe(callback)
    masks = []

    class Masks(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            masks.append(np.concatenate([m.numpy().ravel() for m in callback.optimizer.masks]))

    fit(model, images, callback, probe, Masks(), epochs=1)
    assert all(probe.exact)
    # Scores that differ in the last bit may swap places at the threshold.
    assert np.mean(masks[0] != wanted) < 0.002


@pytest.mark.distributed
@pytest.mark.thorough
def test_gradient_scores_are_averaged_over_replicas(taylor, images, mirrored):
    def net():
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Flatten(), keras.layers.Dense(24, "relu"), keras.layers.Dense(4)]
        return keras.Sequential([keras.Input((8, 8, 1)), *layers])

    single = compiled(net())
    fit(single, images, taylor(0.7, ks.Polynomial(1, 3, every=1)))
    with mirrored.scope():
        model = compiled(net())
    fit(model, images, taylor(0.7, ks.Polynomial(1, 3, every=1)))
    for one, two in zip(kernels(model), kernels(single), strict=True):
        assert np.mean((one != 0) != (two != 0)) < 0.002
    assert_same(model, single, 1e-2)


@pytest.mark.slow
@pytest.mark.thorough
def test_sweep_runs(shortened, tmp_path):
    settings = {"METHODS": ["gmp"], "TRIALS": 2, "EPOCHS": 3, "WORKERS": 1}
    output = shortened("sweep", **settings)
    assert "that no other dominates" in output
    assert "% of the test images by the best model" in output
    assert (tmp_path / "digits_sweep" / "pareto.png").stat().st_size > 10_000


@pytest.mark.thorough
def test_sweep_is_killed_and_resumed(tmp_path):
    """As it stands: all that it has finished stays, and no epoch of the trial but the last one."""
    script = [sys.executable, str(EXAMPLES / "sweep.py")]
    trials = tmp_path / "digits_sweep" / "trials"

    def finished():
        return {path.parent.name for path in trials.glob("trial_*/result.json")}

    def backups():
        return list(trials.glob("trial_*/backup_0/epoch-0000[2-9].npz"))

    process = subprocess.Popen(script, cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 300
        while not (finished() and backups()):
            assert process.poll() is None
            assert time.monotonic() < deadline, "it takes too long"
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    before = {name: (trials / name / "result.json").stat().st_mtime_ns for name in finished()}
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "of 12 trials that no other dominates" in done.stdout
    assert len(finished()) == 12
    for name, when in before.items():
        assert (trials / name / "result.json").stat().st_mtime_ns == when
    assert len(list(trials.rglob("*.keras"))) == 5
    assert not list(trials.rglob("*.npz"))


@pytest.mark.slow
@pytest.mark.thorough
def test_gist_cora_runs(shortened, tmp_path):
    output = shortened("gist_cora", GRAPH="synthetic-sbm", WIDTH=64, EPOCHS=240)
    assert "of the weights between cut features were trained" in output
    assert float(re.search(r"([\d.]+)% of the test nodes", output)[1]) > 60  # chance is 20
    assert (tmp_path / "gist_cora.png").stat().st_size > 10_000
    assert keras.saving.load_model(tmp_path / "gist_cora.keras").count_params() > 0
