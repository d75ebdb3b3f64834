import numpy as np
import pytest

import keras_sparse as ks
from tests.training import STEPS, Probe, compiled, conv_net, fit, kernels


def kept_by_step(callback, images, **kwargs):
    probe = Probe(callback)
    model = compiled(conv_net())
    fit(model, images, callback, probe, **kwargs)
    assert all(probe.exact)
    size = sum(kernel.size for kernel in kernels(model))
    return np.sum(probe.kept, axis=1) / size, model


def test_dense_sparse_dense(images):
    kept, model = kept_by_step(ks.DSD(0.5), images)
    assert len(kept) == 6 * STEPS
    assert (kept[:12] == 1).all()
    np.testing.assert_allclose(kept[12:24], 0.5, atol=1e-3)
    assert (kept[24:] == 1).all()
    assert sum(np.count_nonzero(k) for k in kernels(model)) > 0.9 * sum(
        k.size for k in kernels(model)
    )


def test_skinny_rises(images):
    kept, _ = kept_by_step(ks.SkinnyIHT(0.6, period=2, begin=0), images)
    starts = kept[[0, 12, 24]]
    np.testing.assert_allclose(1 - starts, [0.2, 0.4, 0.6], atol=1e-3)
    assert (kept[6:12] == 1).all()
    assert (kept[30:] == 1).all(), "ends dense"


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (lambda: ks.DSD(0.5, prune="80%", restore="60%"), "must come before"),
        (lambda: ks.DSD(0.5, restore="100%"), "must come before"),
        (lambda: ks.SkinnyIHT(0.5, period=40), "No sparse and dense phase fit"),
    ],
)
def test_phases_outside_the_run(callback, message, images):
    with pytest.raises(ValueError, match=message):
        fit(compiled(conv_net()), images, callback())


def test_bad_share():
    with pytest.raises(ValueError, match="sparse_share"):
        ks.SkinnyIHT(0.5, sparse_share=1.0)
