"""The properties that every training-time method keeps, by their numbers in docs/properties.md."""

import json
import subprocess
import sys
import zipfile
from typing import NamedTuple

import keras
import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.engine.sparse_optimizer import SparseOptimizer
from keras_sparse.engine.sparse_step import clock_of
from tests.cases import CASES, DENSE, EVERY, FOLLOWS, KINDS, METHODS, REGIMES
from tests.training import (
    EPOCHS,
    STEPS,
    Interrupt,
    Probe,
    assert_same,
    compiled,
    conv_net,
    fit,
    kernels,
    nonzeros,
    values,
)

ON_JAX = keras.backend.backend() == "jax"
tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="a feature of the TensorFlow backend"
)


def grouped(names, always=None):
    """Tests of one method run in one process, which trains what they share once."""
    return [
        pytest.param(
            name,
            marks=[
                pytest.mark.xdist_group(name),
                *([] if always is None or name in always else [pytest.mark.thorough]),
            ],
        )
        for name in names
    ]


# On JAX what is the same on both backends is tested on one method of each kind.
@pytest.fixture(params=grouped(METHODS, always=REGIMES if ON_JAX else METHODS))
def method(request):
    return METHODS[request.param]


@pytest.fixture(params=grouped(REGIMES, always=KINDS))
def regime(request):
    return METHODS[request.param]


@pytest.fixture(params=grouped(FOLLOWS))
def follows(request):
    return FOLLOWS[request.param]


@pytest.fixture(
    params=grouped(EVERY, always=(*KINDS, "CrAM") if ON_JAX else (*REGIMES, *FOLLOWS, "CrAM"))
)
def every(request):
    return EVERY[request.param]


@pytest.fixture(params=grouped(DENSE))
def dense(request):
    return DENSE[request.param]


@pytest.fixture(params=grouped(["CrAM"]))
def dense_regime(request):
    return DENSE[request.param]


# Under XLA and on replicas a training takes long: most methods only in the thorough suite.
@pytest.fixture(params=grouped(EVERY, always=(*KINDS, "L0", "CrAM")))
def in_xla(request):
    return EVERY[request.param]


@pytest.fixture(params=grouped(EVERY, always=("RigL", "L0", "CrAM")))
def on_replicas(request):
    return EVERY[request.param]


class Trained(NamedTuple):
    weights: list
    history: dict
    probe: Probe
    model: keras.Model


@pytest.fixture(scope="session")
def trained():
    """Uninterrupted trainings by the name of the method."""
    return {}


@pytest.fixture
def reference(request, images, trained):
    """The uninterrupted training of the test's method."""
    (name,) = request.node.callspec.params.values()
    if name not in trained:
        model, callback = compiled(conv_net()), EVERY[name]()
        probe = Probe(callback)
        history = fit(model, images, callback, probe).history
        trained[name] = Trained(values(model), history, probe, model)
    return trained[name]


@pytest.fixture(scope="session")
def plain(images):
    """The weights of a dense training."""
    model = compiled(conv_net())
    fit(model, images)
    return values(model)


def check_exact(model, probe):
    size = sum(kernel.size for kernel in kernels(model))
    wanted = size - round(0.8 * size)
    assert all(probe.exact)
    assert len(probe.exact) == EPOCHS * STEPS
    assert sum(probe.kept[-1]) == wanted
    assert nonzeros(model) <= wanted
    assert nonzeros(model) > 0.9 * wanted
    assert all(np.any(value) for value in values(model))


@pytest.mark.jax
def test_1_exact(method, reference):
    check_exact(reference.model, reference.probe)


@pytest.mark.jax
def test_1_exact_with_adamw(regime, images):
    callback = regime()
    probe = Probe(callback)
    model = compiled(conv_net(), keras.optimizers.AdamW(0.01, weight_decay=0.01))
    fit(model, images, callback, probe)
    check_exact(model, probe)


class EpochEnds(keras.callbacks.Callback):
    """Records the model's zeros, and those that the masks ask for, at the end of each epoch."""

    def __init__(self, method):
        super().__init__()
        self.method, self.seen = method, []

    def on_epoch_end(self, epoch, logs=None):
        weights = self.method.selection.variables(self.model)
        pairs = zip(weights, self.method.optimizer.masks, strict=True)
        arrays = [[keras.ops.convert_to_numpy(v) for v in pair] for pair in pairs]
        self.seen.append([(weight == 0, ~mask) for weight, mask in arrays])


@pytest.mark.jax
def test_1_exact_where_the_sparsity_follows(follows, images):
    callback = follows()
    probe = EpochEnds(callback)
    model = compiled(conv_net())
    logs = fit(model, images, callback, probe).history
    assert len(probe.seen) == EPOCHS
    for zeros, asked in (pair for epoch in probe.seen for pair in epoch):
        np.testing.assert_array_equal(zeros, asked)
    final = [kernel == 0 for kernel in kernels(model)]
    for zeros, (asked, _) in zip(final, probe.seen[-1], strict=True):
        np.testing.assert_array_equal(zeros, asked)
    share = 1 - nonzeros(model) / sum(zeros.size for zeros in final)
    assert 0.05 < share < 0.99
    assert share == pytest.approx(logs["sparsity"][-1])


@pytest.mark.jax
def test_1_dense(dense, images, request):
    model = compiled(conv_net())
    logs = fit(model, images, dense()).history
    assert nonzeros(model) == sum(kernel.size for kernel in kernels(model))
    assert logs["sparsity"] == [0.0] * EPOCHS
    cost = {"CrAM": 2 - 0.2, "CSAM": 2 + 1 / 3}.get(request.node.callspec.params["dense"], 2)
    np.testing.assert_allclose(logs["train_flops_ratio"], cost, rtol=1e-6)
    assert logs["loss"][-1] < 0.5 * logs["loss"][0]


@tensorflow_only
def test_1_exact_per_layer(regime, images):
    callback = regime(0.7, allocation="uniform", exclude="conv")
    probe = Probe(callback)
    model = compiled(conv_net())
    fit(model, images, callback, probe)
    sizes = [kernel.size for kernel in kernels(model)[1:]]
    assert probe.kept[-1] == [size - round(0.7 * size) for size in sizes]
    assert np.count_nonzero(kernels(model)[0]) == kernels(model)[0].size


@tensorflow_only
def test_2_in_graph(in_xla, images, reference):
    check_in_graph(in_xla, images, reference, 1e-4, jit_compile=True, steps_per_execution=4)


@tensorflow_only
def test_2_in_graph_without_xla(regime, images, reference):
    check_in_graph(regime, images, reference, 0.0, steps_per_execution=16)


@tensorflow_only
def test_2_dense_in_graph_without_xla(dense_regime, images, reference):
    check_in_graph(dense_regime, images, reference, 0.0, steps_per_execution=16)


@tensorflow_only
def test_2_dense_eagerly(dense_regime, images, reference):
    check_in_graph(dense_regime, images, reference, 1e-4, run_eagerly=True)


@tensorflow_only
def test_2_eagerly(regime, images, reference):
    check_in_graph(regime, images, reference, 1e-4, run_eagerly=True)


def check_in_graph(method, images, reference, tolerance, **options):
    weights, logs = reference.weights, reference.history
    model = compiled(conv_net(), **options)
    own_logs = fit(model, images, method()).history
    for name in ("sparsity", "train_flops_ratio"):
        np.testing.assert_allclose(own_logs[name], logs[name], atol=1e-3)
    assert_same(model, weights, tolerance)
    for one, two in zip(values(model), weights, strict=True):
        if one.ndim > 1:
            np.testing.assert_array_equal(one != 0, two != 0)


@pytest.mark.jax
@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX's own steps_per_execution")
def test_2_in_graph_on_jax(regime, images, reference):
    model = compiled(conv_net(), steps_per_execution=3)
    fit(model, images, regime())
    assert_same(model, reference.weights, 1e-4)


@tensorflow_only
def test_2_no_retracing(regime, images):
    def traces(*callbacks):
        model = compiled(conv_net())
        # As the callbacks do: Keras traces a step that makes variables once more.
        model.optimizer.build(model.trainable_variables)
        step, count = model.train_step, [0]

        def counted(*args):
            count[0] += 1
            return step(*args)

        model.train_step = counted
        fit(model, images, *callbacks)
        return count[0]

    assert traces(regime()) == traces()


@pytest.mark.jax
def test_3_neutral(method, images, plain, request):
    if request.node.callspec.params["method"] == "EdgePopup":
        pytest.skip("its weights never learn")
    model = compiled(conv_net())
    with pytest.warns(ks.SparsityWarning, match="pruned nothing"):
        fit(model, images, method(0.0))
    assert_same(model, plain)


@pytest.mark.jax
def test_4_resumes_from_a_backup(every, images, reference, tmp_path):
    history = reference.history
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        fit(compiled(conv_net()), images, every(), backup, Interrupt(4, 3))
    # The second run lists the two callbacks in the other order: it must not matter.
    model = compiled(conv_net(seed=7))
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    resumed = fit(model, images, backup, every()).history
    assert_same(model, reference.weights)
    for name in ("sparsity", "mask_change", "train_flops_ratio", "inference_flops_ratio"):
        np.testing.assert_allclose(resumed[name], history[name][4:], rtol=1e-6)


@tensorflow_only
def test_4_resumes_from_a_saved_model(regime, images, reference, tmp_path):
    check_resumes_from_a_saved_model(regime, images, reference, tmp_path)


@tensorflow_only
def test_4_resumes_from_a_saved_model_where_weights_are_dense(
    dense_regime, images, reference, tmp_path
):
    check_resumes_from_a_saved_model(dense_regime, images, reference, tmp_path)


def check_resumes_from_a_saved_model(method, images, reference, tmp_path):
    path = str(tmp_path / "model.keras")
    with pytest.raises(KeyboardInterrupt):
        fit(
            compiled(conv_net()),
            images,
            method(),
            keras.callbacks.ModelCheckpoint(path),
            Interrupt(4),
        )
    model = keras.saving.load_model(path)
    assert isinstance(model.optimizer, SparseOptimizer)
    fit(model, images, method(), initial_epoch=4)
    assert_same(model, reference.weights)
    assert not isinstance(model.optimizer, SparseOptimizer)


@tensorflow_only
def test_4_resumes_in_the_same_process_where_weights_are_dense(dense_regime, images, reference):
    check_resumes_in_the_same_process(dense_regime, images, reference)


@tensorflow_only
def test_4_resumes_in_the_same_process(regime, images, reference):
    check_resumes_in_the_same_process(regime, images, reference)


@pytest.mark.jax
def test_4_resumes_in_the_same_process_where_the_sparsity_follows(follows, images, reference):
    check_resumes_in_the_same_process(follows, images, reference)


def check_resumes_in_the_same_process(method, images, reference):
    model, callback = compiled(conv_net()), method()
    with pytest.raises(KeyboardInterrupt):
        fit(model, images, callback, Interrupt(4))
    fit(model, images, callback, initial_epoch=4)
    assert_same(model, reference.weights)


@tensorflow_only
@pytest.mark.distributed
def test_5_distributed(on_replicas, images, mirrored):
    def without_norm():
        keras.utils.set_random_seed(0)
        layers = keras.layers
        return keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                layers.Conv2D(6, 3, name="conv", activation="relu"),
                layers.Flatten(),
                layers.Dense(24, activation="relu", name="hidden"),
                layers.Dense(4, name="logits"),
            ]
        )

    single = compiled(without_norm())
    fit(single, images, on_replicas())
    with mirrored.scope():
        model = compiled(without_norm())
    callback = on_replicas()
    seen = []

    class Replicas(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            for mask in callback.optimizer.masks:
                copies = [np.array(copy) for copy in mask.value.values]
                assert len(copies) == 2
                np.testing.assert_array_equal(*copies)
                seen.append(copies[0])

    fit(model, images, callback, Replicas())
    assert len(seen) == 3 * EPOCHS
    for one, two in zip(kernels(model), kernels(single), strict=True):
        np.testing.assert_array_equal(one != 0, two != 0)
    assert_same(model, single, 1e-4)


@pytest.mark.jax
def test_6_mixed_precision(regime, images):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = compiled(conv_net())
    finally:
        keras.config.set_dtype_policy("float32")
    own = model.optimizer
    assert isinstance(own, keras.optimizers.LossScaleOptimizer)
    callback = regime()
    probe = Probe(callback)
    fit(model, images, callback, probe)
    assert all(probe.exact)
    assert {str(v.dtype) for v in callback.selection.variables(model)} == {"float32"}
    size = sum(kernel.size for kernel in kernels(model))
    assert sum(probe.kept[-1]) == size - round(0.8 * size)
    assert model.optimizer is own
    assert not isinstance(own.inner_optimizer, SparseOptimizer)


@pytest.mark.jax
def test_6_mixed_precision_where_the_sparsity_follows(follows, images):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = compiled(conv_net())
    finally:
        keras.config.set_dtype_policy("float32")
    callback = follows()
    probe = EpochEnds(callback)
    logs = fit(model, images, callback, probe).history
    for zeros, asked in (pair for epoch in probe.seen for pair in epoch):
        np.testing.assert_array_equal(zeros, asked)
    assert 0.05 < logs["sparsity"][-1] < 0.99


@tensorflow_only
@pytest.mark.parametrize("name", METHODS)
def test_8_memory(name, images):
    """What a method keeps of each weight beside the user's optimizer: by default a bool."""
    callback, model = METHODS[name](), compiled(conv_net())
    with pytest.raises(KeyboardInterrupt):
        fit(model, images, callback, Interrupt(0))
    optimizer = callback.optimizer
    users = {id(variable) for variable in optimizer.inner_optimizer.variables}
    own = [variable for variable in optimizer.variables if id(variable) not in users]
    kept = sum(
        keras.ops.convert_to_numpy(variable).nbytes for variable in own if len(variable.shape)
    )
    weights = sum(kernel.size for kernel in kernels(model))
    # Packed bits fill whole bytes in each tensor.
    assert 0 <= kept - CASES[name].memory * weights < len(kernels(model))


@pytest.mark.jax
def test_9_plain(regime, images, tmp_path):
    check_plain(regime, images, tmp_path)


@tensorflow_only
def test_9_plain_where_the_sparsity_follows(follows, images, tmp_path):
    check_plain(follows, images, tmp_path)


@tensorflow_only
def test_9_plain_where_weights_are_dense(dense_regime, images, tmp_path):
    check_plain(dense_regime, images, tmp_path)


def check_plain(method, images, tmp_path):
    model = compiled(conv_net())
    own = model.optimizer
    fit(model, images, method())
    assert model.optimizer is own
    path = str(tmp_path / "model.keras")
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        assert "keras_sparse" not in json.dumps(json.loads(archive.read("config.json")))
    loaded = keras.saving.load_model(path)
    assert_same(loaded, model)
    fit(loaded, images, epochs=1)


@pytest.mark.slow
@tensorflow_only
def test_9_loads_without_this_package(images, tmp_path):
    model = compiled(conv_net())
    fit(model, images, METHODS["ACDC"]())
    path = str(tmp_path / "model.keras")
    model.save(path)
    script = (
        "import sys; sys.modules['keras_sparse'] = None\n"
        "import keras; model = keras.saving.load_model(sys.argv[1])\n"
        "print(sum(int((v.numpy() != 0).sum()) for v in model.trainable_variables if v.ndim > 1))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, check=True
    )
    assert int(run.stdout.split()[-1]) == nonzeros(model)


@tensorflow_only
@pytest.mark.parametrize("name", EVERY)
def test_a_rule_is_written_and_read(name, images):
    """What its configuration builds anew computes what the rule itself does."""
    model, callback = compiled(conv_net()), EVERY[name]()
    with pytest.raises(KeyboardInterrupt):
        fit(model, images, callback, Interrupt(0))
    rule, optimizer = callback.optimizer.rule, callback.optimizer
    written = json.loads(json.dumps(keras.saving.serialize_keras_object(rule)))
    read = keras.saving.deserialize_keras_object(written)
    assert type(read) is type(rule)
    assert json.loads(json.dumps(read.get_config())) == written["config"]
    read.build(optimizer.targets)
    tensors = optimizer.tensors._replace(gradients=optimizer.tensors.weights)
    for step in (0, 2 * STEPS - 1, 5 * STEPS):
        clock = clock_of(step, optimizer.rates())
        computed = []
        for each in (rule, read):
            due = each.due(step, optimizer.counters)
            changed = due is not None and bool(due)
            masks = each.update_masks(clock, optimizer.counters, tensors).masks if changed else []
            computed.append([*masks, *each.effective(clock, tensors)])
        for one, two in zip(*computed, strict=True):
            np.testing.assert_array_equal(one, two)


@tensorflow_only
def test_masks_survive_a_later_fit(regime, images):
    model = compiled(conv_net())
    fit(model, images, regime())
    zeros = [kernel == 0 for kernel in kernels(model)]
    fit(model, images, ks.StaticMask(mask="current"), epochs=2)
    for kernel, zero in zip(kernels(model), zeros, strict=True):
        assert (kernel[zero] == 0).all()
