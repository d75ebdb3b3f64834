"""Weights of any float type, and weights that are read by gather."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_sparse as ks
from tests.cases import KINDS, METHODS, REGIMES
from tests.training import Probe, assert_same, compiled, dense_net, fit

pytestmark = pytest.mark.filterwarnings("ignore::keras_sparse.SparsityWarning")
MORE = {
    "STR": lambda: ks.STR(),
    "L0": lambda: ks.L0(seed=1),
    "SparseVariationalDropout": lambda: ks.SparseVariationalDropout(seed=1),
    "SoftMovement": lambda: ks.MovementPruning(soft=True, threshold=0.1, penalty=0.1),
    "SAM": lambda: ks.SAM(),
    "CrAM": lambda: ks.CrAM([0.5], operators=["4bit"], seed=1),
    "CSAM": lambda: ks.CSAM([0.5], seed=1),
    "TopKPlus": lambda: ks.TopKPlus([0.5], seed=1),
    "N:M": lambda: ks.SRSTE(granularity="2:4"),
}
EVERY = {**METHODS, **MORE}
# Methods that score weights on data before training, which an embedding's indices are not.
SCORED = ("SNIP", "GraSP", "SynFlow")


# Of methods alike one in each type; the others are of the thorough suite.
IN_EACH = {
    "bfloat16": (*REGIMES, "DeepR", "SynFlow", "TopKAST", "L0", "CrAM", "N:M"),
    "float64": (*KINDS, "DeepR", "L0", "CrAM"),
}


@pytest.fixture
def policy(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


def thorough_unless(name, kept):
    return [] if name in kept else [pytest.mark.thorough]


@pytest.mark.parametrize(
    ("policy", "name"),
    [
        pytest.param(policy, name, marks=thorough_unless(name, kept))
        for policy, kept in IN_EACH.items()
        for name in EVERY
    ],
    indirect=["policy"],
)
def test_weights_of_any_float_type(images, name, policy):
    model = compiled(dense_net(), keras.optimizers.SGD(0.01, momentum=0.9))
    method = EVERY[name]()
    probe = Probe(method)
    logs = fit(model, images, method, *([] if method.ends_sparse is False else [probe])).history
    assert np.isfinite(logs["loss"]).all()
    assert {variable.dtype for variable in model.trainable_variables} == {policy}
    if name in METHODS:
        assert all(probe.exact)
        assert sum(probe.kept[-1]) == method.selection.size - round(0.8 * method.selection.size)


def test_float16_is_scaled_and_pruned(images):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float16")
    try:
        for name in ("GMP", "RigL", "ADMM", "EdgePopup"):
            model = compiled(dense_net(), keras.optimizers.SGD(0.01))
            fit(model, images, METHODS[name]())
            assert ks.report(model).sparsity == pytest.approx(0.8, abs=2e-3), name
    finally:
        keras.config.set_dtype_policy(before)


def words_and_labels():
    random = np.random.default_rng(0)
    return random.integers(0, 40, (96, 5)), random.integers(0, 4, 96)


def word_net():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            layers.Embedding(40, 8, name="words"),
            layers.GlobalAveragePooling1D(),
            layers.Dense(4, name="logits"),
        ]
    )


@pytest.mark.parametrize("method", [ks.GMP, ks.STE])
def test_sparsity_0_is_neutral_where_weights_are_read_by_gather(method):
    plain, neutral = (compiled(word_net(), keras.optimizers.Adam(0.01)) for _ in range(2))
    fit(plain, words_and_labels())
    fit(neutral, words_and_labels(), method(0.0, include="words"))
    assert_same(plain, neutral)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=thorough_unless(name, (*KINDS, *MORE)))
        for name in EVERY
        if name not in SCORED
    ],
)
def test_weights_that_are_read_by_gather(name):
    words, labels = words_and_labels()
    model = word_net()
    method = EVERY[name]()
    method.recipe.include = ("words",)
    probe = Probe(method)
    probes = [probe] if name in METHODS else []
    fit(compiled(model), (words, labels), method, *probes)
    if name in METHODS:
        assert all(probe.exact)
        assert sum(probe.kept[-1]) == method.selection.size - round(0.8 * method.selection.size)
