"""The rivals' own arithmetic by hand, and that each learns, forgets nothing of its state, and what
it freezes stays."""

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from keras_sparse.experiments.stream_config import StreamConfig, model_of, stream_of
from keras_sparse.streaming import (
    E2EIL,
    REMIND,
    DeepSLDA,
    ExStream,
    FineTuning,
    ICaRL,
    ProductQuantizer,
    StreamingLDA,
    StreamingLearner,
    freeze_first,
    herding,
    orderings,
)
from keras_sparse.streaming.rivals.exstream import Prototypes
from keras_sparse.streaming.rivals.remind import random_resized_crop
from tests.streaming.streams import STANDARD, assert_same, conv_net, patterns, weights


def test_the_covariance_of_slda_by_hand():
    lda = StreamingLDA(2, 2)
    for z, y in (([2, 0], 0), ([0, 2], 1), ([4, 0], 0)):
        lda.update(np.array(z, float), y)
    np.testing.assert_allclose(lda.means, [[3, 0], [0, 2]])
    np.testing.assert_allclose(lda.covariance, np.diag([8 / 9, 2 / 3]))
    assert lda.counts.tolist() == [2, 1]


def test_slda_tells_apart_as_discriminant_analysis_does():
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 400)
    z = random.normal(size=(400, 5)) @ random.normal(size=(5, 5)) + 2 * np.eye(5)[y]
    lda = StreamingLDA(5, 4)
    for each, label in zip(z, y, strict=True):
        lda.update(each, label)
    for label in range(3):
        np.testing.assert_allclose(lda.means[label], z[y == label].mean(0))
    priors = [1 / 3] * 3
    expected = LinearDiscriminantAnalysis(solver="lsqr", priors=priors).fit(z, y).predict(z)
    assert (lda.scores(z).argmax(1) == expected).mean() > 0.97
    assert np.isneginf(lda.scores(z)[:, 3]).all()


def test_the_two_closest_prototypes_become_their_weighted_mean():
    held = Prototypes(2)
    held.add(np.array([0, 0], np.float32))
    held.add(np.array([1, 0], np.float32))
    held.counts = np.array([1, 3])
    held.add(np.array([9, 9], np.float32))
    assert held.vectors.tolist() == [[0.75, 0], [9, 9]]
    assert held.counts.tolist() == [4, 1]
    held.add(np.array([8, 9], np.float32))
    assert held.counts.sum() == 6


def test_prototypes_stand_for_all_examples():
    held, random = Prototypes(5), np.random.default_rng(0)
    vectors = random.normal(size=(40, 3)).astype("float32")
    for vector in vectors:
        held.add(vector)
    assert held.counts.sum() == 40
    mean = (held.counts[:, None] * held.vectors).sum(0) / 40
    np.testing.assert_allclose(mean, vectors.mean(0), atol=1e-5)


def test_the_quantizer_takes_the_nearest_of_each_codebook():
    vectors = np.random.default_rng(0).normal(size=(200, 6)).astype("float32")
    quantizer = ProductQuantizer(3, 8)
    quantizer.fit(vectors)
    codes = quantizer.encode(vectors)
    assert (codes.dtype, codes.shape) == (np.uint8, (200, 3))
    for i in range(3):
        part = vectors[:, 2 * i : 2 * i + 2]
        distances = ((part[:, None] - quantizer.centers[i]) ** 2).sum(-1)
        np.testing.assert_array_equal(codes[:, i], distances.argmin(1))
    errors = []
    for size in (2, 16, 200):
        finer = ProductQuantizer(3, size)
        finer.fit(vectors)
        errors.append(float(((finer.decode(finer.encode(vectors)) - vectors) ** 2).mean()))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-10
    maps = vectors[:60].reshape(5, 3, 4, 6)
    assert quantizer.decode(quantizer.encode(maps)).shape == maps.shape
    with pytest.raises(ValueError, match="codebooks must be a divisor of the 6 channels"):
        ProductQuantizer(4).fit(vectors)


def test_herding_follows_the_mean():
    features = np.random.default_rng(0).normal(size=(50, 3))
    chosen = herding(features, 10)
    assert len(set(chosen.tolist())) == 10
    near = np.linalg.norm(features[chosen].mean(0) - features.mean(0))
    assert near < np.linalg.norm(features[:10].mean(0) - features.mean(0)) / 2
    assert chosen[0] == np.linalg.norm(features - features.mean(0), axis=1).argmin()
    assert herding(np.array([[0.0], [1.0], [5.0]]), 9).tolist()[0] == 1


def test_crops_of_maps_keep_their_size_and_range():
    random = np.random.default_rng(0)
    for _ in range(50):
        given = random.normal(size=(7, 5, 3)).astype("float32")
        found = random_resized_crop(given, random)
        assert found.shape == given.shape
        assert given.min() - 1e-6 <= found.min() <= found.max() <= given.max() + 1e-6


RIVALS = {
    "ExStream": lambda model: ExStream(model, "hidden", 6, standardize=STANDARD),
    "DeepSLDA": lambda model: DeepSLDA(model, "hidden", standardize=STANDARD),
    "REMIND": lambda model: REMIND(
        model, "relu", codebooks=3, codebook_size=16, replay_size=20, standardize=STANDARD
    ),
    "REMIND+Extra": lambda model: REMIND(
        model,
        "flat",
        codebooks=9,
        codebook_size=16,
        replay_size=20,
        standardize=STANDARD,
        extra=True,
    ),
    "iCaRL": lambda model: ICaRL(model, "hidden", 40, epochs=12, standardize=STANDARD),
    "E2EIL": lambda model: E2EIL(
        model, "hidden", 40, epochs=12, tuning_epochs=4, standardize=STANDARD
    ),
}
FROZEN = {"ExStream": 12, "DeepSLDA": 20, "REMIND": 6, "REMIND+Extra": 6}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    # The docstrings of all of them run in every test.
    [
        pytest.param(name, marks=[pytest.mark.thorough] * (name not in ("DeepSLDA", "REMIND")))
        for name in (*FROZEN, "iCaRL", "E2EIL")
    ],
)
def test_a_rival_learns_a_stream_and_goes_on_where_it_was(name, tmp_path):
    x, y = patterns(12)
    test, base = patterns(20, seed=1), y < 2
    order = orderings.class_incremental(y)
    learner = RIVALS[name](conv_net())
    batch = name in ("iCaRL", "E2EIL")
    if not batch:
        learner.base_initialize(x[base], y[base], epochs=10)
    before = weights(learner.trunk)
    start = learner.state()

    class Stopped(Exception):
        pass

    def stop(done):
        if done == 31:
            raise Stopped

    history = learner.fit_stream(x, y, order, test=test)
    assert history.accuracies[-1] > 0.4  # Of 4 classes.
    if not batch:
        assert_same(before, weights(learner.trunk))
        assert history.accuracies[0] > 0.9
    killed, again = (RIVALS[name](conv_net(seed=5)) for _ in range(2))
    killed.restore(*start)
    with pytest.raises(Stopped):
        killed.fit_stream(x, y, order, test=test, backup=tmp_path, backup_every=15, after=stop)
    resumed = again.fit_stream(x, y, order, test=test, backup=tmp_path)
    assert resumed == history


def test_extra_layers_learn_digits():
    """They make up for what is frozen; not normalized, they did not learn at this rate."""
    config = StreamConfig(data="digits", limit=1000)
    stream = stream_of(config)
    chosen, model = stream.y < 3, model_of(config, stream)
    x, y = stream.x[chosen], stream.y[chosen]
    learner = REMIND(
        model,
        "middle",
        codebooks=8,
        codebook_size=16,
        extra=True,
        standardize=stream.standardize,
    )
    trained = sum(int(np.prod(v.shape)) for v in learner.head.trainable_variables)
    assert trained == pytest.approx(model.count_params(), rel=0.02)
    base = y < 2
    learner.base_initialize(x[base], y[base], epochs=20)
    known = np.isin(stream.test[1], range(3))
    test = stream.test[0][known], stream.test[1][known]
    assert learner.evaluate(*test, classes=[0, 1]).accuracy > 0.9  # They are trained as well.
    history = learner.fit_stream(x, y, test=test, events=len(y))
    assert history.accuracies[-1] > 0.7


def test_classes_that_return_are_learned_by_their_labels(monkeypatch):
    """A class of before that returns has its labels, and exemplars of all that came."""
    x, y = patterns(6)
    learner, targets = ICaRL(conv_net(), "hidden", 30, epochs=1, standardize=STANDARD), []
    made = ICaRL.batches
    monkeypatch.setattr(
        ICaRL, "batches", lambda self, x, y, target: targets.append(target) or made(self, x, y)
    )
    for arriving in ((0, 1), (1, 2)):
        chosen = np.isin(y, arriving)
        learner.base_initialize(x[chosen], y[chosen])
    assert targets[0] is None
    soft = np.eye(4, dtype=np.float32)[[1, 2]]
    mixed = targets[1](learner.standardize(x[:2]), soft)
    np.testing.assert_array_equal(mixed[:, 1:], soft[:, 1:])
    assert (mixed[:, 0] > 0).all()
    assert {label: len(kept) for label, kept in learner.exemplars.items()} == {0: 6, 1: 10, 2: 6}


def test_a_state_of_slda_is_its_own():
    x, y = patterns(6)
    learner, other = (DeepSLDA(conv_net(), "hidden", standardize=STANDARD) for _ in range(2))
    learner.base_initialize(x, y, epochs=1)
    description, arrays = learner.state()
    other.restore(description, arrays)
    before = [each.copy() for each in arrays]
    other.partial_fit(x[0], y[0])
    assert_same(before, arrays)


def test_fine_tuning_stores_nothing():
    learner = FineTuning(conv_net(), standardize=STANDARD)
    x, y = patterns(2)
    learner.fit_stream(x, y)
    assert len(learner.buffer) == 0


def test_what_is_frozen_stays_and_the_rest_learns():
    model = conv_net()
    share = freeze_first(model, "relu")
    parts = [layer.count_params() for layer in model.layers]
    assert share == pytest.approx(sum(parts[:3]) / sum(parts))
    before = weights(model)
    learner = StreamingLearner(model, standardize=STANDARD)
    learner.fit_stream(*patterns(3))
    after = weights(model)
    assert_same(before[:6], after[:6])
    assert all(not np.array_equal(a, b) for a, b in zip(before[6:], after[6:], strict=True))


def test_wrong_cuts_are_refused():
    inputs = keras.Input((4,))
    hidden = layers.Dense(4, name="hidden")(inputs)
    model = keras.Model(inputs, layers.Dense(2)(layers.Add()([inputs, hidden])))
    with pytest.raises(ValueError, match="A connection passes it by"):
        DeepSLDA(model, "hidden")
    with pytest.raises(ValueError, match="Did you mean 'hidden'"):
        DeepSLDA(model, "hiden")
    with pytest.raises(ValueError, match="has no codebooks yet"):
        RIVALS["REMIND"](conv_net()).partial_fit(patterns(1)[0][0], 0)
