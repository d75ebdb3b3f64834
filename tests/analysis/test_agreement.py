"""Agreement of predictions and change of masks, in worked numbers."""

import numpy as np
import pytest

import keras_sparse as ks
from tests.training import conv_net

SPARSE = [[0.7, 0.2, 0.1], [0.3, 0.4, 0.3], [0.1, 0.1, 0.8]]
DENSE = [[0.6, 0.3, 0.1], [0.5, 0.3, 0.2], [0.2, 0.1, 0.7]]


def test_agreement_and_cross_entropy():
    assert ks.sample_agreement(SPARSE, DENSE) == pytest.approx(2 / 3)
    assert ks.sparse_dense_cross_entropy(SPARSE, DENSE) == pytest.approx(0.963913, abs=1e-6)
    assert ks.sparse_dense_cross_entropy(DENSE, SPARSE) == pytest.approx(0.892513, abs=1e-6)
    rows = [ks.sparse_dense_cross_entropy([s], [d]) for s, d in zip(SPARSE, DENSE, strict=True)]
    np.testing.assert_allclose(rows, [0.927095, 1.117668, 0.846976], atol=1e-6)
    logits = ks.sparse_dense_cross_entropy(np.log(SPARSE), np.log(DENSE), from_logits=True)
    assert logits == pytest.approx(0.963913, abs=1e-6)


def test_models(images):
    one, two = conv_net(0), conv_net(1)
    outputs = [model.predict(images[0], verbose=0) for model in (one, two)]
    wanted = np.mean(outputs[0].argmax(-1) == outputs[1].argmax(-1))
    assert ks.sample_agreement(one, two, images[0]) == wanted
    assert ks.sample_agreement(one, outputs[0], images[0]) == 1


def test_bad_input():
    with pytest.raises(ValueError, match="same shape"):
        ks.sample_agreement(SPARSE, DENSE[:2])
    with pytest.raises(ValueError, match="need inputs x"):
        ks.sample_agreement(conv_net(), DENSE)


def test_mask_change():
    before = [np.array([1, 1, 0, 0, 1, 0, 0, 0], bool)]
    after = [np.array([1, 0, 1, 0, 1, 0, 0, 0], bool)]
    change = ks.mask_change(before, after)
    assert change == {
        "swapped": pytest.approx(1 / 3),
        "hamming": 0.25,
        "jaccard": 0.5,
    }
    assert ks.mask_change(before, before)["swapped"] == 0
    with pytest.raises(ValueError, match="same shapes"):
        ks.mask_change(before, [np.ones(3, bool)])


def test_a_report_of_pairs(tmp_path, capsys):
    pairs = {"acdc": (SPARSE, DENSE), "same": (DENSE, DENSE)}
    found = ks.agreement_report(pairs, y=[0, 1, 0])
    acdc, same = found.pairs.values()
    assert acdc.agreement == pytest.approx(2 / 3)
    assert acdc.cross_entropy == pytest.approx(0.963913, abs=1e-6)
    assert acdc.accuracies == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert acdc.agreement_when_wrong == 0.5
    assert (same.agreement, same.agreement_when_wrong) == (1, 1)
    assert np.isnan(ks.agreement_report({"a": (SPARSE, DENSE)}).pairs["a"].agreement_when_wrong)
    found.print()
    assert "66.67%" in capsys.readouterr().out
    found.plot(tmp_path / "agreement.png", title="pairs")
    assert (tmp_path / "agreement.png").stat().st_size > 5_000
    with pytest.raises(ValueError, match="3 samples"):
        ks.agreement_report(pairs, y=[0, 1])
    with pytest.raises(ValueError, match="one pair at least"):
        ks.agreement_report({})
    with pytest.raises(ValueError, match=r"must be \(sparse, dense\)"):
        ks.agreement_report({"a": SPARSE})
