"""Cyclic grow-and-prune: what each step would end with is scored, and the best is kept."""

import os

import keras
import numpy as np
import pytest

import keras_sparse as ks
from tests.training import (
    Interrupt,
    assert_same,
    compiled,
    conv_net,
    fit,
    kernels,
    nonzeros,
)


class TestCandidates:
    """What each step would end with is scored on validation data, and the best is kept."""

    @staticmethod
    def run(images, path, *callbacks, **kwargs):
        gap = ks.CyclicGaP(
            0.8,
            2,
            2,
            2,
            2,
            seed=0,
            validation_data=images,
            calibration=images[0],
            best_checkpoint=path,
            **kwargs,
        )
        model = compiled(conv_net())
        return model, fit(model, images, gap, *callbacks).history

    def test_the_best_is_kept_sparse(self, images, tmp_path):
        path = str(tmp_path / "best.weights.h5")
        _, logs = self.run(images, path)
        losses = np.array(logs["gap_candidate_loss"])
        assert np.isnan(losses[0])
        assert losses[1] == losses[2], "the latest candidate's, at the end of a step"
        assert os.listdir(tmp_path) == ["best.weights.h5"]
        best = compiled(conv_net(seed=5))
        best.load_weights(path)
        size = sum(kernel.size for kernel in kernels(best))
        assert nonzeros(best) <= size - round(0.8 * size)
        loss = best.evaluate(*images, verbose=0, return_dict=True)["loss"]
        assert loss == pytest.approx(np.nanmin(losses), rel=1e-5)

    @pytest.mark.jax
    def test_training_goes_on_as_without(self, images, tmp_path):
        model, logs = self.run(images, str(tmp_path / "best.weights.h5"))
        plain = compiled(conv_net())
        other = fit(plain, images, ks.CyclicGaP(0.8, 2, 2, 2, 2, seed=0)).history
        assert_same(model, plain)
        assert logs["loss"] == other["loss"]

    def test_a_candidate_is_tuned_to_its_pruning(self, images):
        """The dense model's statistics would not fit what is left of it."""
        gap = ks.CyclicGaP(0.9, 1, 1, 2, 1, seed=0, validation_data=images)
        model = compiled(conv_net())
        losses = []

        class ByHand(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                if epoch == 1:
                    other = compiled(conv_net())
                    other.set_weights(self.model.get_weights())
                    ks.prune(other, 0.9)
                    losses.append(other.evaluate(*images, verbose=0, return_dict=True)["loss"])
                    ks.batch_norm_tuning(other, images[0], steps=10, momentum=None)
                    losses.append(other.evaluate(*images, verbose=0, return_dict=True)["loss"])

        logs = fit(model, images, ByHand(), gap, epochs=3).history
        assert logs["gap_candidate_loss"][1] == pytest.approx(losses[1], rel=1e-4)
        assert losses[0] != pytest.approx(losses[1], rel=1e-2)

    @pytest.mark.parametrize("better", [True, False])
    def test_a_resumed_run_knows_the_best_so_far(self, images, tmp_path, better):
        """What lies in the file is scored again: here a model put there meanwhile."""
        path = str(tmp_path / "best.weights.h5")
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        with pytest.raises(KeyboardInterrupt):
            self.run(images, path, backup, Interrupt(5))
        other = compiled(conv_net())
        fit(other, images, epochs=40 if better else 1)
        other.save_weights(path, overwrite=True)
        loss = other.evaluate(*images, verbose=0, return_dict=True)["loss"]
        with open(path, "rb") as file:
            before = file.read()
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        _, resumed = self.run(images, path, backup)
        assert (loss < resumed["gap_candidate_loss"][0]) == better
        with open(path, "rb") as file:
            assert (file.read() == before) == better

    @pytest.mark.distributed
    def test_on_replicas(self, images, mirrored):
        def trained():
            model = compiled(conv_net())
            gap = ks.CyclicGaP(0.8, 1, 1, 1, 1, seed=0, validation_data=images)
            return model, fit(model, images, gap, epochs=2).history["gap_candidate_loss"]

        with mirrored.scope():
            model, losses = trained()
        assert np.isfinite(losses).all()
        size = sum(kernel.size for kernel in kernels(model))
        assert nonzeros(model) <= size - round(0.8 * size)
