"""Random labels, and what a model remembers of them."""

import numpy as np
import pytest

import keras_sparse as ks
from tests.training import compiled, dense_net


def test_random_labels():
    y = np.random.default_rng(1).integers(0, 10, 5000)
    found = ks.inject_random_labels(y, 1000, seed=3)
    assert np.array_equal(found.y[found.indices], found.given)
    assert np.array_equal(y[found.indices], found.true)
    untouched = np.setdiff1d(np.arange(5000), found.indices)
    assert len(untouched) == 4000
    assert np.array_equal(found.y[untouched], y[untouched])
    # Drawn from all ten classes, about a tenth keeps its label.
    assert 0.06 < (found.given == found.true).mean() < 0.14
    assert np.bincount(found.given, minlength=10).min() > 60
    others = ks.inject_random_labels(y[:, None], 1000, keep_true=False, seed=3)
    assert (others.given != others.true).all()
    assert np.bincount(others.given, minlength=10).min() > 60
    again = ks.inject_random_labels(y, 1000, seed=3)
    assert np.array_equal(found.y, again.y)
    assert not np.array_equal(found.y, ks.inject_random_labels(y, 1000, seed=4).y)


@pytest.mark.jax
def test_the_monitor_looks_at_the_weights_of_the_moment(images, tmp_path):
    x, y = images
    labels = ks.inject_random_labels(y, 24, keep_true=False)
    model = compiled(dense_net())
    monitor = ks.MemorizationMonitor(x, labels)
    acdc = ks.ACDC(0.9, schedule="DCDC")
    history = model.fit(
        x, labels.y, batch_size=48, epochs=4, verbose=0, callbacks=[acdc, monitor]
    ).history
    classes = model.predict(x[labels.indices], verbose=0).argmax(-1)
    assert history["memorization"][-1] == (classes == labels.given).mean()
    assert history["true_label_accuracy"][-1] == (classes == labels.true).mean()
    assert len(history["memorization"]) == 4
    picture = tmp_path / "memorization.png"
    ks.plots.memorization_curve(history, picture, title="AC/DC")
    assert picture.stat().st_size > 10_000
    with pytest.raises(ValueError, match="MemorizationMonitor"):
        ks.plots.memorization_curve({"loss": [1.0]})


def test_bad_input(images):
    x, y = images
    with pytest.raises(ValueError, match="argmax"):
        ks.inject_random_labels(np.eye(3), 2)
    with pytest.raises(ValueError, match="samples must be an integer from 1 to 96"):
        ks.inject_random_labels(y, 97)
    labels = ks.inject_random_labels(y, 10)
    with pytest.raises(ValueError, match="array of the 96 samples"):
        ks.MemorizationMonitor(x[:50], labels)
    with pytest.raises(ValueError, match=r"what ks\.inject_random_labels returns"):
        ks.MemorizationMonitor(x, y)
