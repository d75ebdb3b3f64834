"""The best of the sparse epochs, and models that others have written to."""

import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_sparse as ks
from tests.training import compiled, dense_net, fit, nonzeros


class Overwrite(keras.callbacks.Callback):
    """Writes dense weights at the end of `fit`, as `restore_best_weights` does."""

    def on_train_end(self, logs=None):
        dense = [np.ones_like(w) for w in self.model.get_weights()]
        self.model.set_weights(dense)


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_a_dense_model_handed_back_is_noticed_in_any_order(images, order):
    callbacks = [ks.GMP(0.8), Overwrite()][order]
    with pytest.warns(ks.SparsityWarning, match="ended with 0"):
        fit(compiled(dense_net()), images, *callbacks)


def test_validation_metrics_exist_for_sparse_epochs_only(images):
    model = compiled(dense_net())
    logs = fit(model, images, ks.GMP(0.8, ks.OneShot(3)), validation_data=images).history
    sparse = np.array(logs["sparsity"]) > 0.79
    assert sparse.any()
    assert not sparse.all()
    for name, bad in (("loss", np.inf), ("accuracy", -np.inf)):
        column = np.where(sparse, logs[f"val_{name}"], bad)
        np.testing.assert_array_equal(logs[f"sparse_val_{name}"], column)


@pytest.mark.jax
def test_the_best_sparse_epoch_is_restored(images):
    model = compiled(dense_net())
    best = ks.SparseEarlyStopping(patience=1, restore_best_weights=True)
    logs = fit(model, images, ks.GMP(0.8, ks.OneShot(3)), best, validation_data=images).history
    assert len(logs["loss"]) > 4, "dense epochs do not count"
    assert ks.report(model).sparsity == pytest.approx(0.8, abs=2e-3)
    loss = model.evaluate(*images, batch_size=16, verbose=0)[0]
    assert loss == pytest.approx(min(logs["sparse_val_loss"]), rel=1e-5)
    with pytest.raises(ValueError, match="sparse_val_loss"):
        ks.SparseEarlyStopping("val_loss")


def test_model_checkpoint_keeps_a_sparse_epoch(images, tmp_path):
    path = tmp_path / "best.keras"
    best = ks.PlainCheckpoint(path, monitor="sparse_val_loss", mode="min", save_best_only=True)
    model = compiled(dense_net())
    fit(model, images, ks.GMP(0.8, ks.OneShot(3)), best, validation_data=images)
    assert ks.report(keras.saving.load_model(path)).sparsity == pytest.approx(0.8, abs=2e-3)


@pytest.mark.slow
def test_plain_checkpoints_load_without_the_package(images, tmp_path):
    path = tmp_path / "plain.keras"
    model = compiled(dense_net())
    fit(model, images, ks.RigL(0.8), ks.PlainCheckpoint(path))
    code = (
        f"import sys, keras; m = keras.saving.load_model({str(path)!r}); "
        "assert 'keras_sparse' not in sys.modules; "
        "print(sum(int((w != 0).sum()) for w in m.get_weights() if w.ndim > 1))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(ran.stdout) == nonzeros(model)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    ("policy", "method"),
    [
        pytest.param("float32", lambda: ks.GMP(0.8), marks=pytest.mark.jax),
        ("mixed_float16", lambda: ks.GMP(0.8)),
        ("float32", lambda: ks.DPF(0.8)),
    ],
)
def test_averages_are_as_sparse_as_the_model(images, tmp_path, first, policy, method):
    keras.config.set_dtype_policy(policy)
    try:
        model = compiled(dense_net(), keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9))
    finally:
        keras.config.set_dtype_policy("float32")
    path = tmp_path / "last.keras"

    class Look(keras.callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            if batch == 0:
                self.zeros = ks.report(self.model).sparsity

    look, swap = Look(), keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    callbacks = [method(), swap] if first else [swap, method()]
    callbacks += [keras.callbacks.ModelCheckpoint(path), look]
    logs = fit(model, images, *callbacks, validation_data=images).history
    saved = keras.saving.load_model(path, compile=False)
    for zeros in (logs["sparsity"][-1], look.zeros, ks.report(saved).sparsity):
        assert zeros == pytest.approx(0.8, abs=2e-3)
    assert ks.report(model).sparsity == pytest.approx(0.8, abs=2e-3)
    loss = model.evaluate(*images, batch_size=16, verbose=0)[0]
    assert loss == pytest.approx(logs["val_loss"][-1], rel=1e-2 if "16" in policy else 1e-5)


class Writes(keras.callbacks.Callback):
    """Writes dense weights between steps, as weight averaging does."""

    def __init__(self, event):
        super().__init__()
        self.event = event
        setattr(self, event, self._write)

    def _write(self, *_):
        for variable in self.model.trainable_variables:
            variable.assign(np.full(variable.shape, 0.01, "float32"))


@pytest.mark.jax
@pytest.mark.parametrize("event", ["on_test_begin", "on_epoch_begin"])
def test_what_others_write_is_masked(images, event):
    seen = []

    class Look(keras.callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            seen.append(ks.report(self.model).sparsity)

    model = compiled(dense_net())
    callbacks = [ks.StaticMask(0.8, seed=1), Writes(event), Look()]
    logs = fit(model, images, *callbacks, validation_data=images, epochs=2).history
    assert seen == [pytest.approx(0.8, abs=2e-3)] * len(seen)
    assert logs["sparsity"] == [pytest.approx(0.8, abs=2e-3)] * 2
