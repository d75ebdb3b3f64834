"""Sweeps on an Optuna storage, in this process."""

import keras
import pytest

import keras_sparse as ks
from tests.tuning.networks import Epochs, Untrained, epochs_of, hypermodel, samples

pytest.importorskip("optuna")
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="trials keep backups that JAX fetches late"
)


def sweep(folder, model=None, objectives=("accuracy", "nonzeros"), **settings):
    model = model or Untrained()
    return ks.tuning.OptunaSweep(
        model, objectives, folder / "journal.log", **{"directory": folder, **settings}
    )


class KilledOnce(keras.callbacks.Callback):
    """Ends the search in the second epoch that it sees."""

    def __deepcopy__(self, memo):
        return self

    def __init__(self):
        super().__init__()
        self.left = 2

    def on_epoch_end(self, epoch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def test_a_trial_that_was_left_is_taken_over_from_its_last_epoch(tmp_path):
    data, killed = samples(32), KilledOnce()
    model = hypermodel(sparsity=[0.5, 0.8])
    fit = {"epochs": 3, "validation_data": data, "callbacks": [Epochs(tmp_path / "e"), killed]}
    with pytest.raises(KeyboardInterrupt):
        sweep(tmp_path, model, max_trials=1).search(*data, **fit)
    again = sweep(tmp_path, model, max_trials=1)
    again.search(*data, **fit)
    assert [epoch for _, epoch in epochs_of(tmp_path / "e")] == [0, 1, 1, 2]
    (trial,) = again.result().trials
    assert (trial.status, trial.executions[0]["epochs"]) == ("complete", 3)


@pytest.mark.parametrize("storage", ["journal", "sqlite"])
def test_storages_share_a_study(storage, tmp_path):
    place = f"sqlite:///{tmp_path}/study.db" if storage == "sqlite" else str(tmp_path / "log")
    made = [
        ks.tuning.OptunaSweep(Untrained(), "nonzeros", place, max_trials=n, directory=tmp_path)
        for n in (2, 3)
    ]
    for each in made:
        each.search()
    assert [len(each.result().trials) for each in made] == [3, 3]
    with pytest.raises(ValueError, match="has another space"):
        ks.tuning.OptunaSweep(hypermodel(), "nonzeros", place, directory=tmp_path)
    with pytest.raises(ValueError, match="has another objectives"):
        ks.tuning.OptunaSweep(Untrained(), "flops", place, directory=tmp_path)


@pytest.mark.parametrize("search", ["sobol", "random", "grid", "bayesian"])
def test_the_same_seed_gives_the_same_trials(search, tmp_path):
    found = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        # In two goes, and in one.
        for trials in (2, 4) if folder.name == "one" else (4,):
            made = sweep(folder, objectives="nonzeros", search=search, max_trials=trials, seed=3)
            made.search()
        found.append([trial.values for trial in made.result().trials])
    assert found[0] == found[1]
    assert len({str(values) for values in found[0]}) == 4


def test_hyperband_is_refused_with_its_reason(tmp_path):
    with pytest.raises(ValueError, match="of which halving needs one"):
        sweep(tmp_path, search="hyperband")
