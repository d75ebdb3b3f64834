"""Partitions of a model, and how models trained apart are combined."""

import itertools

import keras
import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.probe.layout import Layout
from keras_sparse.probe.variables import places
from keras_sparse.sparsity.balance import balanced
from keras_sparse.sparsity.granularity import Unstructured
from keras_sparse.sparsity.masks import prune_further
from keras_sparse.sparsity.partition import Partitioning, divide, resolve
from keras_sparse.sparsity.selection import select
from tests.training import conv_net


def paths(model, partitioning):
    place = places(model)
    return [
        [place[id(v)].path for v in partitioning.variables(model, i)]
        for i in range(partitioning.count)
    ]


def check(model, selection, partitioning):
    """Every variable once, every partition with something to prune, layers whole and in order."""
    owned = [v for i in range(partitioning.count) for v in partitioning.variables(model, i)]
    assert sorted(map(id, owned)) == sorted(map(id, model.variables))
    assert set(partitioning.of_target) == set(range(partitioning.count))
    number = dict(zip(map(id, model.variables), partitioning.owner, strict=True))
    for variable, part in zip(selection.variables(model), partitioning.of_target, strict=True):
        assert number[id(variable)] == part


@pytest.mark.parametrize("by", ["params", "flops", "random"])
@pytest.mark.parametrize("kappa", [1, 2, 3])
def test_every_variable_has_one_owner(by, kappa):
    model = conv_net()
    selection = select(model)
    partitioning = divide(model, selection, kappa, by)
    check(model, selection, partitioning)
    if by != "random":
        assert list(partitioning.owner) == sorted(partitioning.owner)


def test_what_is_not_pruned_goes_with_the_layer_before_it():
    model = conv_net()
    first, second, third = paths(model, divide(model, select(model), 3))
    assert first == [
        "conv/kernel",
        "conv/bias",
        "norm/gamma",
        "norm/beta",
        "norm/moving_mean",
        "norm/moving_variance",
    ]
    assert second == ["hidden/kernel", "hidden/bias"]
    assert third == ["logits/kernel", "logits/bias"]


def test_what_comes_first_goes_with_the_first_layer():
    model = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Embedding(10, 4),
            keras.layers.LSTM(3),
            keras.layers.Dense(2),
        ]
    )
    selection = select(model)
    partitioning = divide(model, selection, 2)
    check(model, selection, partitioning)
    assert partitioning.of_target == (0, 0, 1), "both kernels of the LSTM grow together"
    assert partitioning.layer_of_target == (0, 0, 1)
    assert partitioning.owner[0] == 0


def test_balanced_is_optimal():
    generator = np.random.default_rng(0)
    assert balanced([1, 1, 1, 3, 3], 3).tolist() == [0, 0, 0, 1, 2]
    for _ in range(40):
        items, parts = generator.integers(1, 9), 3
        parts = min(parts, items)
        loads = generator.integers(1, 20, items)
        numbers = balanced(loads, parts)
        assert list(np.unique(numbers)) == list(range(parts))
        assert (np.diff(numbers) >= 0).all()
        heaviest = max(loads[numbers == i].sum() for i in range(parts))
        best = min(
            max(sum(part) for part in np.split(loads, cuts))
            for cuts in itertools.combinations(range(1, items), parts - 1)
        )
        assert heaviest == best


def test_by_flops_and_by_params_differ():
    model = conv_net()
    selection = select(model)
    # 54, 5184 and 96 weights.
    assert divide(model, selection, 2, "params").of_target == (0, 0, 1)
    layers = keras.layers
    keras.utils.set_random_seed(0)
    deep = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, padding="same"),
            layers.Conv2D(4, 3, padding="same"),
            layers.Flatten(),
            layers.Dense(8),
        ]
    )
    chosen = select(deep)
    assert divide(deep, chosen, 2, "params").of_target == (0, 0, 1)
    assert divide(deep, chosen, 2, "flops").of_target == (0, 1, 1)


def test_by_stages_cuts_where_feature_maps_shrink():
    model = ks.models.resnet20(seed=0)
    selection = select(model)
    partitioning = divide(model, selection, 3, "stages")
    check(model, selection, partitioning)
    channels = [t.layout.matrix_shape[2] for t in selection.targets]
    for part, width in enumerate((16, 32, 64)):
        mine = [c for c, o in zip(channels, partitioning.of_target, strict=True) if o == part]
        assert set(mine) - {10} == {width}
    assert partitioning.of_target[-1] == 2, "the classifier goes with the last stage"
    two = divide(model, selection, 2, "stages")
    assert np.array_equal(np.array(two.of_target), np.array(partitioning.of_target) == 2)
    with pytest.raises(ValueError, match=r"at most 3 partitions.*by='params'"):
        divide(model, selection, 4, "stages")


@pytest.mark.parametrize("by", ["params", "flops", "random"])
def test_partition_names_layers(by):
    model = conv_net()
    selection = select(model)
    parts = ks.GrowPrunePartition.partition(model, 3, by, seed=3)
    assert resolve(model, selection, parts) == divide(model, selection, 3, by, seed=3)
    if by == "params":
        assert [part.layers for part in parts] == [("conv", "norm"), ("hidden",), ("logits",)]


def test_partition_of_nested_models():
    def block(name):
        return keras.Sequential([keras.Input((6,)), keras.layers.Dense(6, name="d")], name=name)

    model = keras.Sequential([keras.Input((6,)), block("a"), block("b"), keras.layers.Dense(2)])
    selection = select(model)
    parts = ks.GrowPrunePartition.partition(model, 2)
    assert resolve(model, selection, parts) == divide(model, selection, 2)
    check(model, selection, resolve(model, selection, parts))


def test_random_partitions_are_not_always_consecutive():
    model = ks.models.resnet20(seed=0)
    selection = select(model)
    owners = {divide(model, selection, 4, "random", seed).of_target for seed in range(3)}
    assert len(owners) == 3
    for owner in owners:
        assert list(owner) != sorted(owner)
        sizes = np.bincount(owner)
        assert sizes.max() - sizes.min() <= 1


def names(*groups):
    return [ks.GrowPrunePartition(group) for group in groups]


@pytest.mark.parametrize(
    ("partitions", "message"),
    [
        (names(["conv", "hidden"], ["hidden", "logits"]), r"0 and 1 overlap.*hidden/kernel"),
        (names(["conv"], ["logits"]), r"leave out hidden/kernel.*exclude="),
        (names(["conv", "hidden", "logits"], ["norm"]), r"Partition 1.*nothing that is pruned"),
        (names(["conv", "hidden"], ["logit"]), r"Unknown layer in partitions.*'logits'"),
    ],
)
def test_bad_partitions(partitions, message):
    model = conv_net()
    with pytest.raises(ValueError, match=message):
        resolve(model, select(model), partitions)


def test_bad_arguments():
    model = conv_net()
    with pytest.raises(ValueError, match=r"which is 3 in model.*partitions=4"):
        ks.GrowPrunePartition.partition(model, 4)
    with pytest.raises(ValueError, match="which is 2 in model"):
        ks.GrowPrunePartition.partition(model, 3, exclude="conv")
    for kappa in (0, 1.5, True):
        with pytest.raises(ValueError, match=r"integer (from|of at least) 1"):
            ks.GrowPrunePartition.partition(model, kappa)
    with pytest.raises(ValueError, match=r"by must be .*'params'"):
        ks.GrowPrunePartition.partition(model, 2, by="param")
    with pytest.raises(ValueError, match="at least one layer"):
        ks.GrowPrunePartition([])


def test_layers_and_globs_name_partitions():
    model = conv_net()
    by_layer = names(model.layers[0], ["hid*", "logits"])
    assert resolve(model, select(model), by_layer).of_target == (0, 1, 1)


def test_6_6_each_partition_is_taken_from_where_it_was_dense():
    """The worked numbers: bit-exact copies, then one pruning of the whole."""
    nodes = [
        [np.array([0.5, -0.2, 0.35, 0.05]), np.array([-0.6, 0.55, 0, 0])],
        [np.array([0.45, 0, 0.25, 0]), np.array([-0.4, 0.7, 0.3, -0.1])],
    ]
    partitioning = Partitioning(2, (0, 1), (0, 1), (0, 1))
    combined = partitioning.combine(nodes)
    assert combined[0] is nodes[0][0]
    assert combined[1] is nodes[1][1]
    layouts = [Layout((4,), (), (0,), ())] * 2
    dense = [np.ones(4, bool)] * 2
    weights = [w.astype("float32") for w in combined]
    masks = prune_further(weights, dense, layouts, np.array([2, 2]), Unstructured(), False)
    masks = [keras.ops.convert_to_numpy(mask) for mask in masks]
    kept = [np.where(m, w, 0) for m, w in zip(masks, weights, strict=True)]
    np.testing.assert_allclose(kept[0], [0.5, 0, 0.35, 0])
    np.testing.assert_allclose(kept[1], [-0.4, 0.7, 0, 0])
