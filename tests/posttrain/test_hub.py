"""Transformers of keras-hub, from random weights: what is pruned, and along which axes."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_sparse as ks

hub = pytest.importorskip("keras_hub", exc_type=ImportError)
LENGTH, VOCABULARY = 6, 50


def llama():
    return hub.models.LlamaBackbone(VOCABULARY, 1, 4, 32, 48, num_key_value_heads=2)


def gemma():
    return hub.models.GemmaBackbone(VOCABULARY, 1, 4, 2, 32, 48, 8)


def bert():
    return hub.models.BertBackbone(VOCABULARY, 1, 4, 32, 48, max_sequence_length=LENGTH)


def tokens(model):
    draw = np.random.default_rng(0).integers(0, VOCABULARY, (40, LENGTH)).astype("int32")
    given = {"token_ids": draw, "padding_mask": np.ones_like(draw)}
    names = {tensor.name for tensor in model.inputs}
    return given | ({"segment_ids": np.zeros_like(draw)} if "segment_ids" in names else {})


# Axes of a kernel along which its layer sums, by what the end of its path says it is.
SUMMED = {
    llama: {"query": (0,), "key": (0,), "value": (0,), "attention_output": (0, 1)},
    gemma: {"query": (1,), "key": (1,), "value": (1,), "attention_output": (0, 1)},
    bert: {"query": (0,), "key": (0,), "value": (0,), "attention_output": (0, 1)},
}


@pytest.fixture(params=[llama, gemma, bert])
def built(request):
    keras.utils.set_random_seed(0)
    return request.param(), SUMMED[request.param]


def grouped(kernel, summed):
    """Four consecutive weights of an output in the last axis."""
    others = [axis for axis in range(kernel.ndim) if axis not in summed]
    return kernel.transpose(*others, *summed).reshape(-1, 4)


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("function", [ks.wanda, ks.sparsegpt])
def test_n_of_m_goes_along_what_is_summed(built, function, sequential):
    model, summed = built
    report = function(model, tokens(model), granularity="2:4", sequential=sequential)
    kernels = {v.path: ops.convert_to_numpy(v) for v in model.variables if v.ndim > 1}
    pruned = {row.path for row in report.prunable}
    assert pruned >= {path for path in kernels if path.endswith("kernel")}
    for row in report.prunable:
        (kernel,) = (value for path, value in kernels.items() if path.endswith(row.path))
        part = row.path.split("/")[-2]
        counts = np.count_nonzero(grouped(kernel, summed.get(part, (0,))), axis=1)
        assert (counts == 2).all(), row.path


def test_inputs_of_all_layers_are_seen(built, recwarn):
    """Outputs move less than by magnitude: none is pruned without having seen its inputs."""
    model, _ = built
    x = tokens(model)
    before, dense = model.get_weights(), model.predict(x, verbose=0)

    def moved():
        pairs = zip(
            keras.tree.flatten(model.predict(x, verbose=0)), keras.tree.flatten(dense), strict=True
        )
        return sum(float(np.sum((a - b) ** 2)) for a, b in pairs)

    common = {"sparsity": 0.5, "allocation": "uniform"}
    ks.prune(model, **common)
    by_magnitude = moved()
    model.set_weights(before)
    ks.obc(model, x, sequential=True, **common)
    assert moved() < 0.7 * by_magnitude
    assert not [w for w in recwarn if issubclass(w.category, ks.SparsityWarning)]
