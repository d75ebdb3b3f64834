"""Sweeps on keras-tuner: resumed, reproduced, bounded, with every oracle."""

import json

import keras
import keras_tuner
import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.tuning.trials import Trial, pareto_front
from tests.tuning.networks import Epochs, Untrained, build_model, epochs_of, hypermodel, samples

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="trials keep backups that JAX fetches late"
)


def tuner(folder, model=None, objectives=("accuracy", "nonzeros"), **settings):
    settings = {"max_trials": 2, **settings}
    model = model or hypermodel(sparsity=[0.5, 0.8])
    return ks.tuning.SparseTuner(model, objectives, directory=folder, **settings)


class KilledOnce(keras.callbacks.Callback):
    """Ends the search in some epoch of the second training that it sees."""

    left = 0

    def on_epoch_end(self, epoch, logs=None):
        KilledOnce.left -= 1
        if KilledOnce.left == 0:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A sweep that was never interrupted: its folder and its trials."""
    folder = tmp_path_factory.mktemp("whole")
    data = samples()
    made = tuner(folder, executions_per_trial=2, keep_models=1)
    made.search(*data, epochs=3, batch_size=16, validation_data=data)
    return folder / "sweep", made


def test_a_trial_that_was_killed_goes_on_from_its_last_epoch(whole, tmp_path):
    data, file = samples(), tmp_path / "epochs"
    KilledOnce.left = 3 + 3 + 2  # in the second epoch of the second trial
    settings = {"executions_per_trial": 2, "keep_models": 1}
    fit = {"epochs": 3, "batch_size": 16, "validation_data": data}
    callbacks = [Epochs(file), KilledOnce()]
    with pytest.raises(KeyboardInterrupt):
        tuner(tmp_path, **settings).search(*data, **fit, callbacks=callbacks)
    begun = [epoch for _, epoch in epochs_of(file)]
    assert begun == [0, 1, 2, 0, 1, 2, 0, 1]
    resumed = tuner(tmp_path, **settings)
    resumed.search(*data, **fit, callbacks=callbacks)
    # The epoch that was killed at its end is made again, those before it are not.
    assert [epoch for _, epoch in epochs_of(file)] == [*begun, 1, 2, 0, 1, 2]
    unlike = ("seconds", "cpu_seconds")
    for one, two in zip(resumed.result().trials, whole[1].result().trials, strict=True):
        assert (one.values, one.status, one.scores) == (two.values, two.status, two.scores)
        for a, b in zip(one.executions, two.executions, strict=True):
            logs = [{k: v for k, v in e["logs"].items() if k not in unlike} for e in (a, b)]
            assert logs[0] == logs[1]


def test_scores_of_each_execution_are_kept(whole):
    _, made = whole
    for trial in made.result().trials:
        assert [each["seed"] for each in trial.executions] == [0, 1]
        scores = [each["scores"]["accuracy"] for each in trial.executions]
        assert trial.scores["accuracy"] == pytest.approx(np.mean(scores))
        known = made.oracle.get_trial(trial.name.removeprefix("trial_")).score
        assert known == pytest.approx(trial.scores["accuracy"])


def test_only_the_best_models_stay_and_no_backup(whole):
    folder, made = whole
    assert len(list(folder.rglob("*.keras"))) == 1
    assert not list(folder.rglob("*.npz"))
    (best,) = made.get_best_models(1)
    first = made.result().best
    kernels = [v for v in best.trainable_variables if v.name == "kernel"]
    zeros = np.mean(np.concatenate([np.ravel(v) for v in kernels]) == 0)
    assert zeros == pytest.approx(first.values["sparsity"], abs=0.02)
    with pytest.raises(FileNotFoundError, match="larger keep_models"):
        made.get_best_models(2)


def test_the_result_is_a_table_a_picture_and_json(whole, tmp_path, capsys):
    result = whole[1].result()
    result.print()
    assert "that no other dominates" in capsys.readouterr().out
    result.plot(tmp_path / "pareto.png")
    assert (tmp_path / "pareto.png").stat().st_size > 5_000
    result.write(tmp_path / "sweep.json")
    content = json.loads((tmp_path / "sweep.json").read_text("utf-8"))
    assert content["front"] == [trial.name for trial in result.front]
    assert len(content["trials"]) == 2


def test_the_front_is_what_no_other_trial_dominates():
    objectives = tuple(ks.tuning.Objective(name) for name in ("accuracy", "bytes"))
    points = {"a": (0.9, 10), "b": (0.8, 5), "c": (0.8, 7), "d": (0.95, 20), "e": (0.99, 1)}
    trials = [
        Trial(name, {}, "complete", {"accuracy": accuracy, "bytes": size}, [])
        for name, (accuracy, size) in points.items()
    ]
    trials[-1] = trials[-1]._replace(status="infeasible")
    assert [trial.name for trial in pareto_front(trials, objectives)] == ["d", "a", "b"]


@pytest.mark.parametrize("oracle", ["sobol", "random", "grid", "bayesian", "hyperband"])
def test_every_oracle_searches_and_goes_on(oracle, tmp_path):
    def search(trials):
        made = tuner(tmp_path, Untrained(), "nonzeros", oracle=oracle, max_trials=trials)
        made.search()
        return [trial.values for trial in made.result().trials]

    if oracle == "hyperband":
        made = tuner(tmp_path, Untrained(), "nonzeros", oracle=oracle, max_epochs=3)
        made.search()
        lengths = [trial.values["tuner/epochs"] for trial in made.result().trials]
        assert (min(lengths), max(lengths)) == (1, 3)
        return
    first = search(3)
    assert len(first) == 3
    both = search(5)
    assert both[:3] == first
    assert len({json.dumps(values) for values in both}) == 5


def test_the_sobol_oracle_makes_the_points_that_it_should(tmp_path):
    made = tuner(tmp_path, Untrained(), "nonzeros", max_trials=4)
    made.search()
    rates = [trial.values["rate"] for trial in made.result().trials]
    places = ks.tuning.sobol_points(2, 4)[:, 1]
    assert rates == pytest.approx([ks.tuning.LogUniform(1e-3, 1).value(u) for u in places])


def test_trials_that_diverge_do_not_end_a_search(tmp_path):
    made = tuner(tmp_path, Untrained(failing=True), ("accuracy", "nonzeros"), max_trials=5)
    made.search()
    result = made.result()
    assert [trial.status for trial in result.trials] == ["infeasible"] * 5
    assert all(trial.scores["accuracy"] == 0 for trial in result.trials)
    assert all(trial.scores["nonzeros"] > 0 for trial in result.trials)
    with pytest.raises(ValueError, match="None of 5 trials is complete"):
        _ = result.best


def test_a_training_that_is_no_number_is_such_a_trial(tmp_path):
    x, y = samples(16)
    made = tuner(tmp_path, max_trials=1)
    made.search(x * np.float32("nan"), y, epochs=2, validation_data=(x, y))
    (trial,) = made.result().trials
    assert (trial.status, trial.executions[0]["epochs"]) == ("infeasible", 0)


def test_another_space_in_the_same_folder_is_refused(tmp_path):
    tuner(tmp_path, Untrained(), "nonzeros", max_trials=1).search()
    with pytest.raises(ValueError, match=r"searches another space: .*learning_rate.* differ"):
        tuner(tmp_path)


def test_callbacks_work_in_a_run_trial_of_one_s_own(tmp_path):
    class Plain(keras_tuner.RandomSearch):
        def run_trial(self, trial, x, y, verbose):
            model = build_model(trial.hyperparameters)
            sparsity = trial.hyperparameters.Float("sparsity", 0.5, 0.9)
            model.fit(x, y, epochs=2, verbose=0, callbacks=[ks.GMP(sparsity)])
            return {"nonzeros": ks.report(model).nonzeros}

    objective = keras_tuner.Objective("nonzeros", "min")
    plain = Plain(objective=objective, max_trials=1, directory=tmp_path, seed=1)
    plain.search(*samples(16), verbose=0)
    (trial,) = plain.oracle.get_best_trials()
    assert trial.score < 144 * (1 - trial.hyperparameters["sparsity"]) + 20  # with biases


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"methods": ["acdx"]}, "Unknown method: 'acdx'. Did you mean 'acdc'"),
        ({"methods": []}, "methods must be names"),
        ({"sparsity": 1.5}, "sparsity must be"),
        ({"sparsity": "half"}, "sparsity must be"),
        ({"build_model": "model"}, "build_model must be"),
    ],
)
def test_a_hypermodel_refuses_what_it_cannot_train(settings, message):
    with pytest.raises(ValueError, match=message):
        ks.tuning.SparseHyperModel(**{"build_model": build_model, **settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objectives": ()}, "objectives must be"),
        ({"objectives": ("accuracy", "accuracy")}, "stands there twice"),
        ({"oracle": "sobul"}, "Did you mean 'sobol'"),
        ({"max_trials": 0}, "max_trials must be"),
        ({"model": build_model}, "hypermodel must be"),
    ],
)
def test_a_tuner_refuses_what_it_cannot_search(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        tuner(tmp_path, **settings)


def test_an_objective_that_is_not_logged_is_named(tmp_path):
    made = tuner(tmp_path, max_trials=3, objectives="accuracy")
    with pytest.raises(RuntimeError, match="give validation_data"):
        made.search(*samples(16), epochs=1)


def test_methods_that_look_at_data_get_some():
    model = ks.tuning.SparseHyperModel(build_model, ["dense", "snip", ks.RigL], [0.5, 0.9])
    hp = keras_tuner.HyperParameters()
    assert model.callback(hp, samples()) is None
    hp.values |= {"method": "snip", "sparsity": 0.5}
    assert model.callback(hp, samples(8)).data[0].shape == (8, 6)
    with pytest.raises(ValueError, match="scores weights on data"):
        model.callback(hp, [iter(())])
    hp.values |= {"method": "rigl", "sparsity": 0.9}
    assert model.callback(hp, ()).recipe.sparsity == 0.9
