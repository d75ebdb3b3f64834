"""Wrong values of arguments and misspelt names: refused, and named, everywhere."""

import re
import types

import keras
import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.messages.arguments import boolean, integer, number, one_of, optional, random_seed
from tests.messages.public import keywords, model, outcomes, public, right_arguments

# What looks wrong by its type and has a meaning.
HAVE_A_MEANING = {
    ("GrowPrunePartition", "layers"): "a name is looked up in the model, when there is one",
    ("distribute.Communicator", "names"): "a list of one name",
    ("distribute.launch", "arguments"): "a list of one word for the script",
    ("structured.prune", "data"): "None is no data, which most criteria need not",
    ("precision_range_test", "restore"): "True is one of the two",
    ("precision.critical_period_sweep", "deficits"): "[3] is a length",
    ("scaling.bound_steps", "batch_size"): "infinity gives the plateau",
    ("tuning.BatchSizeStudy", "batch_sizes"): "[3] is one batch size",
    ("tuning.IntUniform", "low"): "a range may begin below 0",
    ("transfer.logistic_regression", "l2"): "[0.5] is one penalty",
    ("transfer.linear", "l2"): "[0.5] is one penalty",
    ("bounds.cyclic_descent", "mask"): "None is the largest weights of each partition",
}
NEED_MORE = {
    "Duration": "one unit of three",
    "finetune_dense": "a finished run",
    "deploy.to_onnx": "the extra onnx",
    "tuning.OptunaSweep": "the extra optuna",
    "distribute.connect": "other workers",
    "distribute.read_cluster": "TF_CONFIG",
}


@pytest.mark.filterwarnings("ignore")
def test_every_wrong_value_is_refused_by_the_argument_s_name(tmp_path):
    met = list(outcomes(tmp_path))
    accepted = {(where, name) for where, name, _, out in met if out == "silent"}
    unnamed = [(where, name, value, out) for where, name, value, out in met if "unnamed" in out]
    assert len(met) > 5000
    assert not unnamed
    assert accepted <= HAVE_A_MEANING.keys()


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("where", [name for name in public() if name not in NEED_MORE])
def test_the_other_arguments_of_that_test_are_right(where, tmp_path):
    function = public()[where]
    made = function(**right_arguments(where, function, tmp_path))
    if isinstance(made, types.GeneratorType):
        next(made)


def prunes(function):
    return "strict" in keywords(function) and "sparsity" in keywords(function)


@pytest.mark.parametrize("where", [name for name, f in public().items() if prunes(f)])
@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [("sparcity", "sparsity"), ("granulatity", "granularity"), ("exlude", "exclude")],
)
def test_a_misspelt_keyword_is_told_the_nearest(where, misspelt, meant, tmp_path):
    function = public()[where]
    if meant not in keywords(function):
        meant = next(name for name in keywords(function) if name.startswith(meant[:4]))
    arguments = right_arguments(where, function, tmp_path)
    arguments.pop("sparsity", None)
    with pytest.raises(TypeError, match=f"no argument '{misspelt}'. Did you mean '{meant}'"):
        function(**arguments, **{misspelt: 0.9})


def test_what_a_user_s_own_method_takes_is_known():
    class Mine(ks.GMP):
        def __init__(self, sparsity, warmth=1, **kwargs):
            super().__init__(sparsity, **kwargs)

    Mine(0.5, warmth=2, exclude="logits")
    with pytest.raises(TypeError, match=r"Mine has no argument 'warmt'. Did you mean 'warmth'"):
        Mine(0.5, warmt=2)


def test_a_model_s_builder_is_told_the_nearest_keyword():
    with pytest.raises(TypeError, match=r"resnet20 has no argument 'widht'. Did you mean 'width'"):
        ks.models.get("resnet20", widht=8)


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint8])
def test_numpy_integers_are_integers(kind):
    assert type(integer("n", kind(3))) is int
    assert type(random_seed("seed", kind(3))) is int
    assert ks.NM(kind(2), kind(4)) == ks.NM(2, 4)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16, np.int64])
def test_numpy_numbers_are_numbers(kind):
    assert type(number("rho", kind(1), "[0, 1]")) in (int, float)
    assert ks.SAM(rho=kind(1)).rho == 1
    assert ks.Duration(epochs=kind(3)) == ks.Duration(epochs=3)


def test_numpy_booleans_are_booleans():
    assert boolean("strict", np.bool_(True)) is True
    assert ks.GMP(0.5, strict=np.bool_(False)).recipe.strict is False


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        ("[0, 1)", [0, 0.5], [1, -1e-9]),
        ("(0, 1]", [1e-9, 1], [0, 1.1]),
        ("(0, inf)", [1e-9, 1e300], [0, np.inf]),
        ("(-inf, inf)", [-1e300, 0], [-np.inf, np.inf]),
    ],
)
def test_ends_of_ranges(interval, inside, outside):
    assert [number("x", value, interval) for value in inside] == inside
    for value in [*outside, np.nan, "0.5", None, True]:
        with pytest.raises(ValueError, match=rf"^x must be .*\. Received: x={value!r}"):
            number("x", value, interval)


def test_messages_say_what_is_allowed_what_was_given_and_the_cure():
    for check, message in (
        (lambda: integer("steps", 0), "an integer of at least 1. Received: steps=0"),
        (lambda: integer("bits", 1, 2, 16), "an integer from 2 to 16. Received: bits=1"),
        (lambda: optional(integer, "n", "3"), "an integer of at least 1. Received: n='3'"),
        (lambda: boolean("plus", "no"), "True or False. Received: plus='no'"),
        (lambda: one_of("by", "parms", ("params", "flops")), "Did you mean 'params'?"),
        (lambda: ks.GMP(90), "a number in [0, 1). Received: sparsity=90. For 90 % give 0.9."),
        (lambda: ks.DPF(0.9, end="150%"), "Received: end='150%'. fraction must be"),
        (lambda: ks.report(np.zeros(1000)), "a built keras.Model. Received: model=array("),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            check()


def test_masks_of_floats_are_not_taken_for_masks():
    scores = [np.random.default_rng(0).random((6, 8))]
    with pytest.raises(ValueError, match=r"mask must be .*Of scores or weights make masks first"):
        ks.StaticMask(mask=scores)
    ks.StaticMask(mask=[scores[0] > 0.5])
    ks.StaticMask(mask=[(scores[0] > 0.5).astype("float32")])


def test_nothing_of_a_refused_call_is_done():
    before = [value.numpy() for value in model().variables]
    for call in (
        lambda: ks.prune(model(), 0.5, strict="no"),
        lambda: ks.batch_norm_tuning(model(), None),
        lambda: ks.one_shot_sweep(model(), None),
    ):
        with pytest.raises(ValueError, match="must be"):
            call()
    for one, two in zip(before, model().variables, strict=True):
        np.testing.assert_array_equal(one, keras.ops.convert_to_numpy(two))
