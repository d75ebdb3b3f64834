import keras
import numpy as np
import pytest
from keras import ops
from matplotlib.figure import Figure
from rich.console import Console

import keras_sparse as ks
from tests.training import compiled, conv_net, fit, values


@pytest.fixture
def trained(images):
    model = compiled(conv_net())
    fit(model, images, epochs=3)
    return model


def everything(model):
    return [
        np.array(ops.convert_to_numpy(v)) for v in [*model.variables, *model.optimizer.variables]
    ]


def by_hand(model, images, compress):
    """The accuracy of a compressed copy, before and after tuning."""
    copy = compiled(keras.models.clone_model(model))
    copy.set_weights(model.get_weights())
    compress(copy)
    before = copy.evaluate(*images, verbose=0)[1]
    ks.batch_norm_tuning(copy, images[0], batch_size=32, steps=None, momentum=None)
    return before, copy.evaluate(*images, verbose=0)[1]


@pytest.mark.jax
def test_one_shot_sweep_is_prune_and_tuning_on_copies(trained, images, tmp_path):
    before = everything(trained)
    sweep = ks.one_shot_sweep(
        trained,
        images,
        sparsities=[0.9],
        operators=["3bit"],
        calibration=images[0],
        tuning_batch_size=32,
        evaluate_untuned=True,
        path=tmp_path / "sweep.png",
        verbose=False,
    )
    for one, two in zip(before, everything(trained), strict=True):
        np.testing.assert_array_equal(one, two)
    assert [row.label for row in sweep.rows] == ["dense", "90%", "3bit"]
    assert (sweep.model, sweep.metric) == (trained.name, "accuracy")
    assert sweep.rows[0].before == trained.evaluate(*images, verbose=0)[1]
    ways = (lambda m: ks.prune(m, 0.9), lambda m: ks.compress(m, ks.Quantize(3)))
    for row, way in zip(sweep.rows[1:], ways, strict=True):
        assert (row.before, row.after) == pytest.approx(by_hand(trained, images, way), abs=1e-6)
    assert [row.sparsity for row in sweep.rows[:2]] == pytest.approx([0, 0.9], abs=1e-3)
    assert (tmp_path / "sweep.png").stat().st_size > 5000
    console = Console(record=True, width=100)
    sweep.print(console)
    assert f"{sweep.rows[1].after:.4f}" in console.export_text()
    assert sweep.to_dict()["rows"][1]["label"] == "90%"


def test_with_calibration_only_the_tuned_model_is_evaluated(trained, images, tmp_path):
    common = {"calibration": images[0], "tuning_batch_size": 32, "verbose": False}
    both = ks.one_shot_sweep(
        trained, images, sparsities=[0.5, 0.9], evaluate_untuned=True, **common
    )
    calls = []
    evaluate = trained.evaluate
    trained.evaluate = lambda *args, **kwargs: calls.append(0) or evaluate(*args, **kwargs)
    sweep = ks.one_shot_sweep(
        trained,
        images,
        sparsities=[0.5, 0.9],
        path=tmp_path / "sweep.png",
        **common,
    )
    assert len(calls) == 3
    assert [row.before for row in sweep.rows] == [both.rows[0].before, None, None]
    assert [row.after for row in sweep.rows] == [row.after for row in both.rows]
    console = Console(record=True, width=100)
    sweep.print(console)
    assert f"{sweep.rows[2].after:.4f}" in console.export_text()
    labels = [line.get_label() for line in sweep.plot().axes[0].lines]
    assert labels == ["dense", "after batch-norm tuning"]


def test_patterns_exclusions_and_no_tuning(trained, images):
    sweep = ks.one_shot_sweep(
        trained,
        images,
        sparsities=(),
        operators=["2:4"],
        exclude="conv",
        metric="loss",
        verbose=False,
    )
    assert sweep.rows[1].after is None
    assert sweep.rows[1].sparsity == 0.5
    assert sweep.metric == "loss"
    assert isinstance(sweep.plot(), Figure)


def test_an_error_leaves_the_model_as_it_was(trained, images):
    before = everything(trained)
    for arguments, words in (
        ({"sparsities": ()}, "nothing to compress by"),
        ({"operators": ["2:4"]}, "does not fit"),
        ({"metric": "f1"}, "not compiled with a metric 'f1'"),
        ({"calibration": images[0][:1]}, "1 calibration samples.*Give about 1,000"),
    ):
        with pytest.raises(ValueError, match=words):
            ks.one_shot_sweep(trained, images, verbose=False, **arguments)
    for one, two in zip(before, everything(trained), strict=True):
        np.testing.assert_array_equal(one, two)


def test_models_that_cannot_be_tuned_or_evaluated(images):
    plain = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(4)]
    )
    with pytest.raises(ValueError, match="not compiled"):
        ks.one_shot_sweep(plain, images)
    with pytest.raises(ValueError, match="nothing to tune"):
        ks.one_shot_sweep(compiled(plain), images, calibration=images[0], verbose=False)


@pytest.mark.jax
@pytest.mark.parametrize(
    ("momentum", "mean", "variance"), [(0.9, 1.999947, 3.99992), (0.99, 1.267935, 2.901903)]
)
def test_statistics_after_a_hundred_constant_batches(momentum, mean, variance):
    """A batch of mean 2 and biased variance 4, a hundred times."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.BatchNormalization()])
    batch = np.array([[0.0], [4.0]], "float32")
    ks.batch_norm_tuning(model, [batch], momentum=momentum)
    norm = model.layers[0]
    np.testing.assert_allclose(ops.convert_to_numpy(norm.moving_mean), [mean], rtol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(norm.moving_variance), [variance], rtol=1e-5)
    assert norm.momentum == 0.99


def test_pruning_in_two_steps_is_pruning_at_once(trained):
    copy = keras.models.clone_model(trained)
    copy.set_weights(trained.get_weights())
    ks.prune(copy, 0.8)
    ks.prune(trained, 0.5)
    ks.prune(trained, 0.8)
    for one, two in zip(values(copy), values(trained), strict=True):
        np.testing.assert_array_equal(one, two)
